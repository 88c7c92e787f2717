"""
Random histories: bridges come and go, tasks are lost, repeated and late, Redis and Kafka fail, restart and forget.

Whatever happens, once everything is back and quiet the API has been told of each record once.
"""

import copy
import os
from random import Random
from typing import Any

import pytest

from bridge.loop import Bridge
from bridge.starting import Stamp, parse_metadata
from tests.unit.bridge.fakes import COUNTS, FakeLedger, World
from tracker.events import Partition

HISTORIES = int(os.environ.get("BRIDGE_HISTORIES", "80"))
LENGTH = 250


class History:
    """One random history. Each method without an underscore is something that can happen."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._world = World(counts_partitions=self._random.choice([1, 2, 3]), with_ids=self._random.random() < 0.8)
        self._bridges = [self._world.bridge("first", window_records=self._random.choice([4, 12, 100]))]
        self._made = 1
        self._instances = ["a", "b", "c"]
        self._snapshot: dict[str, Any] | None = None
        self._unnoticed = False
        self._told: list[str] = []

    def happen(self) -> None:
        """Let something happen: mostly the everyday, sometimes a fault."""
        everyday = [self.produce, self.step, self.step, self.apply, self.apply, self.push, self.wait]
        faults = [
            self.lose_task,
            self.repeat_task,
            self.rebalance,
            self.kill_bridge,
            self.start_bridge,
            self.close_bridge,
            self.redis_away,
            self.kafka_away,
            self.redis_restarts,
            self.redis_forgets,
            self.redis_goes_back,
            self.take_snapshot,
            self.marker,
            self.add_partition,
            self.void,
            self.rewind_group,
            self.somebody_else_takes_over,
            self.make_topic_anew,
        ]
        what = self._random.choice(everyday if self._random.random() < 0.93 else faults)
        self._told.append(what.__name__)
        what()

    # -- the everyday --

    def produce(self) -> None:
        partitions = [p for p in self._world.kafka.logs if p.topic == COUNTS]
        for _ in range(self._random.randint(1, 6)):
            partition = self._random.choice(partitions)
            self._world.produce(self._random.choice(self._instances), self._random.randint(0, 50), partition.number)

    def step(self) -> None:
        if self._bridges:
            self._random.choice(self._bridges).step()

    def apply(self) -> None:
        ledger, queue = self._world.ledger, self._world.publisher.queue
        if queue and ledger.verified and not ledger.down:
            ledger.apply(queue.pop(self._random.randrange(len(queue))))

    def push(self) -> None:
        self._world.ledger.push()

    def wait(self) -> None:
        self._world.clock.wait(self._random.choice([0.01, 0.3, 1, 7, 20]))

    # -- faults --

    def lose_task(self) -> None:
        queue = self._world.publisher.queue
        if queue:
            queue.pop(self._random.randrange(len(queue)))

    def repeat_task(self) -> None:
        sent = self._world.publisher.sent
        if sent:
            self._world.publisher.queue.append(self._random.choice(sent[-20:]))

    def rebalance(self) -> None:
        self._world.kafka.rebalance()

    def kill_bridge(self) -> None:
        if self._bridges:
            dead = self._bridges.pop(self._random.randrange(len(self._bridges)))
            for consumer in dead._consumers:
                self._world.kafka.members.remove(consumer)  # type: ignore[arg-type]
            self._world.kafka.rebalance()

    def start_bridge(self) -> None:
        if len(self._bridges) < 3:
            self._made += 1
            self._bridges.append(self._world.bridge(f"bridge-{self._made}", window_records=self._random.choice([4, 12, 100])))

    def close_bridge(self) -> None:
        if self._bridges:
            self._bridges.pop(self._random.randrange(len(self._bridges))).close(self._random.choice([0.0, 2.0]))

    def redis_away(self) -> None:
        self._world.ledger.down = not self._world.ledger.down
        self._world.publisher.down = self._world.ledger.down

    def kafka_away(self) -> None:
        self._world.kafka.down = not self._world.kafka.down

    def redis_restarts(self) -> None:
        self._world.ledger.verified = False

    def redis_forgets(self) -> None:
        world = self._world
        fresh = FakeLedger(world.clock, api=world.ledger.api)
        fresh.random = world.ledger.random
        self._restore(vars(fresh))
        if self._random.random() < 0.7:
            world.publisher.queue.clear()

    def take_snapshot(self) -> None:
        self._snapshot = copy.deepcopy({key: value for key, value in vars(self._world.ledger).items() if key not in {"clock", "api"}})

    def redis_goes_back(self) -> None:
        """An older copy is put back. The commits show it, unless nothing was committed since; nobody promises more."""
        ledger = self._world.ledger
        stamps = [stamp for _, metadata in self._world.kafka.commits.values() if (stamp := parse_metadata(metadata))]
        if self._snapshot and stamps and max(stamps) == Stamp(ledger.number, ledger.version):
            self._restore(copy.deepcopy(self._snapshot))

    def _restore(self, values: dict[str, Any]) -> None:
        ledger = self._world.ledger
        keep = {"clock", "api", "down", "births", "random", "beats"}
        for key, value in values.items():
            if key not in keep:
                setattr(ledger, key, value)
        ledger.verified = False

    def marker(self) -> None:
        self._random.choice(list(self._world.kafka.logs.values())).end += 1

    def add_partition(self) -> None:
        if sum(p.topic == COUNTS for p in self._world.kafka.logs) < 4:
            self._world.kafka.add_partition(COUNTS)

    def void(self) -> None:
        if self._world.ledger.id:
            self._world.ledger.void = "a person asked for it"
            self._world.ledger.verified = False

    def rewind_group(self) -> None:
        for partition, (offset, metadata) in list(self._world.kafka.commits.items()):
            self._world.kafka.commits[partition] = (self._random.randint(0, offset), self._random.choice(["", metadata]))
        self._world.kafka.rebalance()

    def _quiet(self) -> None:
        """Everything is back; run until all that is in Kafka is counted."""
        world = self._world
        world.ledger.down = world.publisher.down = world.kafka.down = False
        if not self._bridges:
            self.start_bridge()
        if self._unnoticed:
            self._unnoticed = False
            world.kafka.rebalance()
        for _ in range(2):
            until = world.clock.now + 70  # a task lost long ago comes again within a minute
            while world.clock.now < until:
                for bridge in self._bridges:
                    bridge.step()
                if world.ledger.verified:
                    world.apply_all()
                world.ledger.push()
                world.clock.wait(0.2)

    def somebody_else_takes_over(self) -> None:
        """Our bridges end in good order; another tracker counts from our commits; then ours are started again."""
        self._quiet()
        world = self._world
        while self._bridges:
            assert self._bridges.pop().close(5.0)
        world.publisher.queue.clear()
        self.produce()
        for partition, log in world.kafka.logs.items():
            if partition.topic != COUNTS:
                continue
            start, _ = world.kafka.commits.get(partition, (log.start, ""))
            for offset, value in log.records.items():
                if offset >= start and value:
                    instance = value[1:2].decode()
                    count = (value[2] & 0x7F | (value[3] << 7 if value[2] > 0x7F else 0)) >> 1
                    world.ledger.api[instance] = world.ledger.api.get(instance, 0) + count
            world.kafka.commits[partition] = (log.end, "")
        self.produce()
        self.start_bridge()
        self.start_bridge()
        self._quiet()  # before anybody rewinds the group and so hides it

    def make_topic_anew(self) -> None:
        """Only the topic's own instances can be compared with the API after a later birth, hence new ones."""
        self._quiet()
        world = self._world
        if not world.kafka.ids[COUNTS]:
            return
        partitions = sum(p.topic == COUNTS for p in world.kafka.logs)
        world.kafka.delete(COUNTS)
        if self._random.random() < 0.5:
            self.step()
        world.kafka.create(COUNTS, self._random.randint(1, partitions))
        world.clock.wait(0.3)  # nothing is deleted, made anew and filled without one fetch that fails
        self._instances = [chr(ord(name) + 3) for name in self._instances]
        if ord(self._instances[0]) > ord("x"):
            self._instances = ["A", "B", "C"]
        if self._random.random() < 0.5:
            self._unnoticed = True  # by the group, for now
            for bridge in self._bridges:
                for consumer in bridge._consumers:
                    consumer.pending = None  # type: ignore[attr-defined]

    def end(self) -> tuple[dict[str, int], dict[str, int]]:
        """Let everything come to rest. Returns what the API was told, and what it should have been."""
        self._quiet()
        told = {name: count for name, count in self._world.ledger.api.items() if count}
        return told, {name: count for name, count in self._world.produced.items() if count}


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_each_record_counts_once_whatever_happens(seed: int) -> None:
    history = History(seed)
    for _ in range(LENGTH):
        history.happen()
    told, expected = history.end()
    assert told == expected, history._told


def test_histories_are_made_of_a_bridge() -> None:
    assert isinstance(History(0)._bridges[0], Bridge)
    assert Partition(COUNTS, 0) in History(0)._world.kafka.logs
