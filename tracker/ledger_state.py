"""What the ledger tells the bridge and is told by it: the values of births, verifications and positions."""

from dataclasses import dataclass, field

from tracker.events import Partition


@dataclass(frozen=True, slots=True)
class PartitionState:
    """
    How far one partition is applied.

    `next` is the lowest offset not applied yet, `checksum` that of the record at `next - 1` ("" where none is
    known), `horizon` the end noted at the ledger's birth, None once it is passed.
    """

    partition: Partition
    epoch: str
    next: int
    checksum: str
    horizon: int | None


@dataclass(frozen=True, slots=True)
class LedgerState:
    """The ledger as it stands. `id` is None where there is none; `verified` is about the server's present run."""

    id: str | None
    number: int
    version: int
    verified: bool
    partitions: dict[Partition, PartitionState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartitionStart:
    """Where a partition begins in a ledger. `horizon` is None for registrations, which set nothing aside."""

    partition: Partition
    epoch: str
    next: int
    horizon: int | None


@dataclass(frozen=True, slots=True)
class Positions:
    """
    One reading of what is applied: per partition `(epoch, next)`, and which partitions have no horizon left to pass.

    Partitions that the ledger does not know are left out.
    """

    ledger: str | None
    version: int
    verified: bool
    next: dict[Partition, tuple[str, int]] = field(default_factory=dict)
    passed: frozenset[Partition] = frozenset()
