"""What a poll brings: stretches of records, and what has happened to the assignment. Pure values."""

from collections.abc import Sequence
from dataclasses import dataclass

from tracker.events import Partition, Record


@dataclass(frozen=True, slots=True)
class Stretch:
    """The records polled from one partition, in order, and the position after them, which may lie above the last."""

    partition: Partition
    records: Sequence[Record]
    end: int


@dataclass(frozen=True, slots=True)
class Changes:
    """
    What happened to our partitions.

    `assigned` is the new assignment after a (re)join of the group, None without one; `astray` are partitions whose
    position Kafka no longer holds.
    """

    assigned: frozenset[Partition] | None
    astray: frozenset[Partition]
