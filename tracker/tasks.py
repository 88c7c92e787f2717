"""
The tasks. Each unpacks its arguments, calls one use case and logs one line; each may run twice.

    tracker.add_inserted_counts     a batch of counts from Kafka                      bridge → tracker.apply
    tracker.register_instances      a batch of registrations from Kafka               bridge → tracker.apply
    tracker.push_counts             send what these instances owe                     → tracker.push
    tracker.complete_instances      see whether these instances are done              → tracker.push
    tracker.complete_jobs           see whether these jobs are done                   → tracker.push
    tracker.check_completion        what is due now; with ids: these instances        Beat, people → tracker.control
    tracker.sync_active_instances   the full listing of submitted instances           Beat, people → tracker.control
    tracker.drain_history           from Redis into the database, if there is one     check → tracker.control
    tracker.add_inserted_count      one count by hand, once per key                   people → tracker.control
    tracker.register_instance       follow one instance                               people → tracker.control
"""

import math
from collections.abc import Sequence
from typing import Any

import structlog
from celery import Task, signals

from tracker import checking, counting
from tracker.celery import app
from tracker.errors import LedgerUnavailable, LettersFull
from tracker.events import Batch
from tracker.history import draining
from tracker.logs import Spell
from tracker.wiring import rooms

log = structlog.get_logger(__name__)

PUSH_CHUNK = 32
"""
Instances to a push task: Celery runs hundreds of tasks a second, the APIs take thousands of calls. Few enough that a
task ends below its time limit though every call times out.
"""

# Redis was away for a moment: the same call works later. The bridge and the check come again anyway, so few tries do.
RETRY = {"autoretry_for": (LedgerUnavailable,), "max_retries": 4, "retry_backoff": 1, "retry_backoff_max": 10, "retry_jitter": True}

PASSING_CHUNK = 8
"""
Instances in one task in passing, where there is room for so many tasks: short, as what somebody waits for goes before the next task,
not before the end of this one.
"""

LONGEST_NAME = 100
"""Characters kept of who asked for something."""

JOBS_CHUNK = 8
"""Jobs to a task: as many as are looked at at a time, each of which may wait for several calls."""

BACKLOG = 200
"""
Messages waiting for push workers beyond which no push is added and no check is made: the ledger knows what is owed, so a day without push
workers must not fill Redis. The periodic check sends again when the queue is shorter.
"""


IN_PASSING = 9
"""
The priority of pushes of instances for which more counts are expected: whoever waits for an import to be completed must
not wait behind them. Celery keeps these in a list of its own, the queue's name followed by \\x06\\x16 and the figure.
"""

BACKLOG_IN_PASSING = 100
"""The same bound for these, lower, so that they never keep the others out."""


def room_for_pushes(most: int = BACKLOG) -> int:
    """How many messages may be added to those that wait for push workers, until there are `most`."""
    with app.connection_or_acquire() as connection:
        # Not passively: kombu would look for the queue without the key prefix, and not find it.
        waiting = connection.default_channel.queue_declare("tracker.push").message_count
    return max(0, most - int(waiting))


def push_later(instance_ids: Sequence[str], *, in_passing: bool = False) -> None:
    """
    Send push tasks for these instances, many to a task, as far as there is room. Those `in_passing` let all others go first.

    For whom there is no room the check comes again, when the task that is expected is late.
    """
    if not instance_ids:
        return
    room, size = room_for_pushes(BACKLOG_IN_PASSING if in_passing else BACKLOG), PUSH_CHUNK
    if in_passing and room:
        size = min(PUSH_CHUNK, max(PASSING_CHUNK, math.ceil(len(instance_ids) / room)))
    for some in counting.chunks(instance_ids, size)[:room]:
        push_counts.apply_async((some,), argsrepr=_names(some), priority=IN_PASSING if in_passing else 0)


def asked_by(task: Task) -> str:
    """Who sent the task: a person, where a header tells one, else the process, as Celery names it."""
    return str(task.request.get("by") or task.request.get("origin") or "")[:LONGEST_NAME]


def _names(ids: Sequence[str]) -> str:
    """What Flower and the logs show of a list of ids."""
    return ", ".join(ids[:3]) + (f" … ({len(ids)})" if len(ids) > 3 else "")  # noqa: PLR2004 -- as many as a table's cell shows


@app.task(name="tracker.add_inserted_counts", **RETRY)
def add_inserted_counts(**message: Any) -> None:  # noqa: ANN401 -- checked by Batch
    """Apply one batch of inserted counts; running it twice counts once."""
    _apply(Batch.from_message(message))


@app.task(name="tracker.register_instances", **RETRY)
def register_instances(**message: Any) -> None:  # noqa: ANN401 -- checked by Batch
    """Apply one batch of registrations."""
    _apply(Batch.from_message(message))


def _apply(batch: Batch) -> None:
    try:
        woken = counting.apply(batch, rooms().ledger)
    except LettersFull as error:
        # The bridge publishes it again, and says that the partition stands still.
        log.warning("batch_refused", batch=batch.id, reason=str(error))
        return
    if woken is None:
        log.warning("batch_dropped", batch=batch.id, reason="another ledger or epoch is in force; its records come again")
        return
    push_later(woken.urgent)
    push_later(woken.others, in_passing=True)
    log.info("batch_applied", batch=batch.id, records=batch.records, woken=len(woken.ids))


@app.task(name="tracker.push_counts", **RETRY)
def push_counts(instance_ids: list[str]) -> None:
    """Send what these instances owe, and complete those that are done with it."""
    push_later(rooms().run(rooms().advancing.many(instance_ids)))


@app.task(name="tracker.complete_instances", bind=True, **RETRY)
def complete_instances(self: Task, instance_ids: list[str], *, force: bool = False) -> None:
    """See with a fresh GET whether these instances are done. `force` passes over back-offs, as a person asks."""
    push_later(rooms().run(rooms().advancing.many(instance_ids, check=True, force=force, by=asked_by(self))))


@app.task(name="tracker.complete_jobs", **RETRY)
def complete_jobs(job_ids: list[str]) -> None:
    """See whether all instances of these jobs are done."""
    rooms().run(rooms().advancing.jobs(job_ids))


_put_off = Spell()


@app.task(name="tracker.check_completion", bind=True)  # not tried again: the next one is sent in a moment
def check_completion(self: Task, instance_ids: list[str] | None = None) -> None:
    """Set in motion what is due; with ids, look at these instances now."""
    if instance_ids:
        named = [counting.check_id(name, "instance id") for name in instance_ids]
        complete_instances.apply_async((named,), {"force": True}, argsrepr=_names(named), headers={"by": asked_by(self)})
        return
    try:
        check_what_is_due()
    except LedgerUnavailable as error:
        if _put_off.begins(str(error)):
            log.warning("check_put_off", reason=str(error))
    else:
        _put_off.ends()


def check_what_is_due() -> None:
    """Look for what is due, and send a task for each. Raises LedgerUnavailable."""
    tend_history()
    look_for_stuck()
    room = room_for_pushes()
    if not room:
        log.warning("push_queue_backlogged", at_least=BACKLOG)
        return
    found = checking.check(rooms().ledger, rooms().settings, in_passing=room > BACKLOG - BACKLOG_IN_PASSING)
    if found is None:
        return
    push_later(found.push)
    push_later(found.in_passing, in_passing=True)
    for some in counting.chunks(found.look, PUSH_CHUNK):
        complete_instances.apply_async((some,), argsrepr=_names(some))
    for some in counting.chunks(found.jobs, JOBS_CHUNK):
        complete_jobs.apply_async((some,), argsrepr=_names(some))
    if found.sync:
        sync_active_instances.apply_async()


@app.task(name="tracker.sync_active_instances", **RETRY)
def sync_active_instances() -> None:
    """Read the full listing of submitted instances, if nobody else is at it."""
    listing = rooms().run(checking.sync(rooms().ledger, rooms().dataset_api, rooms().import_api, rooms().settings))
    if listing is not None and room_for_pushes():
        for some in counting.chunks(listing.missing, PUSH_CHUNK):
            complete_instances.apply_async((some,), argsrepr=_names(some))


def look_for_stuck() -> None:
    """Say once of each instance that it is stuck, and once that it moves again."""
    found = rooms().progress.look(rooms().settings.stuck_after_s)
    for view in found.stuck:
        log.warning("instance_stuck", instance_id=view.id, job_id=view.job_id, reason=view.stuck)
    for instance_id in found.moving:
        log.info("instance_moves_again", instance_id=instance_id)


def tend_history() -> None:
    """Have the history bounded, and drained when it is time."""
    settings = rooms().settings
    lost, due = rooms().history.tend(
        settings.history_max_entries,
        draining=settings.db_access is not None,
        pause_s=draining.PAUSE_S,
        longest_pause_s=draining.LONGEST_PAUSE_S,
    )
    if lost:
        log.warning("history_trimmed", entries=lost, reason="HISTORY_MAX_ENTRIES was reached before the database had them")
    if due:
        drain_history.apply_async(expires=draining.LONGEST_PAUSE_S)


@app.task(name="tracker.drain_history", **RETRY)
def drain_history() -> None:
    """Drain the history into the database, if there is one and nobody else is at it."""
    database, ledger = rooms().database, rooms().ledger
    if database is None or not ledger.lease("drain", draining.LEASE_S):
        return
    try:
        new = draining.drain(rooms().history, database)
    finally:
        ledger.end_lease("drain")
    log.debug("history_drained", entries=new)


@app.task(name="tracker.add_inserted_count", bind=True, **RETRY)
def add_inserted_count(self: Task, instance_id: str, count: int, key: str | None = None) -> None:
    """Add one count by hand, once per key; without a key, once per task."""
    added, push = counting.add_by_hand(instance_id, count, key or str(self.request.id), rooms().ledger, asked_by(self))
    if push:
        push_later([instance_id])
    log.info("count_added_by_hand" if added else "count_known_already", instance_id=instance_id, count=count, key=key or self.request.id)


@app.task(name="tracker.register_instance", bind=True, **RETRY)
def register_instance(self: Task, instance_id: str, job_id: str | None = None) -> None:
    """Follow one instance, named by a person."""
    counting.register_by_hand(instance_id, job_id, rooms().ledger, asked_by(self))
    log.info("instance_registered", instance_id=instance_id, job_id=job_id)


@signals.worker_process_init.connect
def warm_up(**_: Any) -> None:  # noqa: ANN401 -- a signal's arguments
    """Build the rooms of a worker's child right after its fork, not while its first task waits."""
    rooms()
