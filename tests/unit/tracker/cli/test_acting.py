"""What the commands that act send, and how they end."""

import importlib
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from tests.unit.tracker.cli.runs import follow, one_line, run
from tracker.errors import LedgerUnavailable
from tracker.events import MAX_COUNT
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.overview import Overview


@pytest.mark.parametrize(
    "arguments, task",
    [
        (("register", "i-1"), ("tracker.register_instance", ["i-1", None])),
        (("register", "i-1", "--job", "j-1"), ("tracker.register_instance", ["i-1", "j-1"])),
        (("check",), ("tracker.check_completion", [None])),
        (("check", "i-1", "i-2"), ("tracker.check_completion", [["i-1", "i-2"]])),
        (("sync",), ("tracker.sync_active_instances", [])),
        (("add", "i-1", "5", "--key", "k-1", "--no-wait"), ("tracker.add_inserted_count", ["i-1", 5, "k-1"])),
    ],
)
def test_a_command_sends_the_task_that_others_send(
    ledger: Ledger, sent: list[tuple[str, list[Any]]], arguments: tuple[str, ...], task: object
) -> None:
    follow(ledger, "i-1", "i-2")
    result = run(*arguments)
    assert (result.exit_code, sent) == (0, [task])


def test_check_of_an_instance_nobody_follows_fails_and_sends_nothing(ledger: Ledger, sent: list[object]) -> None:
    follow(ledger, "i-1")
    result = run("check", "i-1", "i-9")
    assert (result.exit_code, sent) == (1, [])
    assert one_line(result) == "i-9 is not followed: tracker register i-9 first"


def test_every_task_that_is_sent_exists() -> None:
    """Tasks are sent by name, so a misspelt one would vanish."""
    importlib.import_module("tracker.tasks")
    from tracker.celery import app  # noqa: PLC0415 -- reads the environment when it is imported, which is bare by now

    names = {"register_instance", "check_completion", "sync_active_instances", "add_inserted_count"}
    assert {f"tracker.{name}" for name in names} <= set(app.tasks)


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    "arguments, words",
    [
        (("register", ""), "instance id '': expected 1 to 512 printable characters"),
        (("register", "i-1", "--job", ".."), "job id '..': expected"),
        (("add", "..", "5"), "instance id '..': expected"),
        (("add", "i-1", str(MAX_COUNT + 1)), f"count {MAX_COUNT + 1}: expected a whole number from 0 to {MAX_COUNT}"),
        (("add", "i-1", "--", "-5"), "count -5: expected"),
        (("add", "i-1", "5", "--key", ""), "key '': expected printable characters"),
        (("check", "i-1", "."), "instance id '.': expected"),
        (("recover", "--yes", "--reason", " "), "reason ' ': expected printable characters"),
    ],
)
def test_a_wrong_argument_is_a_line_and_nothing_is_sent(sent: list[object], arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, sent) == (2, [])
    assert one_line(result).startswith(words)


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    "arguments", [("add", "i-1", "x"), ("add", "i-1", "5", "--timeout", "5"), ("add", "i-1"), ("status", "--limit", "0")]
)
def test_a_malformed_argument_is_explained(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr


@pytest.mark.usefixtures("ledger")
def test_a_broker_that_does_not_take_the_task_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from tracker.celery import app  # noqa: PLC0415 -- reads the environment when it is imported, which is bare by now

    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(app, "send_task", refuse)
    result = run("sync")
    assert result.exit_code == 1
    assert one_line(result) == "the broker at redis://localhost:6379/0 does not take the task: connection refused"


@pytest.mark.parametrize(
    "trouble, said",
    [
        ("none", "there is no ledger yet: a bridge has to be connected to Kafka once"),
        ("void", "ledger {id} is void (a reason): a bridge connected to Kafka gives birth to the next one"),
        ("restarted", "Redis has restarted and no bridge has verified ledger {id} yet: nothing is counted or pushed"),
    ],
)
@pytest.mark.parametrize(
    "arguments, not_done",
    [(("register", "i-1"), "i-1 is not registered"), (("check",), "nothing is checked"), (("sync",), "the listing is not read")],
)
def test_without_a_ledger_in_use_nothing_is_sent(
    ledger: Ledger, sent: list[object], trouble: str, said: str, arguments: tuple[str, ...], not_done: str
) -> None:
    """The task would be tried a few times at most, and given up."""
    said = said.format(id=ledger.state(()).id)
    if trouble == "none":
        ledger.client.delete(f"{ledger.prefix}ledger")
    elif trouble == "void":
        ledger.void("a reason", "ann")
    else:
        ledger.client.hset(f"{ledger.prefix}ledger", "run", "another")
    result = run(*arguments)
    assert (result.exit_code, sent) == (1, [])
    assert one_line(result) == f"{not_done}: {said}"


# -- adding by hand --


def works_after(ledger: Ledger, delay_s: float) -> Callable[..., None]:
    """Stands in for sending: a worker that applies the count a little later."""

    def send(name: str, args: list[Any], **_: object) -> None:
        assert name == "tracker.add_inserted_count"
        threading.Timer(delay_s, ledger.add_by_hand, args).start()

    return send


def test_add_waits_until_the_ledger_has_the_count(monkeypatch: pytest.MonkeyPatch, ledger: Ledger) -> None:
    from tracker.celery import app  # noqa: PLC0415 -- reads the environment when it is imported, which is bare by now

    monkeypatch.setattr(app, "send_task", works_after(ledger, 0.1))
    follow(ledger, "i-1")
    result = run("add", "i-1", "500")
    assert (result.exit_code, result.stdout) == (0, "i-1: 500 added\n")
    assert json.loads(run("show", "i-1", "--json").stdout)["owed"] == 500


def test_add_to_an_instance_nobody_knows_fails_and_sends_nothing(ledger: Ledger, sent: list[object]) -> None:
    """A mistyped id would gather counts that nobody is short of, and leave the right one without."""
    follow(ledger, "i-1")
    result = run("add", "i-9", "500", "--no-wait")
    assert (result.exit_code, sent) == (1, [])
    assert one_line(result) == "i-9 is not known here, nothing is added: is the id right? If it is meant all the same, say --new"


@pytest.mark.parametrize("instance", ["i-1", "i-9"])
def test_add_takes_any_instance_that_is_said_to_be_meant(ledger: Ledger, sent: list[object], instance: str) -> None:
    follow(ledger, "i-1")
    result = run("add", instance, "500", "--key", "k-1", "--no-wait", "--new")
    assert (result.exit_code, sent) == (0, [("tracker.add_inserted_count", [instance, 500, "k-1"])])


def test_add_takes_an_instance_that_has_ended(ledger: Ledger, sent: list[object]) -> None:
    """It is not followed any more, and known: what is added to a published one becomes a dead letter."""
    follow(ledger, "i-1")
    ledger.finish(ledger.seen(ledger.take("i-1"), Instance("i-1", "published", "j-1", 10, 10)), "published")
    result = run("add", "i-1", "5", "--no-wait")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == "i-1 has ended already, it is published: these 5 come on top"
    assert len(sent) == 1


def test_add_that_is_not_applied_in_time_fails_and_says_how_to_repeat_it(ledger: Ledger, sent: list[tuple[str, list[Any]]]) -> None:
    follow(ledger, "i-1")
    result = run("add", "i-1", "500", "--timeout", "0s")
    assert result.exit_code == 1
    (_, (_, _, key)) = sent[0]
    *_, said = result.stderr.splitlines()
    assert said.startswith("tracker: ")
    assert f"--key {key}" in said


@pytest.mark.parametrize("how", ["Redis goes", "Redis goes at last", "broker goes", "interrupted"])
def test_add_tells_the_key_before_anything_can_go_wrong(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger, sent: list[tuple[str, list[Any]]], how: str
) -> None:
    """Said again without it, the count would be added twice."""
    from tracker.celery import app  # noqa: PLC0415 -- reads the environment when it is imported, which is bare by now

    follow(ledger, "i-1")
    asked: list[str] = []

    def key_applied(_: Overview, key: str) -> None:
        if how == "interrupted" and asked:
            raise KeyboardInterrupt
        if how == "Redis goes" and asked:
            raise LedgerUnavailable("Redis does not answer: time-out")
        asked.append(key)

    def refuse(_name: str, *, args: list[Any], **_: object) -> None:
        sent.append(("", args))
        raise OperationalError("time-out")

    def gone(_: Overview) -> None:
        raise LedgerUnavailable("Redis does not answer: time-out")

    monkeypatch.setattr(Overview, "key_applied", key_applied)
    if how == "Redis goes at last":
        monkeypatch.setattr(Overview, "ledger_view", gone)
    if how == "broker goes":
        monkeypatch.setattr(app, "send_task", refuse)
    result = run("add", "i-1", "500", "--timeout", "0s")
    assert result.exit_code == 1
    ((_, (_, _, key)),) = sent
    first, *rest = result.stderr.splitlines()
    assert first == f"i-1: 500 are sent; to say it again is safe with --key {key}"
    if how.startswith("Redis"):
        assert rest == ["tracker: Redis at redis://localhost:6379/0 does not answer: time-out"]


def test_add_with_a_key_of_ones_own_needs_not_be_told_it(ledger: Ledger, sent: list[object]) -> None:
    follow(ledger, "i-1")
    assert run("add", "i-1", "500", "--key", "k-1", "--no-wait").stderr == ""
    assert len(sent) == 1


def test_add_with_a_key_that_was_applied_adds_nothing(ledger: Ledger, sent: list[object]) -> None:
    ledger.add_by_hand("i-1", 500, "k-1")
    result = run("add", "i-1", "500", "--key", "k-1")
    assert (result.exit_code, sent) == (0, [])
    assert "nothing is added" in result.stdout


def test_a_key_that_was_used_for_something_else_is_a_mistake(ledger: Ledger, sent: list[object]) -> None:
    ledger.add_by_hand("i 1", 500, "k-1")
    result = run("add", "i-2", "500", "--key", "k-1")
    assert (result.exit_code, sent) == (2, [])
    assert one_line(result) == "key 'k-1': has been used already, to add 500 to i 1"
