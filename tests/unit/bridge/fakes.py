"""
Stand-ins for the bridge's neighbours, with a clock that only moves when somebody waits.

`FakeKafka` keeps logs, commits and groups; `FakeLedger` applies by the real one's rules, with a set of offsets in place of
ranges; `FakePublisher` keeps the tasks until a test applies, loses or repeats them.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bridge.loop import Bridge
from bridge.neighbours import Changes, Stretch
from bridge.verifying import Policy, Verifier
from bridge.window import Window
from tracker.errors import LedgerUnavailable, LostTurn, Transient
from tracker.events import Batch, Kind, Partition, checksum
from tracker.ledger_state import LedgerState, PartitionStart, PartitionState, Positions

COUNTS, REGISTRATIONS, GROUP = "counts", "registrations", "the-group"
KINDS: dict[str, Kind] = {COUNTS: "counts", REGISTRATIONS: "registrations"}
WAIT_S = 15.0


def counted(instance: str, count: int) -> bytes:
    """Write the value of a counts record; short texts and small counts only."""
    left, out = count << 1, bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([len(instance) << 1]) + instance.encode() + bytes([*out, left])


def registered(instance: str, job: str) -> bytes:
    """Write the value of a registration."""
    return b"\x02u" + bytes([len(instance) << 1]) + instance.encode() + bytes([len(job) << 1]) + job.encode()


class Clock:
    """Time as a number."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


class FakeRecord(NamedTuple):
    offset: int
    value: bytes | None


@dataclass
class Log:
    """One partition. Offsets without a record are transaction markers or compacted away."""

    start: int = 0
    end: int = 0
    records: dict[int, bytes | None] = field(default_factory=dict)

    def append(self, value: bytes | None) -> int:
        self.records[self.end] = value
        self.end += 1
        return self.end - 1

    def delete_below(self, offset: int) -> None:
        self.start = max(self.start, offset)
        self.records = {at: value for at, value in self.records.items() if at >= self.start}

    def truncate(self, end: int) -> None:
        self.end = end
        self.records = {at: value for at, value in self.records.items() if at < end}


class FakeKafka:
    """Topics, commits and the members of groups."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.logs: dict[Partition, Log] = {}
        self.ids: dict[str, str] = {}
        self.commits: dict[Partition, tuple[int, str]] = {}
        self.members: list[FakeConsumer] = []
        self.down = False
        self._made = 0

    def create(self, topic: str, partitions: int, *, with_id: bool = True) -> None:
        self._made += 1
        self.ids[topic] = f"{topic}-{self._made}" if with_id else ""
        for number in range(partitions):
            self.logs[Partition(topic, number)] = Log()
        self.rebalance()

    def delete(self, topic: str) -> None:
        del self.ids[topic]
        for partition in [p for p in self.logs if p.topic == topic]:
            del self.logs[partition]
            self.commits.pop(partition, None)

    def add_partition(self, topic: str) -> Partition:
        partition = Partition(topic, sum(p.topic == topic for p in self.logs))
        self.logs[partition] = Log()
        self.rebalance()
        return partition

    def rebalance(self) -> None:
        """Assign every partition anew, round and round; each member hears of it in its next poll."""
        for member in self.members:
            member.pending = set()
        for number, partition in enumerate(sorted(self.logs)):
            takers = [member for member in self.members if partition.topic in member.topics]
            if takers:
                wanted = takers[number % len(takers)].pending
                assert wanted is not None
                wanted.add(partition)

    def check(self) -> None:
        if self.down:
            raise Transient("Kafka: down")


class FakeConsumer:
    """A member of the group."""

    def __init__(self, kafka: FakeKafka, topics: Iterable[str], poll_records: int = 3) -> None:
        self.kafka, self.topics, self.poll_records = kafka, frozenset(topics), poll_records
        self.commit_error: str | None = None
        self.pending: set[Partition] | None = None
        self.positions: dict[Partition, int] = {}
        self.flowing: set[Partition] = set()
        self.heard: frozenset[Partition] | None = None
        self.astray: set[Partition] = set()
        self.closed = False
        kafka.members.append(self)
        kafka.rebalance()

    def poll(self, timeout_s: float) -> list[Stretch]:
        self.kafka.check()
        if self.pending is not None:
            self.heard, self.pending = frozenset(self.pending), None
            self.positions, self.flowing = dict.fromkeys(self.heard, 0), set()
        left, out = self.poll_records, []
        for partition in sorted(self.flowing, key=lambda p: (self.positions[p] * 7919 + p.number) % 5):
            log, at = self.kafka.logs.get(partition), self.positions[partition]
            if log is None:
                continue
            if not log.start <= at <= log.end:
                self.astray.add(partition)
                continue
            records = []
            while at < log.end and left:
                if at in log.records:
                    records.append(FakeRecord(at, log.records[at]))
                    left -= 1
                at += 1
            self.positions[partition] = at
            if records:
                out.append(Stretch(partition, records, at))
        if not out:
            self.kafka.clock.wait(timeout_s)
        return out

    def changes(self) -> Changes:
        changes = Changes(self.heard, frozenset(self.astray))
        self.heard, self.astray = None, set()
        return changes

    def seek(self, partition: Partition, offset: int) -> None:
        if partition in self.positions:
            self.positions[partition] = offset

    def position(self, partition: Partition) -> int | None:
        return self.positions.get(partition)

    def flow(self, partitions: Collection[Partition]) -> None:
        self.flowing = set(partitions) & self.positions.keys()

    def commit(self, commits: Mapping[Partition, tuple[int, str]]) -> None:
        self.kafka.check()
        if self.pending is None and not self.closed:
            self.kafka.commits |= {p: commit for p, commit in commits.items() if p in self.positions}

    def commit_now(self, commits: Mapping[Partition, tuple[int, str]], timeout_s: float) -> None:
        self.commit(commits)

    def close(self, timeout_s: float) -> None:
        self.closed = True
        if self in self.kafka.members:
            self.kafka.members.remove(self)
        self.kafka.rebalance()


class FakeCluster:
    """What the cluster says."""

    def __init__(self, kafka: FakeKafka) -> None:
        self.kafka = kafka

    def topics(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        self.kafka.check()
        return {n: (self.kafka.ids[n], sum(p.topic == n for p in self.kafka.logs)) for n in names if n in self.kafka.ids}

    def commits(self, group: str, partitions: Collection[Partition]) -> dict[Partition, tuple[int, str]]:
        self.kafka.check()
        return {p: self.kafka.commits[p] for p in partitions if p in self.kafka.commits}

    def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        self.kafka.check()
        return {p: (self.kafka.logs[p].start, self.kafka.logs[p].end) for p in partitions}

    def ends(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, int]:
        self.kafka.check()
        return {p: self.kafka.logs[p].end for p in partitions if p in self.kafka.logs}

    def checksums(self, offsets: Mapping[Partition, int]) -> dict[Partition, str]:
        self.kafka.check()
        return {p: checksum(at, self.kafka.logs[p].records[at]) for p, at in offsets.items() if at in self.kafka.logs[p].records}


@dataclass
class Part:
    """One partition in one epoch."""

    next: int
    horizon: int | None
    checksums: dict[int, str] = field(default_factory=dict)
    early: set[int] = field(default_factory=set)

    @property
    def checksum(self) -> str:
        return self.checksums.get(self.next, "")

    def extend(self, start: int, end: int, known: str) -> None:
        self.early |= set(range(max(start, self.next), end))
        self.checksums[end] = known
        while self.next in self.early:
            self.early.remove(self.next)
            self.next += 1
        if self.horizon is not None and self.next >= self.horizon:
            self.horizon = None


@dataclass
class FakeLedger:
    """The ledger's rules in plain Python. `api` stands for what the Dataset API has been told of each instance."""

    clock: Clock
    api: dict[str, int] = field(default_factory=dict)
    id: str | None = None
    number: int = 0
    version: int = 0
    verified: bool = False
    born: float = 0.0
    settle_s: float = 0.0
    down: bool = False
    epochs: dict[Partition, str] = field(default_factory=dict)
    parts: dict[tuple[Partition, str], Part] = field(default_factory=dict)
    owed: dict[str, int] = field(default_factory=dict)
    aside: dict[str, int] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)
    jobs: dict[str, str] = field(default_factory=dict)
    losses: list[tuple[Partition, int, int]] = field(default_factory=list)
    dead: list[tuple[Partition, int, str]] = field(default_factory=list)
    births: list[str] = field(default_factory=list)
    beats: dict[str, dict[str, Any]] = field(default_factory=dict)
    random: int = 0
    void: str = ""
    letters_full: bool = False
    paused: bool = False

    def _check(self, *, verified: bool = True) -> None:
        if self.down:
            raise LedgerUnavailable("Redis: down")
        if verified and not self.verified:
            raise LedgerUnavailable("not verified")

    def state(self, topics: Iterable[str]) -> LedgerState:
        self._check(verified=False)
        wanted = set(topics)
        partitions = {}
        for partition, epoch in self.epochs.items():
            if partition.topic in wanted:
                part = self.parts[partition, epoch]
                partitions[partition] = PartitionState(partition, epoch, part.next, part.checksum, part.horizon)
        return LedgerState(self.id, self.number, self.version, self.verified, partitions, self.void)

    def birth(self, expected: str | None, number: int, starts: Sequence[PartitionStart], *, settle_s: float, reason: str) -> str:
        self._check(verified=False)
        if expected != self.id:
            return self.id or ""
        assert number > self.number
        self.random += 1
        self.id, self.number, self.version, self.verified = f"{number}-r{self.random}", number, 1, True
        self.born, self.settle_s = self.clock(), settle_s
        self.epochs, self.parts = {}, {}
        self.owed, self.aside, self.settled, self.void = {}, {}, set(), ""
        for start in starts:
            self._start(start)
        self.births.append(reason)
        return self.id

    def _start(self, start: PartitionStart) -> None:
        horizon = start.horizon if start.horizon is not None and start.horizon > start.next else None
        self.epochs[start.partition] = start.epoch
        self.parts[start.partition, start.epoch] = Part(start.next, horizon)

    def verify(self, examined: LedgerState) -> bool:
        self._check(verified=False)
        if examined.id != self.id or self.void or examined.version > self.version:
            return False
        self.verified = True
        return True

    def start_partition(self, ledger: str, start: PartitionStart) -> int:
        self._check()
        if ledger != self.id:
            raise LostTurn("another ledger")
        if self.epochs.get(start.partition) != start.epoch:
            old = self.parts.get((start.partition, self.epochs.get(start.partition, "")))
            if old:
                old.horizon = None
            self._start(start)
            self.version += 1
        return self.parts[start.partition, start.epoch].next

    def record_loss(self, ledger: str, partition: Partition, epoch: str, start: int, end: int, reason: str) -> int:
        self._check()
        if ledger != self.id:
            raise LostTurn("another ledger")
        part = self.parts[partition, epoch]
        if end > part.next:
            self.losses.append((partition, max(start, part.next), end))
            part.extend(start, end, "")
            self.version += 1
        return part.next

    def forget_marks(self, oldest: Iterable[tuple[Partition, str, int]]) -> int:
        self._check()
        return 0

    def positions(self, partitions: Iterable[Partition]) -> Positions:
        self._check(verified=False)
        following = {p: (self.epochs[p], self.parts[p, self.epochs[p]].next) for p in partitions if p in self.epochs}
        passed = frozenset(p for p, (epoch, _) in following.items() if self.parts[p, epoch].horizon is None)
        return Positions(self.id, self.version, self.verified, following, passed, self.letters_full, self.paused)

    def beat(self, kind: str, name: str, info: dict[str, Any], ttl_s: float) -> None:
        self._check(verified=False)
        self.beats[name] = info

    def heartbeats(self, kind: str) -> dict[str, dict[str, Any]]:
        self._check(verified=False)
        return self.beats

    # -- what workers do --

    def apply(self, batch: Batch) -> None:
        """Apply as `apply.lua` does."""
        self._check()
        partition = Partition(batch.topic, batch.partition)
        part = self.parts.get((partition, batch.epoch))
        assert batch.start < batch.end
        if batch.ledger != self.id or part is None:
            return
        columns = json.loads(batch.payload)
        which = [int(columns["x"][at : at + 4], 16) for at in range(0, len(columns["x"]), 4)]
        offsets = columns.get("o", range(len(which)))
        assert all(0 <= at < batch.end - batch.start for at in offsets)
        assert [which.count(number) for number in range(len(columns["w"]))] == columns["t"]
        for number, at in zip(which, offsets, strict=True):
            value = columns.get("n", columns.get("j"))[number]
            offset, instance = batch.start + at, columns["i"][columns["w"][number]]
            if offset < part.next or offset in part.early:
                continue
            if batch.kind == "registrations":
                self.jobs[instance] = value
            elif part.horizon is not None and offset < part.horizon:
                assert instance not in self.settled
                self.aside[instance] = self.aside.get(instance, 0) + value
            else:
                self.owed[instance] = self.owed.get(instance, 0) + value
        for at, reason, _ in columns.get("d", []):
            if batch.start + at >= part.next and batch.start + at not in part.early:
                self.dead.append((partition, batch.start + at, reason))
        part.extend(batch.start, batch.end, batch.checksum)
        self.version += 1

    def push(self) -> None:
        """Settle what was set aside and tell the API all that is owed, when that is allowed."""
        if self.down or not self.verified or self.clock() < self.born + self.settle_s:
            return
        if any(part.horizon is not None for (p, epoch), part in self.parts.items() if self.epochs.get(p) == epoch):
            return
        for instance in {*self.aside, *self.owed}:
            owed = self.owed.pop(instance, 0)
            if instance not in self.settled:
                owed += max(0, self.aside.pop(instance, 0) - self.api.get(instance, 0))
                self.settled.add(instance)
            if owed:
                self.api[instance] = self.api.get(instance, 0) + owed
                self.version += 1


class FakePublisher:
    """Keeps what was published. `down` is Redis away."""

    def __init__(self) -> None:
        self.queue: list[Batch] = []
        self.sent: list[Batch] = []
        self.down = False

    def publish(self, batch: Batch) -> None:
        if self.down:
            raise LedgerUnavailable("Redis: down")
        self.queue.append(batch)
        self.sent.append(batch)

    def queue_length(self) -> int:
        if self.down:
            raise LedgerUnavailable("Redis: down")
        return len(self.queue)


class World:
    """A bridge (or several) among stand-ins."""

    def __init__(self, *, counts_partitions: int = 2, with_ids: bool = True, oldest: bool = True) -> None:
        self.clock = Clock()
        self.kafka = FakeKafka(self.clock)
        self.kafka.create(COUNTS, counts_partitions, with_id=with_ids)
        self.kafka.create(REGISTRATIONS, 1, with_id=with_ids)
        self.ledger = FakeLedger(self.clock)
        self.publisher = FakePublisher()
        self.oldest = oldest
        self.produced: dict[str, int] = {}

    def bridge(self, name: str = "b", *, window_records: int = 100, separate: bool = False) -> Bridge:
        groups = [[COUNTS], [REGISTRATIONS]] if separate else [[COUNTS, REGISTRATIONS]]
        cluster = FakeCluster(self.kafka)
        policy = Policy(COUNTS, REGISTRATIONS, {COUNTS: GROUP, REGISTRATIONS: GROUP}, self.oldest, WAIT_S)
        return Bridge(
            name=name,
            kinds=KINDS,
            consumers=[FakeConsumer(self.kafka, topics) for topics in groups],
            cluster=cluster,
            ledger=self.ledger,
            publisher=self.publisher,
            verifier=Verifier(self.ledger, cluster, policy, waiting=self.publisher.queue_length, clock=self.clock),
            window=Window(window_records, 5.0),
            clock=self.clock,
            wait=self.clock.wait,
        )

    def produce(self, instance: str, count: int = 1, partition: int = 0) -> int:
        self.produced[instance] = self.produced.get(instance, 0) + count
        return self.kafka.logs[Partition(COUNTS, partition)].append(counted(instance, count))

    def apply_all(self) -> None:
        while self.publisher.queue:
            self.ledger.apply(self.publisher.queue.pop(0))

    def run(self, bridge: Bridge, steps: int = 20) -> None:
        """Take turns, a worker applying after each, a push now and then."""
        for _ in range(steps):
            bridge.step()
            if not self.ledger.down and self.ledger.verified:
                self.apply_all()

    def settle(self, bridge: Bridge) -> None:
        """Run until everything must be counted: the longest back-off, what follows, the wait after a birth."""
        for seconds in (6.0, WAIT_S, 6.0):
            until = self.clock.now + seconds
            while self.clock.now < until:
                self.run(bridge, 1)
        self.ledger.push()

    def next(self, partition: int = 0, topic: str = COUNTS) -> int:
        return self.ledger.positions([Partition(topic, partition)]).next[Partition(topic, partition)][1]


def consumer(bridge: Bridge, number: int = 0) -> FakeConsumer:
    member = bridge._consumers[number]
    assert isinstance(member, FakeConsumer)
    return member


def running(world: World) -> Bridge:
    """A bridge that has its ledger and its places, the birth's wait over."""
    bridge = world.bridge()
    world.run(bridge, 10)
    world.clock.wait(WAIT_S)
    world.run(bridge, 5)
    world.ledger.push()
    assert world.ledger.verified
    return bridge
