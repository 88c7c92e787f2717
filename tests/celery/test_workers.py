"""
The tracker's workers through pytest-celery: what is published is routed, applied once and handed on, whatever ends a worker.

The nodes are containers or processes (`conftest.py`); the ledger has a Redis of its own, apart from the one with the tasks.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_celery import CeleryTestSetup

from tests.contract.batches import counts, owed, position
from tracker import tasks
from tracker.celery import VISIBILITY_TIMEOUT_S
from tracker.celery import app as tracker_app
from tracker.events import Batch
from tracker.ledger import Ledger

PREFIX = "import-tracker:"
QUEUES = {"tracker.apply", "tracker.push", "tracker.control"}
OURS = {name for name in tracker_app.tasks if name.startswith("tracker.")}

DEADLINE_S = 30.0


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def publish(setup: CeleryTestSetup, batch: Batch) -> None:
    setup.app.send_task(tasks.add_inserted_counts.name, kwargs=batch.to_message(), task_id=batch.id)


def waiting(setup: CeleryTestSetup) -> dict[str, int]:
    """How many messages wait in each queue."""
    return {queue: setup.broker.container.client.llen(f"{PREFIX}{queue}") for queue in QUEUES}


def in_hand(setup: CeleryTestSetup) -> list[str]:
    """The messages that a worker has taken and not acknowledged."""
    return list(setup.broker.container.client.zrange(f"{PREFIX}unacked_index", 0, -1))


def hold_up(ledger: Ledger) -> None:
    """From now on the ledger's Redis changes nothing and lets everybody wait who asks for it, until `let_go`."""
    ledger.client.client_pause(60_000, all=False)


def let_go(ledger: Ledger) -> None:
    ledger.client.client_unpause()


@pytest.mark.parametrize("worker_options", [[]], ids=["plain"])
def test_a_plain_worker_knows_every_task_and_serves_all_three_queues(worker_options: list[str], celery_setup: CeleryTestSetup) -> None:
    worker = celery_setup.worker.hostname()
    inspect = celery_setup.app.control.inspect([worker], timeout=5, limit=1)
    assert set(inspect.registered()[worker]) >= OURS
    assert {queue["name"] for queue in inspect.active_queues()[worker]} == QUEUES


def test_every_task_waits_in_its_own_queue(celery_setup: CeleryTestSetup) -> None:
    celery_setup.worker.kill()
    before = waiting(celery_setup)
    expected = dict.fromkeys(QUEUES, 0)
    for name in OURS:
        celery_setup.app.send_task(name)
        expected[tracker_app.conf.task_routes.get(name, {"queue": "tracker.control"})["queue"]] += 1
    after = waiting(celery_setup)
    assert {queue: after[queue] - before[queue] for queue in QUEUES} == expected
    assert all(expected.values()), "each queue is some task's own"


def test_a_batch_is_applied_and_its_instances_are_pushed(celery_setup: CeleryTestSetup, ledger: Ledger) -> None:
    publish(celery_setup, counts(ledger, 0, ("i-1", 5), ("i-2", 7), ("i-1", 10)))
    until(lambda: position(ledger) == 3, "the batch is applied")
    assert (owed(ledger, "i-1"), owed(ledger, "i-2")) == (15, 7)
    celery_setup.worker.wait_for_log("batch_applied")
    celery_setup.worker.wait_for_log("instance_later")  # there is no Dataset API here


def test_what_no_worker_can_read_is_refused_before_the_ledger_changes(celery_setup: CeleryTestSetup, ledger: Ledger) -> None:
    good = counts(ledger, 0, ("i-1", 5))
    celery_setup.app.send_task(tasks.add_inserted_counts.name, kwargs=good.to_message() | {"format": 99})
    celery_setup.worker.wait_for_log("upgrade the workers before the bridges")
    assert position(ledger) == 0
    publish(celery_setup, good)
    until(lambda: position(ledger) == 1, "the next batch is applied")
    assert owed(ledger, "i-1") == 5


@pytest.mark.two_workers
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_a_worker_ended_in_the_middle_of_a_task_hands_it_on_and_it_counts_once(
    celery_setup: CeleryTestSetup, ledger: Ledger, how: str
) -> None:
    """Told to end, it gives the message back; killed, the others take it when its time is over (two minutes: aged here)."""
    batch = counts(ledger, 0, ("i-1", 5))
    first, second = celery_setup.worker_cluster
    hold_up(ledger)
    publish(celery_setup, batch)
    until(lambda: len(in_hand(celery_setup)) == 1, "a worker has the batch")
    time.sleep(1.0)  # by now a child runs it
    assert len(in_hand(celery_setup)) == 1, "a message is acknowledged when its task is done"
    holder = first if batch.id in first.logs() else second
    holder.kill(how)
    until(lambda: holder.container.status == "exited", "the worker has ended")
    if how == "SIGKILL":
        age(celery_setup)
    let_go(ledger)
    until(lambda: position(ledger) == 1, "the other one has applied it")
    until(lambda: not in_hand(celery_setup), "nothing is on its way")
    assert owed(ledger, "i-1") == 5


def age(setup: CeleryTestSetup) -> None:
    """As if the broker's visibility time-out had gone by for all that is in somebody's hand."""
    client: Any = setup.broker.container.client
    for message in in_hand(setup):
        client.zadd(f"{PREFIX}unacked_index", {message: time.time() - VISIBILITY_TIMEOUT_S - 1})


@pytest.mark.two_workers
def test_two_workers_at_once_count_every_record_once(celery_setup: CeleryTestSetup, ledger: Ledger) -> None:
    batches = [counts(ledger, at, ("i-1", 1), ("i-2", 2), ("i-1", 3)) for at in range(0, 60, 3)]
    for batch in [*batches, *reversed(batches), *batches]:
        publish(celery_setup, batch)
    until(lambda: position(ledger) == 60, "all is applied")
    until(lambda: waiting(celery_setup)["tracker.apply"] == 0 and not in_hand(celery_setup), "nothing is on its way")
    assert (owed(ledger, "i-1"), owed(ledger, "i-2")) == (80, 40)
    for worker in celery_setup.worker_cluster:
        assert "batch_applied" in worker.logs()
