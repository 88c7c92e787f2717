"""
Kafka on virtual time: the stand-ins of the bridge's own tests, with members that the group gives up and takes back.

A bridge is a process here, too: it can be killed or stand still before and after each of its calls. A member that stood
still for longer than its session has lost its partitions and what it commits is refused, until it has joined again.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bridge.neighbours import Changes, Stretch
from tests.simulation.faults import Killed, Process, Surroundings
from tests.unit.bridge.fakes import FakeCluster, FakeConsumer, FakeKafka
from tracker.errors import LedgerUnavailable, Transient
from tracker.events import Batch, Partition

SESSION_S = 10.0
"""How long the group keeps a member that says nothing."""


class Waiting:
    """A clock whose waiting is noted, for whoever lets the bridge take its next turn."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self.waited = 0.0
        self.passing = False

    @property
    def now(self) -> float:
        return self._around.loop.now

    def __call__(self) -> float:
        return self._around.loop.now

    def wait(self, seconds: float) -> None:
        """Note it; with `passing`, which is for what waits in one call, let it go by."""
        self.waited += seconds
        if self.passing and not self._around.loop.stand_still(max(seconds, 0.001)):
            raise Killed


class Kafka(FakeKafka):
    """Topics, commits and the members of one group. `around.kafka_away` has it out of reach."""

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.waiting = Waiting(around)
        super().__init__(self.waiting)  # type: ignore[arg-type] # all of a clock that it uses

    def check(self) -> None:
        self.down = self.around.kafka_away
        super().check()

    def give_up(self, member: FakeConsumer) -> None:
        """The session of a member has ended."""
        if member in self.members:
            self.members.remove(member)
            self.rebalance()


class Consumer(FakeConsumer):
    """A member that is part of a process."""

    kafka: Kafka

    def __init__(self, kafka: Kafka, topics: Iterable[str], process: Process, poll_records: int) -> None:
        self.process = process
        super().__init__(kafka, topics, poll_records)

    def poll(self, timeout_s: float) -> list[Stretch]:
        self.process.step()
        self.kafka.check()
        if self not in self.kafka.members and not self.closed:
            self.kafka.members.append(self)
            self.kafka.rebalance()
        found = super().poll(timeout_s)
        self.process.step()
        return found

    def changes(self) -> Changes:
        changes = super().changes()
        if changes.assigned is not None:
            self.commit_error = None
        return changes

    def commit_now(self, commits: Mapping[Partition, tuple[int, str]], timeout_s: float) -> None:
        self.commit(commits)
        if commits and self.commit_error:
            raise Transient(f"Kafka: {self.commit_error}")

    def commit(self, commits: Mapping[Partition, tuple[int, str]]) -> None:
        self.process.step()
        if self not in self.kafka.members or self.pending is not None:
            self.commit_error = "the group has given its partitions to others"
            return
        super().commit(commits)
        self.commit_error = None
        self.process.step()


class Cluster(FakeCluster):
    """What the cluster says to a process."""

    def __init__(self, kafka: Kafka, process: Process) -> None:
        super().__init__(kafka)
        self.process = process

    def topics(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        self.process.step()
        return super().topics(names)

    def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        self.process.step()
        return super().bounds(partitions)


class Publisher:
    """Puts batches into Celery's queue."""

    def __init__(self, celery: Any, process: Process) -> None:
        self._celery, self._process = celery, process

    def publish(self, batch: Batch) -> None:
        """Send one batch."""
        self._process.step()
        self._reach()
        self._celery.publish(batch)
        self._process.step()

    def queue_length(self) -> int:
        """Tell how many batches wait."""
        self._reach()
        return int(self._celery.waiting)

    def _reach(self) -> None:
        if self._process.around.redis_away:
            raise LedgerUnavailable("Redis is away")
