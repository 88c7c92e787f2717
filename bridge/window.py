"""
What is published and not yet applied, per partition. Pure: the caller brings the time.

Celery on Redis can lose a message, so whatever is not applied in time is published again. Of each partition that is
only the batch that the ledger's `next` waits for: what lies above it has often been applied early already, and if it
has not, it is the next to be waited for.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tracker.events import Batch, Partition

MAX_REPUBLISH_S = 60.0
"""The longest wait between two copies of one batch."""

MAX_BATCHES = 2
"""
How many batches of one partition are on their way at most. Under a steady flow what comes meanwhile gathers in the next
one: Celery runs hundreds of tasks a second, and a thousand small ones would only wait for each other. When far behind,
two full batches of each partition are more than the workers can apply in the time it takes to poll the next.
"""

SHOWN_AFTER_ATTEMPTS = 3
"""How often a batch is published before a person is told: one lost message is Celery's everyday, three are not."""


@dataclass(slots=True)
class Outstanding:
    """One batch on its way. `attempts` counts its copies, the first included; times are the caller's seconds."""

    batch: Batch
    since: float
    due: float
    wait_s: float
    attempts: int = 1


class Window:
    """
    The batches on their way, oldest first in each partition.

    `max_records` bounds how many records they carry together, `max_batches` how many there are of one partition before
    it gets no room for more; `republish_after_s` is how long a batch is waited for before its second copy, the wait
    doubling up to `MAX_REPUBLISH_S`.
    """

    def __init__(self, max_records: int, republish_after_s: float, max_batches: int = 1 << 31) -> None:
        self.max_records = max_records
        self._max_batches = max_batches
        self._first_wait_s = republish_after_s
        self._waiting: dict[Partition, deque[Outstanding]] = {}
        self._records: dict[Partition, int] = {}

    @property
    def records(self) -> int:
        """How many records are on their way."""
        return sum(self._records.values())

    @property
    def batches(self) -> int:
        """How many batches are on their way."""
        return sum(len(queue) for queue in self._waiting.values())

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._waiting

    def add(self, partition: Partition, batch: Batch, now: float) -> None:
        """Note a batch that has just been published; those of a partition come in the order of their offsets."""
        self._waiting.setdefault(partition, deque()).append(
            Outstanding(batch, since=now, due=now + self._first_wait_s, wait_s=self._first_wait_s)
        )
        self._records[partition] = self._records.get(partition, 0) + batch.records

    def drop_applied(self, partition: Partition, position: int) -> None:
        """Forget what lies wholly below `position`, which is the ledger's `next`."""
        queue = self._waiting.get(partition)
        while queue and queue[0].batch.end <= position:
            self._records[partition] -= queue.popleft().batch.records
        if not queue:
            self.drop(partition)

    def drop(self, partition: Partition) -> None:
        """Forget all of a partition: it is read again from where the ledger stands, or is another bridge's now."""
        self._waiting.pop(partition, None)
        self._records.pop(partition, None)

    def has_room(self, partition: Partition, now: float) -> bool:
        """
        Whether more of this partition may be published.

        A partition whose oldest batch is overdue gets no room, and in return what it has on its way takes none from the
        others: one that is stuck must not stop all.
        """
        if self._stuck(partition, now) or len(self._waiting.get(partition, ())) >= self._max_batches:
            return False
        return sum(records for other, records in self._records.items() if not self._stuck(other, now)) < self.max_records

    def _stuck(self, partition: Partition, now: float) -> bool:
        queue = self._waiting.get(partition)
        return bool(queue) and queue is not None and now - queue[0].since >= self._first_wait_s

    def overdue(self, now: float) -> Iterator[Outstanding]:
        """The oldest batch of each partition, where its time is up. `publish_again` says that it was sent."""
        for queue in self._waiting.values():
            if queue[0].due <= now:
                yield queue[0]

    def publish_again(self, outstanding: Outstanding, now: float) -> None:
        """Note another copy of a batch; the next is due after twice the wait."""
        outstanding.attempts += 1
        outstanding.wait_s = min(outstanding.wait_s * 2, max(MAX_REPUBLISH_S, self._first_wait_s))
        outstanding.due = now + outstanding.wait_s

    def stubborn(self) -> Iterator[Outstanding]:
        """The batches that were published `SHOWN_AFTER_ATTEMPTS` times and are still not applied."""
        for queue in self._waiting.values():
            if queue[0].attempts >= SHOWN_AFTER_ATTEMPTS:
                yield queue[0]
