"""
The bridge's neighbours as its loop and its verifier see them, and the values a poll brings.

The real ones are `bridge.consumer`, `bridge.publishing` and the ledger; tests and simulations bring others.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tracker.events import Batch, Partition, Record
from tracker.ledger_state import LedgerState, PartitionStart, Positions


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


class Consumer(Protocol):
    """A member of a consumer group, see `bridge.consumer.GroupConsumer`."""

    topics: frozenset[str]
    commit_error: str | None

    def poll(self, timeout_s: float) -> list[Stretch]:
        """Wait for records of the partitions that flow."""

    def changes(self) -> Changes:
        """Tell what has happened to the assignment since last asked."""

    def seek(self, partition: Partition, offset: int) -> None:
        """Poll from there next."""

    def position(self, partition: Partition) -> int | None:
        """Tell what is polled next."""

    def flow(self, partitions: Collection[Partition]) -> None:
        """Let these be polled and hold the others."""

    def commit(self, commits: Mapping[Partition, tuple[int, str]]) -> None:
        """Send commits."""

    def commit_now(self, commits: Mapping[Partition, tuple[int, str]], timeout_s: float) -> None:
        """Commit and wait for the answer."""

    def close(self, timeout_s: float) -> None:
        """Leave the group."""


class Cluster(Protocol):
    """What Kafka is asked beside the group, see `bridge.consumer.Cluster`; all of it raises Transient."""

    def topics(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Tell id and number of partitions of the topics that exist."""

    def commits(self, group: str, partitions: Collection[Partition]) -> dict[Partition, tuple[int, str]]:
        """Tell the group's commits, offset and metadata."""

    def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Tell oldest offset and end."""

    def checksums(self, offsets: Mapping[Partition, int]) -> dict[Partition, str]:
        """Tell the checksums of the records at these offsets."""

    def ends(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, int]:
        """Tell the ends of the partitions."""


class Ledger(Protocol):
    """What the ledger is told and asked; all of it raises LedgerUnavailable, which is Transient."""

    def state(self, topics: Iterable[str]) -> LedgerState:
        """Tell how it stands."""

    def birth(self, expected: str | None, number: int, starts: Sequence[PartitionStart], *, settle_s: float, reason: str) -> str:
        """Begin a new one, if `expected` is still in force; tell the id in force."""

    def verify(self, examined: LedgerState) -> bool:
        """Declare it right for the server run it was examined on; False when it is not the same any more."""

    def start_partition(self, ledger: str, start: PartitionStart) -> int:
        """Begin a partition, or a new epoch of one."""

    def record_loss(self, ledger: str, partition: Partition, epoch: str, start: int, end: int, reason: str) -> int:
        """Note a gap."""

    def forget_marks(self, oldest: Iterable[tuple[Partition, str, int]]) -> int:
        """Forget what is remembered of dead letters whose records Kafka no longer holds."""

    def positions(self, partitions: Iterable[Partition]) -> Positions:
        """Tell what is applied."""

    def beat(self, kind: str, name: str, info: dict[str, Any], ttl_s: float) -> None:
        """Say that this process is alive."""

    def heartbeats(self, kind: str) -> dict[str, dict[str, Any]]:
        """Tell the living processes of a kind."""


class Publisher(Protocol):
    """Sends batches as tasks; raises LedgerUnavailable."""

    def publish(self, batch: Batch) -> None:
        """Send one batch."""

    def queue_length(self) -> int:
        """Tell how many tasks wait to be applied."""
