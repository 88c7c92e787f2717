"""Batches for one partition of a ledger, and what tests read of a ledger past its own methods."""

from typing import Any, cast

from tracker.events import Batch, Event, Kind, ObservationsInserted, Partition, pack
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.ledger_state import Turn

TOPIC = "import-observations-inserted"
P0 = Partition(TOPIC, 0)


def batch(ledger: Ledger, start: int, end: int, events: list[tuple[int, Event]], *, epoch: str = "e1", kind: Kind = "counts") -> Batch:
    """A batch of the partition for the ledger in force."""
    payload, records = pack(kind, start, events, lambda event: event)
    ledger_id = ledger.state([TOPIC]).id or ""
    return Batch(ledger_id, TOPIC, 0, epoch, start, end, kind, records, payload, f"{end:x}")


def counts(ledger: Ledger, start: int, *values: tuple[str, int]) -> Batch:
    """A batch of counts at consecutive offsets."""
    events: list[tuple[int, Event]] = [(start + n, ObservationsInserted(name, count)) for n, (name, count) in enumerate(values)]
    return batch(ledger, start, start + len(values), events)


def woken(ledger: Ledger, applied: Batch) -> list[str]:
    """Apply a batch that is this ledger's; returns the instances to push."""
    found = ledger.apply(applied)
    assert found is not None
    return found.ids


def owed(ledger: Ledger, instance_id: str) -> int:
    """What an instance owes, read past the ledger."""
    return int(ledger.client.hget(f"{ledger.prefix}i:{instance_id}", "owed") or 0)


def position(ledger: Ledger) -> int:
    """The next offset of the partition."""
    return ledger.positions([P0]).next[P0][1]


def take_settled(ledger: Ledger, instance_id: str, *, inserted: int = 0, total: int | None = None, etag: str | None = "t0") -> Turn:
    """A turn of an instance whose GET has been noted."""
    turn = ledger.take(instance_id)
    return ledger.seen(turn, Instance(instance_id, "submitted", "job-1", total, inserted, etag))


def stream(ledger: Ledger, name: str) -> list[dict[str, Any]]:
    """The entries of one of the ledger's streams, read past the ledger."""
    return [dict(entry) for _, entry in cast("list[tuple[str, dict[str, Any]]]", ledger.client.xrange(f"{ledger.prefix}{name}"))]
