"""The report says of each goal whether it was reached, from the results alone."""

from typing import Any

from benchmarks.report import quantile, rows

FAST: dict[str, Any] = {"records": 1000, "seconds": 0.01, "seconds_with_start": 0.02, "calls": 4, "delay_s": 0.0}
REFERENCES: dict[str, Any] = {
    "bare": {"records": 1000, "seconds": 0.01},
    "original": [{"records": 100, "seconds": 0.1, "delay_s": 0.0}, {"records": 10, "seconds": 0.1, "delay_s": 0.005}],
}


def reached(name: str, runs: list[dict[str, Any]]) -> dict[str, bool | None]:
    return {what: ok for what, _, _, ok in rows(name, runs)}


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert quantile([3.0, 1.0, 2.0, 4.0], 0.5) == 2.0
    assert quantile(range(1, 101), 0.99) == 99
    assert quantile([7.0], 0.99) == 7.0


def test_throughput_is_held_against_the_bare_loop_of_the_same_run_and_the_stand_in_with_the_same_delay() -> None:
    slow = FAST | {"delay_s": 0.005, "seconds": 0.05, "calls": 6}
    said = reached("throughput", [FAST | REFERENCES, slow])
    assert said["records/s end to end"] is True
    assert said["records/s end to end, 5 ms added to each API call"] is False
    assert said["times as fast as the stand-in"] is True
    assert said["times as fast as the stand-in, 5 ms added to each API call"] is False
    assert said["HTTP calls per 1,000 records"] is True
    assert said["HTTP calls per 1,000 records, 5 ms added to each API call"] is False


def test_the_median_of_the_runs_decides() -> None:
    quick, slow = {"seconds": [0.010, 0.020]}, {"seconds": [0.5, 0.6]}
    assert reached("idle", [quick, quick, slow]) == {
        "last record to job completed, idle, p50": True,
        "last record to job completed, idle, p99": True,
    }
    assert set(reached("idle", [quick, slow, slow]).values()) == {False}


def test_many_followed_instances_are_held_against_few() -> None:
    few, many = (
        FAST | {"followed": 100, "bytes_per_instance": 650.0},
        FAST | {"followed": 100_000, "seconds": 0.02, "bytes_per_instance": 650.0},
    )
    said = reached("followed", [few, many])
    assert said["records/s with 100,000 followed ÷ with 100"] is False
    assert said["Redis bytes per followed instance"] is True


def test_memory_that_grows_with_what_was_worked_off_is_told() -> None:
    flat = [{"records": done, "bridge": 1e8, "apply": 1e8, "push": 1e8 + done * 1e3} for done in range(1, 101)]
    said = reached("memory", [{"records": 100, "samples": flat, "bytes_per_partition": [200, 200]}])
    assert said["bridge: resident in the second and last fifth of 100 waiting records"] is True
    growing = [each | {"bridge": 1e8 + 1e6 * each["records"]} for each in flat]
    said = reached("memory", [{"records": 100, "samples": growing, "bytes_per_partition": [200, 200]}])
    assert said["bridge: resident in the second and last fifth of 100 waiting records"] is False
