"""What `tracker history` shows."""

import json

import pytest

from tests.unit.tracker.cli.runs import one_line, run
from tracker.ledger import Ledger


def test_what_happened_is_shown_the_newest_last(ledger: Ledger) -> None:
    ledger.register("i-1", "job-1", "ann@host")
    ledger.add_by_hand("i-1", 1500, "ticket-1", "ann@host")
    lines = run("history").stdout.splitlines()
    assert "was born: there is no ledger" in lines[1]
    assert "registered by hand by ann@host" in lines[2]
    assert "1,500 added by hand by ann@host with key ticket-1" in lines[-1]


def test_it_is_narrowed_to_an_instance_a_job_a_kind_and_a_time(ledger: Ledger) -> None:
    ledger.register("i-1", "job-1")
    ledger.register("i-2", "job-2")

    def shown(*arguments: str) -> list[str]:
        return [item["instance_id"] for item in json.loads(run("history", "--json", *arguments).stdout)["items"]]

    assert shown() == ["i-2", "i-1", None]
    assert shown("--instance", "i-1") == ["i-1"]
    assert shown("--job", "job-2") == ["i-2"]
    assert shown("--what", "birth") == [None]
    assert shown("--what", "birth", "--what", "registered") == ["i-2", "i-1", None]
    assert shown("--what", "birth", "--what", "loss") == [None]
    assert shown("--since", "1h", "--limit", "2") == ["i-2", "i-1"]
    assert run("history", "--instance", "i-9").stdout == "nothing that is known\n"


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    "option, value, expected",
    [
        ("--what", "pusht", "--what='pusht': expected one of registered, total, "),
        ("--since", "yesterday", "--since='yesterday': expected a duration"),
    ],
)
def test_a_wrong_option_is_named_with_what_was_expected(option: str, value: str, expected: str) -> None:
    result = run("history", option, value)
    assert result.exit_code == 2
    assert one_line(result).startswith(expected)


def test_a_database_that_is_away_is_said_and_redis_is_told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_ACCESS", "user=dp dbname=ImportJobs host=127.0.0.1 port=1 password=s3cret")
    ledger.register("i-1", None)
    result = run("history")
    assert result.exit_code == 0
    assert "i-1" in result.stdout
    assert one_line(result).endswith("; this is what Redis holds")
    assert "s3cret" not in result.stderr


@pytest.mark.usefixtures("no_redis")
def test_without_redis_it_is_one_line() -> None:
    result = run("history")
    assert result.exit_code == 1
    assert one_line(result).startswith("Redis at redis://localhost:6379/0 does not answer")
