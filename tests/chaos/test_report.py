"""Sums of rounds, and the bounds that they allow."""

import json
import math
from pathlib import Path

import pytest

from tests.chaos.endurance import trend
from tests.chaos.report import percentile, read, report, upper_bound


@pytest.mark.parametrize("failures, trials", [(0, 1), (0, 100), (1, 10), (3, 100)])
def test_the_exact_bound_is_the_rate_at_which_so_few_failures_are_seen_once_in_twenty(failures, trials):
    bound = upper_bound(failures, trials)
    chance = sum(math.comb(trials, each) * bound**each * (1 - bound) ** (trials - each) for each in range(failures + 1))
    assert chance == pytest.approx(0.05, rel=1e-6)


def test_where_everything_failed_there_is_no_bound():
    assert upper_bound(10, 10) == 1.0


def test_without_failures_the_bound_is_close_to_three_by_n():
    assert upper_bound(0, 5_000_000) == pytest.approx(3 / 5_000_000, rel=0.002)


def test_percentiles_are_values_that_were_seen():
    assert [percentile([4, 1, 3, 2], share) for share in (0.5, 0.99)] == [2, 4]


def line(**fields: object) -> dict[str, object]:
    return {
        "at": "2026-11-24T20:00:00Z",
        "seed": 1,
        "round": 0,
        "generation": "today",
        "records": 1000,
        "instances": 3,
        "jobs": 2,
        "faults": {"beat_killed": 2},
        "calls_hit": 4,
        "births": 0,
        "written_off": 5,
        "alone_rate": 200,
        "recovery_s": {"beat_killed": [0.5, 1.5]},
        "storm_s": [7.0],
        "settle_s": [1.0],
        "seconds": 60.0,
        "wrong": [],
        "commit": "abc",
        "versions": {"celery": "5"},
    } | fields


def test_a_report_adds_up_several_files(tmp_path: Path):
    files = [tmp_path / "a", tmp_path / "b"]
    files[0].write_text(json.dumps(line()) + "\n")
    files[1].write_text(json.dumps(line(generation="2017", seed=2, wrong=["i-1: 3 instead of 1, doubled: 0:0:7"])) + "\n")
    text = report(read(files))
    assert "| records | 1,000 | 1,000 | 2,000 |" in text
    assert "| records doubled | 0 | 1 | 1 |" in text
    assert "| `beat_killed` | 4 | 4 | 0.5 | 1.5 |" in text
    assert "| a storm, all undone | 2 | – | 7.0 | 7.0 |" in text
    assert "| seeds | 1, 2 |" in text


def test_a_line_of_something_else_is_named(tmp_path: Path):
    file = tmp_path / "other"
    file.write_text(json.dumps(line()) + "\n{}\n")
    with pytest.raises(ValueError, match="other, line 2: expected a round's line"):
        read([file])


def test_a_series_that_grows_is_found_and_one_that_only_starts_high_is_not():
    growing = [(float(at), 50.0 + at / 60) for at in range(0, 3600, 5)]
    settled = [(float(at), 80.0 if at < 1200 else 50.0) for at in range(0, 3600, 5)]
    assert [found.flat for series in (growing, settled) if (found := trend("bridge rss MB", series, 1200.0))] == [False, True]
