"""Health over time, in the original's form."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import fakeredis
import pytest

from tests.unit.tracker.broken_redis import away
from tracker import health
from tracker.api_client import HealthAnswer
from tracker.findings import Finding, Status
from tracker.health import CHECKS, DATASET_API, IMPORT_API, REDIS, Board, Examiner
from tracker.ledger import Ledger
from tracker.overview import Overview
from tracker.settings import Settings


class Clock:
    """Both clocks of a board, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    return Board(("a", "b"), critical_timeout_s=90, clock=clock.monotonic, now=clock.now)


def found(**statuses: Status) -> dict[str, Finding]:
    return {name: Finding(status, f"it is {status}") for name, status in statuses.items()}


def overall(board: Board) -> str:
    return board.status


def test_health_is_a_warning_until_every_check_has_run_once(board: Board) -> None:
    board.record(found(a="OK"))
    assert (board.started, board.status) == (False, "WARNING")
    board.record(found(b="OK"))
    assert (board.started, board.status) == (True, "OK")


def test_one_warning_makes_a_warning_for_ever(board: Board, clock: Clock) -> None:
    board.record(found(a="OK", b="WARNING"))
    clock.seconds = 10_000
    assert overall(board) == "WARNING"


def test_a_critical_check_counts_as_a_warning_until_it_has_failed_for_the_timeout(board: Board, clock: Clock) -> None:
    board.record(found(a="OK", b="CRITICAL"))
    clock.seconds = 89
    board.record(found(b="CRITICAL"))
    assert overall(board) == "WARNING"
    clock.seconds = 90
    assert overall(board) == "CRITICAL"


def test_a_success_in_between_starts_the_timeout_afresh(board: Board, clock: Clock) -> None:
    board.record(found(a="OK", b="CRITICAL"))
    clock.seconds = 80
    board.record(found(b="OK"))
    board.record(found(b="CRITICAL"))
    clock.seconds = 100
    assert overall(board) == "WARNING"
    clock.seconds = 170
    assert overall(board) == "CRITICAL"
    board.record(found(b="OK"))
    assert overall(board) == "OK"


def test_only_changes_of_status_are_news(board: Board) -> None:
    assert board.record(found(a="OK", b="OK")) == ["a", "b"]
    assert board.record(found(a="OK", b="CRITICAL")) == ["b"]


def test_the_answer_has_the_originals_form(board: Board, clock: Clock) -> None:
    board.record({"a": Finding("OK", "GET /health: 200", 200)})
    clock.seconds = 2.5
    board.record({"a": Finding("CRITICAL", "GET /health: 500", 500)})
    answer = json.loads(json.dumps(board.as_json()))
    assert list(answer) == ["status", "version", "uptime", "start_time", "checks"]
    assert set(answer["version"]) == {"build_time", "git_commit", "language", "language_version", "version"}
    assert (answer["status"], answer["uptime"], answer["start_time"]) == ("WARNING", 2500, "2026-01-01T00:00:00.000Z")
    assert answer["checks"] == [
        {
            "name": "a",
            "status": "CRITICAL",
            "status_code": 500,
            "message": "GET /health: 500",
            "last_checked": "2026-01-01T00:00:02.500Z",
            "last_success": "2026-01-01T00:00:00.000Z",
            "last_failure": "2026-01-01T00:00:02.500Z",
        },
        {
            "name": "b",
            "status": "WARNING",
            "message": "not checked yet",
            "last_checked": None,
            "last_success": None,
            "last_failure": None,
        },
    ]


# -- examining ----------------------------------------------------------------------------------------------------


class StubApi:
    """An API that answers as it is told."""

    def __init__(self, answer: HealthAnswer | Exception, delay_s: float = 0.0) -> None:
        self.answer = answer
        self.delay_s = delay_s

    async def health(self) -> HealthAnswer:
        await asyncio.sleep(self.delay_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


WELL = HealthAnswer("OK", 200, "GET /health: 200")


def examine(overview: Overview, *, dataset_api: StubApi | None = None, import_api: StubApi | None = None) -> dict[str, Finding]:
    """Run all checks once."""
    results: dict[str, Finding] = {}

    def record(found: Mapping[str, Finding]) -> None:
        results.update(found)

    examiner = Examiner(overview, dataset_api or StubApi(WELL), import_api or StubApi(WELL), Settings())
    asyncio.run(examiner.examine(record))
    return results


def empty() -> Overview:
    return Overview(Ledger(fakeredis.FakeRedis(decode_responses=True), "p:"))


def test_every_check_runs_even_on_an_empty_redis() -> None:
    results = examine(empty())
    assert set(results) == set(CHECKS)
    assert (results[REDIS].status, results[health.LEDGER].status, results[health.WORKERS].status) == ("OK", "CRITICAL", "CRITICAL")


def test_an_api_is_as_it_says_itself() -> None:
    results = examine(
        empty(), dataset_api=StubApi(HealthAnswer("WARNING", 429, "busy")), import_api=StubApi(HealthAnswer("CRITICAL", None, "away"))
    )
    assert results[DATASET_API] == Finding("WARNING", "the Dataset API at http://localhost:22000 (DATASET_API_ADDR): busy", 429)
    assert results[IMPORT_API] == Finding("CRITICAL", "the Import API at http://localhost:21800 (IMPORT_API_ADDR): away")


def test_a_redis_that_is_away_is_the_one_critical_check_of_those_that_need_it() -> None:
    results = examine(Overview(Ledger(away(), "p:")))
    assert results[REDIS].status == "CRITICAL"
    assert "does not answer" in results[REDIS].message
    assert {results[name].status for name in CHECKS if name not in {REDIS, DATASET_API, IMPORT_API}} == {"WARNING"}
    assert results[DATASET_API].status == "OK"


def test_a_check_that_never_answers_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ALLOWED_S", 0.05)
    results = examine(empty(), import_api=StubApi(WELL, delay_s=60))
    assert results[IMPORT_API] == Finding("CRITICAL", "no answer within 0.05 s")
    assert results[DATASET_API].status == "OK"


def test_a_check_that_breaks_is_a_finding() -> None:
    results = examine(empty(), import_api=StubApi(RuntimeError("a mistake of ours")))
    assert results[IMPORT_API] == Finding("CRITICAL", "the check itself failed: RuntimeError")
    assert len(results) == len(CHECKS)
