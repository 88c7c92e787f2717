"""What Prometheus is told, and that it costs little."""

import re
from collections.abc import Sequence
from typing import Any

import fakeredis
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.batches import P0, TOPIC, counts, take_settled
from tests.unit.test_readme import ROOT, rows_of_the_table
from tests.unit.tracker.broken_redis import away
from tracker.findings import Finding
from tracker.health import CHECKS, Board
from tracker.ledger import Ledger
from tracker.ledger_state import PartitionStart
from tracker.overview import Overview
from tracker.web.metrics import BUCKETS, Metrics

PREFIX = "import_tracker_"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(fakeredis.FakeRedis(server=fakeredis.FakeServer(), decode_responses=True), "t:")
    ledger.birth(None, 1, [PartitionStart(P0, "e1", 0, 0)], settle_s=0, reason="first start")
    return ledger


def scraped(ledger: Ledger) -> dict[str, float]:
    """All samples by name and labels."""
    text = Metrics(Overview(ledger), Board(critical_timeout_s=0)).scrape("")[0].decode()
    return samples(text)


def samples(text: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name.removeprefix(PREFIX)}{{{labels}}}" if labels else sample.name.removeprefix(PREFIX)] = sample.value
    return found


def test_every_metric_is_described_with_type_and_meaning(ledger: Ledger) -> None:
    text = Metrics(Overview(ledger), Board(critical_timeout_s=0)).scrape("")[0].decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    wanted = [[f"`{name}`", types[name], helps[name]] for name in types if name in helps]
    told = rows_of_the_table("What there is", (ROOT / "docs" / "monitoring" / "README.md").read_text("utf-8"))
    missing = "\n".join(f"| {' | '.join(row)} |" for row in wanted)
    assert told == wanted, f"the table should be:\n{missing}"
    assert all(name.startswith(PREFIX) for name in types)


def test_an_import_is_seen_from_its_counts_to_its_completion(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5), ("i-2", 7), ("i-1", 1)))
    turn = ledger.open_intent(take_settled(ledger, "i-1", total=6), 0, "t0")
    open_ = scraped(ledger)
    assert [open_[name] for name in ("records_applied_total", "owed_observations", "owing_instances", "open_intents")] == [3, 13, 2, 1]
    assert open_["owed_age_seconds"] >= open_["open_intent_age_seconds"] >= 0
    ledger.no_answer()
    ledger.finish(ledger.close_intent(turn, applied=True, etag="t1", how="read back"), "completed")
    ledger.expect_job("job-1")
    done = scraped(ledger)
    assert [done[name] for name in ("observations_pushed_total", "owed_observations", "open_intents", "pending_jobs")] == [6, 7, 0, 1]
    assert [done[f"pushes_total{{outcome={word}}}"] for word in ("applied", "unknown", "read_back_applied")] == [0, 1, 1]
    assert done["instances_ended_total{state=completed}"] == 1
    assert done["completion_seconds_count"] == 1
    assert done["completion_seconds_bucket{le=+Inf}"] == 1
    assert done["births_total"] == 1


def test_a_job_whose_looks_fail_is_told_by_its_age(ledger: Ledger) -> None:
    assert (scraped(ledger)["failing_jobs"], scraped(ledger)["failing_job_age_seconds"]) == (0, 0)
    ledger.expect_job("job-1")
    ledger.release_job(ledger.take_job("job-1"), "later", reason="time-out")
    ledger.client.zadd("t:failing_jobs", {"job-1": 1000 * (ledger.now_s() - 90)})
    found = scraped(ledger)
    assert found["failing_jobs"] == 1
    assert 90 <= found["failing_job_age_seconds"] < 95


def test_the_histogram_rises_from_bound_to_bound(ledger: Ledger) -> None:
    for bound, number in (("0.1", 5), ("2.5", 2), ("+Inf", 1)):
        ledger.client.hset("t:counters", f"latency:{bound}", number)
    ledger.client.hset("t:counters", "latency_ms", 9500)
    found = scraped(ledger)
    assert [found[f"completion_seconds_bucket{{le={bound}}}"] for bound in BUCKETS] == [5, 5, 5, 5, 7, 7, 7, 7, 7, 7, 8]
    assert (found["completion_seconds_count"], found["completion_seconds_sum"]) == (8, 9.5)


def test_processes_tell_of_their_partitions_and_ticks(ledger: Ledger) -> None:
    stuck = [{"partition": str(P0), "start": 0, "end": 5}]
    partitions = {str(P0): {"next": 3, "end": 8, "lag": 5}, f"{TOPIC}:1": {"next": None, "end": None, "lag": None}}
    ledger.beat("bridge", "b-1", {"partitions": partitions, "window_records": 4, "republished": stuck}, 30)
    ledger.beat("bridge", "b-2", {"partitions": {}, "window_records": 2}, 30)
    ledger.beat("beat", "x", {"last_tick": ledger.now_s() - 7}, 30)
    found = scraped(ledger)
    assert {name: value for name, value in found.items() if name.startswith("partition_lag")} == {
        f"partition_lag_records{{partition=0,topic={TOPIC}}}": 5
    }
    assert (found["window_records"], found["stuck_partitions"]) == (6, 1)
    assert (found["processes{kind=bridge}"], found["processes{kind=beat}"], found["processes{kind=worker}"]) == (2, 1, 0)
    assert 7 <= found["beat_tick_age_seconds"] < 8


def test_health_is_a_number_for_each_check_and_for_the_whole(ledger: Ledger) -> None:
    board = Board(critical_timeout_s=0)
    board.record(dict.fromkeys(CHECKS, Finding("OK", "")) | {CHECKS[-1]: Finding("WARNING", "")})
    found = samples(Metrics(Overview(ledger), board).scrape("")[0].decode())
    assert found["health_status"] == 1
    assert [found[f"health_check_status{{check={name}}}"] for name in CHECKS] == [0] * (len(CHECKS) - 1) + [1]


def test_without_redis_there_is_an_answer_all_the_same() -> None:
    found = scraped(Ledger(away(), "t:"))
    assert found["redis_up"] == 0
    assert "owed_observations" not in found
    assert "health_status" in found


def test_scrapes_within_a_second_share_one_reading(ledger: Ledger) -> None:
    clock = Clock()
    metrics = Metrics(Overview(ledger), Board(critical_timeout_s=0), clock)

    def owed() -> float:
        return samples(metrics.scrape("")[0].decode())["owed_observations"]

    assert owed() == 0
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    clock.now_s += 0.9
    assert owed() == 0
    clock.now_s += 0.1
    assert owed() == 5


def test_a_scrape_asks_for_no_more_when_there_are_more_instances(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command whose cost grows with them, neither."""
    overview = Overview(ledger)
    asked: list[Sequence[Any]] = []
    ask = overview.ask

    def noting(*commands: Sequence[Any], **options: Any) -> list[Any]:
        asked.extend(commands)
        return ask(*commands, **options)

    monkeypatch.setattr(overview, "ask", noting)

    def commands() -> list[Sequence[Any]]:
        asked.clear()
        Metrics(overview, Board(critical_timeout_s=0)).scrape("")
        return list(asked)

    few = commands()
    ledger.apply(counts(ledger, 0, *((f"i-{number}", 5) for number in range(500))))
    assert commands() == few
    assert {command[0] for command in few} == {"TIME", "HGETALL", "XLEN", "ZCARD", "ZRANGE", "LLEN", "HLEN"}
    assert [command[2:4] for command in few if command[0] == "ZRANGE"] == [(0, 0)] * 4
    assert {command[1] for command in few if command[0] == "HGETALL"} == {"t:ledger", "t:counters", "t:sync"}


def test_the_form_is_what_is_asked_for(ledger: Ledger) -> None:
    metrics = Metrics(Overview(ledger), Board(critical_timeout_s=0))
    assert metrics.scrape("")[1].startswith("text/plain; version=")
    text, content_type = metrics.scrape("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_a_ledger_of_an_older_version_is_counted_at_the_first_check(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5), ("i-2", 7), ("i-3", 2)))
    ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0")
    ledger.park(take_settled(ledger, "i-2"), "foreign", "somebody else counts")
    ledger.client.delete("t:owed", "t:intents")
    ledger.client.hdel("t:ledger", "owed")
    assert "owed_observations" not in scraped(ledger)
    ledger.apply(counts(ledger, 3, ("i-1", 1), ("i-4", 1)))
    ledger.due(100, 10, 10)
    found = scraped(ledger)
    assert [found[name] for name in ("owed_observations", "owing_instances", "open_intents")] == [16, 4, 1]
    ledger.due(100, 10, 10)
    assert scraped(ledger)["owed_observations"] == 16
