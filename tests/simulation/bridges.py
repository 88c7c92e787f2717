"""The bridges of a schedule: each a process that takes its turns, is killed, stands still, is started again."""

from typing import Any

from bridge.loop import Bridge
from bridge.starting import Stamp
from bridge.verifying import Policy, Verifier
from bridge.window import Window
from tests.simulation.celery import Celery
from tests.simulation.faults import Doorway, Killed, Process, Surroundings
from tests.simulation.kafka import SESSION_S, Cluster, Consumer, Kafka, Publisher
from tests.simulation.redis import Redis
from tests.simulation.virtual_time import Timer
from tests.unit.bridge.fakes import COUNTS, KINDS, REGISTRATIONS

IDLE_S = 3.0
"""The longest a poll waits while there is nothing to do; a new record ends it."""

BUSY_S = 0.6
"""The longest between two turns while something is on its way."""


class BridgeProcess(Process):
    """A process that the group gives up when it stands still for too long."""

    __slots__ = ("kafka", "members")

    def __init__(self, around: Surroundings, kafka: Kafka) -> None:
        super().__init__(around, "bridge")
        self.kafka = kafka
        self.members: list[Consumer] = []

    def _strike(self) -> None:
        if self.pause_s > SESSION_S:
            self.around.loop.call_later(SESSION_S, self._miss)
        super()._strike()

    def _miss(self) -> None:
        if self.asleep or self.dead:
            self.leave()

    def leave(self) -> None:
        """The group has noticed that it is gone."""
        for member in self.members:
            self.kafka.give_up(member)


class Run:
    """One bridge, from its start to its end."""

    def __init__(self, bridges: "Bridges", number: int) -> None:
        around = bridges.around
        chance = around.chance
        self.bridges, self.kafka = bridges, bridges.kafka
        self.process = BridgeProcess(around, self.kafka)
        groups = [[COUNTS, REGISTRATIONS]] if chance.random() < 0.7 else [[COUNTS], [REGISTRATIONS]]
        poll_records = chance.choice([1, 3, 10])
        self.process.members = [Consumer(self.kafka, topics, self.process, poll_records) for topics in groups]
        ledger: Any = Doorway(bridges.redis.ledger, self.process)
        cluster = Cluster(self.kafka, self.process)
        publisher = Publisher(bridges.celery, self.process)
        self.bridge = Bridge(
            name=f"bridge-{number}",
            kinds=KINDS,
            consumers=self.process.members,
            cluster=cluster,
            ledger=ledger,
            publisher=publisher,
            verifier=Verifier(ledger, cluster, bridges.policy, waiting=publisher.queue_length, clock=around.loop.time),
            window=Window(chance.choice([2, 6, 100]), chance.choice([1.0, 5.0])),
            clock=around.loop.time,
            wait=self.kafka.waiting.wait,
        )
        self.pace_s = 0.0
        self.seen: tuple[float, int, Stamp] | None = None
        self.timer: Timer = around.loop.call_later(0.0, self.turn)

    def turn(self) -> None:
        """Take one turn, and come again when its poll is over."""
        waiting, loop = self.kafka.waiting, self.bridges.around.loop
        outer, waiting.waited = waiting.waited, 0.0
        try:
            self.bridge.step()
        except Killed:
            self.bridges.killed(self)
            return
        except Exception as error:  # noqa: BLE001 -- whatever it is, nobody has foreseen it
            self.bridges.unforeseen.append(f"bridge: {type(error).__name__}: {error}")
            self.bridges.runs.remove(self)
            return
        finally:
            waited, waiting.waited = waiting.waited, outer
        if self.process.dead or self.bridge.closing:
            return
        self.bridges.announced(self)
        idle = self.bridge._trusted and not self.bridge._window.batches and len(self.bridge._places) == len(self.bridge._mine)
        self.pace_s = min(self.pace_s * 2, IDLE_S if idle else BUSY_S) if waited >= 0.01 and self.pace_s else max(waited, 0.01)
        self.timer = loop.call_later(self.pace_s, self.turn)

    def wake(self) -> None:
        """There is something to poll."""
        if self.pace_s > 0.2 and not self.timer.cancelled and not self.process.asleep:
            self.timer.cancel()
            self.pace_s = 0.05
            self.timer = self.bridges.around.loop.call_later(0.05, self.turn)


class Bridges:
    """All of them. `told` is the highest stamp that by what is promised stands in a commit."""

    def __init__(self, around: Surroundings, kafka: Kafka, redis: Redis, celery: Celery, policy: Policy) -> None:
        self.around, self.kafka, self.redis, self.celery, self.policy = around, kafka, redis, celery, policy
        self.runs: list[Run] = []
        self.made = 0
        self.unforeseen: list[str] = []
        self.told = Stamp(0, 0)
        self.watching = False

    def start(self) -> None:
        """One more, unless there are two."""
        if len(self.runs) < 2:
            self.made += 1
            self.around.tell(f"bridge-{self.made} starts")
            self.runs.append(Run(self, self.made))

    def wake(self) -> None:
        """There is something to poll."""
        for run in self.runs:
            run.wake()

    def beset(self, storm_s: float) -> None:
        """Let things happen to them for so long."""
        chance, faults, loop = self.around.chance, self.around.faults, self.around.loop
        if not self.runs:
            self.start()
        if chance.random() < 0.25:
            loop.call_later(chance.uniform(0.0, storm_s), self.start)
        if self.around.happens(faults.bridge_killed):
            loop.call_later(chance.uniform(0.0, storm_s), self.strike, 0.0)
        if self.around.happens(faults.bridge_stood_still):
            loop.call_later(chance.uniform(0.0, storm_s), self.strike, chance.choice([1.0, 9.0, 20.0]) * chance.uniform(0.5, 1.5))
        if self.around.happens(faults.rebalanced):
            for _ in range(chance.randint(1, 3)):
                loop.call_later(chance.uniform(0.0, storm_s), self.kafka.rebalance)

    def strike(self, pause_s: float) -> None:
        """Have one of them killed, or stand still, at one of its next steps."""
        if self.runs and not self.around.faults.calm:
            process = self.around.chance.choice(self.runs).process
            process.fuse, process.pause_s = self.around.chance.randint(0, 40), pause_s

    def killed(self, run: Run) -> None:
        """The group notices after its session; the supervisor starts another."""
        if run in self.runs:
            self.runs.remove(run)
        loop, chance = self.around.loop, self.around.chance
        loop.call_later(chance.choice([0.1, SESSION_S]), run.process.leave)
        loop.call_later(chance.uniform(0.2, 3.0), self.start)

    def kill_all(self) -> None:
        """The machine they run on restarts: nobody remembers what was read."""
        for run in list(self.runs):
            run.process.die()
            run.timer.cancel()
            self.killed(run)

    def mend(self) -> None:
        """In the calm there is at least one, and none is struck."""
        for run in self.runs:
            run.process.fuse = -1
        if not self.runs:
            self.start()

    def close(self) -> bool:
        """End one of them in good order; whether all that it had on its way was applied."""
        run = self.runs.pop()
        run.timer.cancel()
        run.process.fuse = -1
        self.kafka.waiting.passing = True
        clean = run.bridge.close(2.0)
        self.kafka.waiting.passing = False
        return clean

    def close_all(self) -> bool:
        """End all of them in good order; whether each says that all was applied."""
        return all(self.close() for _ in list(self.runs))

    def holds_everything(self) -> bool:
        """Whether there is one bridge, at work on every partition."""
        return len(self.runs) == 1 and len(self.runs[0].bridge._places) == len(self.kafka.logs)

    def announced(self, run: Run) -> None:
        """
        Keep what a commit must tell by now.

        A bridge that is in no trouble and has had several undisturbed turns for most of a second has committed the version
        that the ledger had before them, where there is a partition past its horizon.
        """
        if not self.watching:
            return
        bridge, around = run.bridge, self.around
        member = run.process.members[0]
        disturbed = around.redis_away or around.kafka_away or member.pending is not None or member not in self.kafka.members
        positions = self.redis.ledger.positions([])
        if disturbed or not bridge._trusted or not bridge._standing or not positions.ledger or bridge._troubles.words:
            run.seen = None
            return
        stamp = Stamp(int(positions.ledger.partition("-")[0]), positions.version)
        if run.seen is None or run.seen[2].number != stamp.number:
            run.seen = (around.loop.now, 0, stamp)
        since, turns, before = run.seen
        run.seen = (since, turns + 1, before)
        if turns >= 4 and around.loop.now - since > 0.7:
            self.told = max(self.told, before)
            run.seen = (around.loop.now, 0, stamp)
