"""Faults of Redis and Kafka: gone, asleep, forgetful, rewound, cut, made anew."""

import shutil
import time
from pathlib import Path

from kafka.errors import KafkaError

from sandbox.kafka import KafkaFailed
from tests.chaos.faults import Fault, NotNow, named

BIRTH_TIMEOUT_S = 20.0
"""How long a fault that loses the ledger waits for its preconditions."""


class _OnRedis(Fault):
    """To the Redis server, which is its own meanwhile."""

    def draw(self) -> None:
        self.uses = frozenset({"valkey"})

    def _start(self) -> None:
        self.stack.start("valkey")


@named("redis_killed")
class RedisKilled(_OnRedis):
    """SIGKILL, and started again with its data a moment later."""

    weight = 1

    def draw(self) -> None:
        super().draw()
        self.hold_s = self.random.choice((0.0, 0.0, self.random.uniform(0.1, 2.0)))

    def inject(self) -> None:
        self.stack.kill("valkey")

    def undo(self) -> None:
        self._start()


@named("redis_suspended")
class RedisSuspended(_OnRedis):
    """It is there, takes what is sent, and answers when its time-out is long past."""

    weight = 0.7

    def draw(self) -> None:
        super().draw()
        self.hold_s = self.random.uniform(0.3, 6.0)

    def inject(self) -> None:
        self.stack.pause("valkey")

    def undo(self) -> None:
        self.stack.resume("valkey")


class _LedgerLost(_OnRedis):
    """Takes the ledger away or back in time: the next one must be born, and a bridge's log must say so."""

    disrupts = "birth"
    weight = 0.25
    slow = True

    def draw(self) -> None:
        # Kafka and a bridge must be well for the time it takes to know that what is lost now stands in a commit.
        self.uses = frozenset({"valkey", "kafka", *self.world.names("bridge")})

    def _note(self) -> None:
        """Remember how it was; from now on there is something to undo."""
        self.begun = True
        self.born_before = self.world.said("ledger_born")
        self.number_before = self.world.stamp()[0]
        self.world.births += 1

    def _wait_known(self, stamp: tuple[int, int]) -> None:
        """Until a commit tells of changes later than `stamp`: less than that would be a loss that nobody could notice."""
        world = self.world
        world.until(lambda: world.committed_stamp() > stamp, BIRTH_TIMEOUT_S, f"no commit tells of more than {stamp}")
        if world.stamp()[0] != stamp[0]:
            # Of the new one perhaps no commit tells yet: the next would rightly have the same number.
            raise NotNow("another ledger was born meanwhile")

    def after(self) -> list[str]:
        found = []
        if self.world.said("ledger_born") <= self.born_before:
            found.append(f"{self.name}: no bridge's log says ledger_born")
        if self.world.stamp()[0] <= self.number_before:
            found.append(f"{self.name}: ledger number {self.world.stamp()[0]} is not above {self.number_before}")
        return found


@named("redis_flushed")
class RedisFlushed(_LedgerLost):
    """FLUSHALL: everything is gone while the server goes on."""

    def inject(self) -> None:
        self._note()
        self.world.redis.flushall()


@named("redis_wiped")
class RedisWiped(_LedgerLost):
    """The server comes back on an empty disk."""

    def inject(self) -> None:
        self._note()
        self.stack.kill("valkey")
        shutil.rmtree(_files(self.stack.valkey.data))

    def undo(self) -> None:
        self._start()


@named("redis_tail_cut")
class RedisTailCut(_LedgerLost):
    """The server is killed, and the last second or more of its writes is cut off its append-only file."""

    def inject(self) -> None:
        stamp = self.world.stamp()
        file, size = _last_file(self.stack.valkey.data)
        time.sleep(1.0)
        self._wait_known(stamp)
        self._note()
        self.stack.kill("valkey")
        if _last_file(self.stack.valkey.data)[0] != file:
            raise NotNow("the file was rewritten meanwhile")
        with file.open("r+b") as written:
            written.truncate(size)

    def undo(self) -> None:
        self._start()


@named("redis_snapshot_put_back")
class RedisSnapshotPutBack(_LedgerLost):
    """A copy of its files is taken, and takes their place a second or more later."""

    def inject(self) -> None:
        data, copy = _files(self.stack.valkey.data), self.stack.folder / "valkey-copy"
        self.begun = True
        self.stack.stop("valkey")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(data, copy)
        self._start()
        stamp = self.world.stamp()
        time.sleep(1.0)
        self._wait_known(stamp)
        self._note()
        self.stack.stop("valkey")
        shutil.rmtree(data)
        copy.rename(data)

    def undo(self) -> None:
        self._start()


@named("ledger_recovered")
class LedgerRecovered(_LedgerLost):
    """A person has the ledger born anew, for no reason at all."""

    def inject(self) -> None:
        self._note()
        done = self.stack.command("recover", "--reason", "chaos", "--yes")
        if done.returncode != 0:
            self.world.births -= 1
            raise NotNow(f"tracker recover: {done.stderr[-300:]}")


@named("kafka_killed")
class KafkaKilled(Fault):
    """SIGKILL, and started again with its data: 2 to 4 s on an idle machine."""

    weight = 0.15
    slow = True

    def draw(self) -> None:
        self.uses = frozenset({"kafka"})
        self.hold_s = self.random.uniform(0.0, 1.0)

    def inject(self) -> None:
        self.stack.kill("kafka")

    def undo(self) -> None:
        self.stack.start("kafka")


@named("kafka_suspended")
class KafkaSuspended(Fault):
    """The broker sleeps, at times past its own session and the bridges'."""

    weight = 0.4
    slow = True

    def draw(self) -> None:
        self.uses = frozenset({"kafka"})
        self.hold_s = self.random.uniform(0.5, 5.0)

    def inject(self) -> None:
        self.stack.pause("kafka")

    def undo(self) -> None:
        self.stack.resume("kafka")


class _WithoutBridges(Fault):
    """Done while no bridge runs; `undo` starts them again."""

    slow = True

    def draw(self) -> None:
        self.uses = frozenset({"kafka", "valkey", *self.world.names("bridge")})

    def undo(self) -> None:
        for name in self.world.names("bridge"):
            self.stack.start(name)

    def _stop_bridges(self) -> None:
        self.begun = True
        for name in self.world.names("bridge"):
            self.stack.stop(name)

    def _kill_bridges(self) -> None:
        self.begun = True
        for name in self.world.names("bridge"):
            self.stack.kill(name)


@named("group_rewound")
class GroupRewound(_WithoutBridges):
    """Somebody sets the group's offsets of the counts topic back, as Kafka's own tool does."""

    weight = 0.3

    def inject(self) -> None:
        stack = self.stack
        self._stop_bridges()
        offsets = {partition: self.random.randint(0, at) for partition, at in committed(self).items()}
        deadline = time.monotonic() + BIRTH_TIMEOUT_S
        while offsets:
            try:
                stack.kafka.commit(stack.group, stack.inserted_topic, offsets)
            except (KafkaFailed, KafkaError) as error:  # a bridge that had to be killed is a member until its session is over
                if time.monotonic() > deadline:
                    raise NotNow(str(error)) from error
                time.sleep(0.2)
            else:
                return


@named("retention_overtakes")
class RetentionOvertakes(_WithoutBridges):
    """
    Kafka deletes records that no bridge has read, for the bridges are down. What is lost must stand recorded, exactly.

    The book takes over what the tracker has recorded, so that a record missing from the recorded stretches, or too many in
    them, shows as a wrong count. Besides, no more may stand recorded than was deleted.
    """

    disrupts = "records"
    weight = 0.3

    def inject(self) -> None:
        self._kill_bridges()
        self.said_before = self.world.said("records_lost")
        time.sleep(self.random.uniform(0.2, 1.0))
        traffic = self.world.traffic
        traffic.burst(self.random.randint(20, 400))
        traffic.flush()
        applied = committed(self)
        for partition, end in traffic.ends().items():
            before = self.random.randint(min(applied.get(partition, end), end), end)
            self.stack.kafka.delete_records(self.stack.inserted_topic, partition, before)
            key = traffic.life, partition
            self.world.deleted[key] = max(before, self.world.deleted.get(key, 0))

    def after(self) -> list[str]:
        found = []
        for loss in self.world.losses():
            at = self.world.life_of(loss["epoch"]), int(loss["partition"])
            if int(loss["end"]) > self.world.deleted.get(at, 0):
                found.append(f"recorded as lost up to {loss['end']} of partition {at}, deleted up to {self.world.deleted.get(at, 0)}")
        return found


@named("topic_made_anew")
class TopicMadeAnew(Fault):
    """
    The counts topic is deleted and made again, with records in it that nobody has read.

    Those are gone; which ones, the ledger's account of the old topic tells, and the Dataset API must have all the others. A
    bridge's log must say that the partitions begin anew.
    """

    disrupts = "records"
    weight = 0.15
    slow = True

    def draw(self) -> None:
        self.uses = frozenset({"kafka", "valkey", *self.world.names("bridge")})
        self.bridges_down = self.random.random() < 0.5

    def inject(self) -> None:
        world, stack, traffic = self.world, self.stack, self.world.traffic
        world.until(lambda: world.epoch() not in {"", *world.lives_ended.values()}, BIRTH_TIMEOUT_S, "the last topic is not begun yet")
        self.said_before = world.said("partition_started")
        self.begun = True
        if self.bridges_down:
            for name in world.names("bridge"):
                stack.kill(name)
            traffic.burst(self.random.randint(1, 200))
        with traffic.gate:
            traffic.flush()
            world.lives_ended[traffic.life] = world.epoch()
            stack.kafka.delete_topic(stack.inserted_topic)
            stack.kafka.create_topic(stack.inserted_topic, stack.partitions)
            traffic.topic_made_anew()

    def undo(self) -> None:
        for name in self.world.names("bridge") if self.bridges_down else ():
            self.stack.start(name)

    def after(self) -> list[str]:
        if self.world.said("partition_started") <= self.said_before:
            return ["the topic was made anew, and no bridge's log says partition_started"]
        return []


def committed(fault: Fault) -> dict[int, int]:
    """What the group has committed of the counts topic, by partition."""
    commits = fault.stack.kafka.committed(fault.stack.group)
    return {each.partition: offset for each, (offset, _) in commits.items() if each.topic == fault.stack.inserted_topic}


def _files(data: Path) -> Path:
    return data / "appendonlydir"


def _last_file(data: Path) -> tuple[Path, int]:
    """The append-only file that is written now, and its size."""
    file = max(_files(data).glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))
    return file, file.stat().st_size
