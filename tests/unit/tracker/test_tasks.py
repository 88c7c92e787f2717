"""How many messages push workers get at a time, and which go first."""

import gc
import subprocess
import sys
from collections.abc import Sequence
from typing import Any
from unittest.mock import MagicMock

import pytest
import structlog
from structlog.testing import capture_logs

from tracker.errors import LedgerUnavailable
from tracker.logs import Spell


class Queue:
    """Stands in for the queue of push workers: (priority, instance ids) of each message."""

    def __init__(self, waiting: int = 0) -> None:
        self.messages: list[tuple[int, list[str]]] = [(0, [])] * waiting

    def room(self, most: int) -> int:
        """As `room_for_pushes` has it."""
        return max(0, most - len(self.messages))

    def send(self, args: tuple[list[str]], *, argsrepr: str, priority: int) -> None:
        """As `apply_async` does."""
        assert argsrepr
        self.messages.append((priority, args[0]))

    def sent(self) -> list[str]:
        """All instances in it."""
        return [name for _, names in self.messages for name in names]


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, whose messages go to `queue`."""
    from tracker import tasks  # noqa: PLC0415 -- reads the environment when it is imported, which is bare by now

    return tasks


@pytest.fixture
def queue(tasks: Any, monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    monkeypatch.setattr(tasks, "room_for_pushes", lambda most=tasks.BACKLOG: queue.room(most))
    monkeypatch.setattr(tasks.push_counts, "apply_async", queue.send)
    return queue


def names(number: int) -> Sequence[str]:
    return [f"i-{each}" for each in range(number)]


@pytest.mark.parametrize("number", [1, 800, 1800, 2000])
def test_however_many_are_pushed_in_passing_those_that_are_waited_for_find_room(tasks: Any, queue: Queue, number: int) -> None:
    tasks.push_later(names(number), in_passing=True)
    assert queue.sent() == names(number)
    assert len(queue.messages) <= tasks.BACKLOG_IN_PASSING
    tasks.push_later(["awaited"])
    assert queue.messages[-1] == (0, ["awaited"])


def test_in_passing_is_short_tasks_that_all_others_go_before(tasks: Any, queue: Queue) -> None:
    tasks.push_later(names(20), in_passing=True)
    assert [(priority, len(some)) for priority, some in queue.messages] == [(9, 8), (9, 8), (9, 4)]


@pytest.mark.parametrize("in_passing, most", [(False, 200), (True, 100)])
def test_no_more_messages_are_added_than_there_is_room_for(tasks: Any, queue: Queue, in_passing: bool, most: int) -> None:  # noqa: FBT001
    queue.messages = [(0, [])] * (most - 1)
    tasks.push_later(names(100), in_passing=in_passing)
    assert len(queue.messages) == most
    tasks.push_later(names(1), in_passing=in_passing)
    assert len(queue.messages) == most


def test_what_gathered_during_a_push_is_waited_for(tasks: Any, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """What rests is not among it: it has its total in, or could not be sent yet."""

    class Rooms:
        """Whose `advancing` finds more to send of each instance."""

        advancing = property(lambda self: self)

        def many(self, ids: list[str]) -> list[str]:
            return ids

        def run(self, found: list[str]) -> list[str]:
            return found

    monkeypatch.setattr(tasks, "rooms", Rooms)
    tasks.push_counts.run(["i-1"])
    assert queue.messages == [(0, ["i-1"])]


@pytest.mark.parametrize("waiting, in_passing", [(0, True), (99, True), (100, False), (199, False)])
def test_a_check_asks_for_those_in_passing_only_where_they_have_room(
    tasks: Any,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    waiting: int,
    in_passing: bool,  # noqa: FBT001 -- a case
) -> None:
    asked = checked(tasks, queue, monkeypatch, waiting)
    assert asked == [in_passing]


def test_no_check_is_made_while_enough_waits(tasks: Any, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(tasks, queue, monkeypatch, 200) == []


def test_a_check_without_a_ledger_says_so_once_until_it_works_again(tasks: Any, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as said:
        for ledger_away in (True, True, False, True):
            away = LedgerUnavailable("no ledger yet") if ledger_away else None
            for name in ("tend_history", "rooms"):
                monkeypatch.setattr(tasks, name, MagicMock())
            monkeypatch.setattr(tasks, "look_for_stuck", MagicMock(side_effect=away))
            monkeypatch.setattr(tasks.checking, "check", lambda *_, in_passing: None)
            tasks.check_completion.run()
    assert [(line["event"], line["reason"]) for line in said] == [("check_put_off", "no ledger yet")] * 2
    assert queue.messages == []


def checked(tasks: Any, queue: Queue, monkeypatch: pytest.MonkeyPatch, waiting: int) -> list[bool]:
    """Run the periodic task with so many messages waiting; what it asked for."""
    asked = []
    queue.messages = [(0, [])] * waiting
    for name in ("tend_history", "look_for_stuck", "rooms"):
        monkeypatch.setattr(tasks, name, MagicMock())
    monkeypatch.setattr(tasks.checking, "check", lambda *_, in_passing: asked.append(in_passing))
    tasks.check_completion.run()
    return asked


BEFORE_A_FORK = """
import gc
gc.freeze()  # as some versions of Python have done before the first line
import tracker.tasks
from celery.signals import worker_before_create_process as before_a_fork

class Garbage:
    def __init__(self):
        self.itself = self

gc.disable()
for _ in range(1000):
    Garbage()
loaded, at_first = len(gc.get_objects()), gc.get_freeze_count()
before_a_fork.send(sender=None)
frozen = gc.get_freeze_count()
later = [[] for _ in range(10_000)]
before_a_fork.send(sender=None)
left, more = len(gc.get_objects()), gc.get_freeze_count() - frozen
gc.unfreeze()
garbage = sum(type(each) is Garbage for each in gc.get_objects())
print(loaded, frozen - at_first, left, more, garbage)
"""


def test_the_collector_of_a_worker_s_child_leaves_alone_what_was_loaded_before_the_fork() -> None:
    """It writes into each object that it looks at, which makes a shared page each process' own. Once: a parent must go on collecting."""
    ran = subprocess.run([sys.executable, "-c", BEFORE_A_FORK], check=True, capture_output=True, text=True)
    loaded, frozen, left, more, garbage = map(int, ran.stdout.split())
    assert frozen > 0.9 * loaded > 10_000
    assert left > 10_000, "what came later is collected"
    assert more <= 0
    assert garbage == 0, "what is hidden is never collected"


def test_what_a_failed_task_leaves_behind_is_collected_before_the_next(tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a megabyte each, in circles: many in a row would let a worker grow by as much."""
    monkeypatch.setattr(tasks, "_apply", MagicMock(side_effect=LedgerUnavailable("away")))
    monkeypatch.setattr(tasks.Batch, "from_message", MagicMock())

    def left_after(failures: int) -> int:
        gc.collect()
        for _ in range(failures):
            assert tasks.add_inserted_counts.apply(retries=4).state == "FAILURE"
        return sum(type(each).__module__ == "billiard.einfo" for each in gc.get_objects())

    gc.disable()
    try:
        assert 0 < left_after(20) <= left_after(1), "no more than what one task leaves"
    finally:
        gc.enable()


def test_a_sign_of_life_that_fails_is_said_once_until_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from tracker import celery  # noqa: PLC0415 -- reads the environment when it is imported, which is bare by now

    monkeypatch.setattr(celery, "log", structlog.get_logger())
    ledger, failing = MagicMock(), Spell()
    ledger.beat.side_effect = [LedgerUnavailable("away"), LedgerUnavailable("away"), None, LedgerUnavailable("away"), ValueError("odd")]
    with capture_logs() as said:
        for _ in range(5):
            celery.say_alive(ledger, failing, "worker", "apply@host", {"pid": 1})
    assert [(line["event"], line["error"]) for line in said] == [("heartbeat_failed", word) for word in ("away", "away", "odd")]
