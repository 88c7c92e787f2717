"""
A whole import on virtual time, from one seed: two topics, bridges, Celery, workers, Beats, Redis, the two APIs.

The bridge's loop, window and verifier, and the use cases of the workers, are the production ones; the ledger is the
production one over the scripts' model (`scripts=False`) or over the scripts themselves. While a storm lasts everything may go wrong
that the seed has drawn; then it is calm, and within `SETTLE_S` everything must be right by itself.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from bridge.verifying import Policy
from tests.simulation.apis import Apis, Network, Stored
from tests.simulation.bridges import Bridges
from tests.simulation.celery import Celery
from tests.simulation.faults import Faults, Surroundings
from tests.simulation.kafka import Kafka
from tests.simulation.redis import open_redis
from tests.simulation.virtual_time import EPOCH_S, NoRest, VirtualLoop
from tests.unit.bridge.fakes import COUNTS, GROUP, REGISTRATIONS, counted, registered
from tracker.events import Partition
from tracker.instance import Job
from tracker.pushing import Rules

SETTLE_S = 300.0
"""Within how many seconds of calm everything must be right: no wait of the tracker's own is longer than two minutes."""

LISTING_AT_LEAST = 4
"""After so many of its intervals without a listing Beat asks for one, whatever the dice say: the real one is regular."""


@dataclass
class Outcome:
    """What a run came to: what is wrong in words, empty when all is right, and how much happened."""

    wrong: list[str]
    happened: Counter[str] = field(default_factory=Counter)


class World:
    """One run. What happens in it beside the everyday is decided by its story, see `tests.simulation.stories`."""

    def __init__(self, seed: int, *, scripts: bool = False, tell: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.loop = VirtualLoop()  # type: ignore[abstract] # it has what is used
        self.chance = chance = random.Random(seed)
        self.around = Surroundings(self.loop, chance, Faults.drawn(chance))
        if tell is not None:
            self.around.tell = lambda *words: tell(f"{self.loop.now:8.3f}  {' '.join(map(str, words))}")
        self.happened = self.around.happened
        self.rules = Rules(timeout_s=2.0, max_request_age_s=chance.choice([3.0, 8.0]), jitter=chance.random)
        self.redis = open_redis(self.around, lease_s=2 * self.rules.timeout_s + 5.0, scripts=scripts)
        network = Network(self.around, self.rules.timeout_s, self.rules.max_request_age_s)
        self.apis = Apis(network, etags=chance.random() < 0.5, knows_failed=chance.random() < 0.5)
        self.celery = Celery(self.around, self.redis.ledger, self.apis, self.rules, complete_at_once=chance.random() < 0.7)
        self.with_ids = chance.random() < 0.7
        self.kafka = Kafka(self.around)
        self.kafka.create(COUNTS, chance.choice([1, 1, 2]), with_id=self.with_ids)
        self.kafka.create(REGISTRATIONS, 1, with_id=self.with_ids)
        policy = Policy(COUNTS, REGISTRATIONS, {COUNTS: GROUP, REGISTRATIONS: GROUP}, oldest=True, wait_s=self.rules.quarantine_s)
        self.bridges = Bridges(self.around, self.kafka, self.redis, self.celery, policy)
        self.storm_s = chance.uniform(10.0, 30.0)
        self.failing: set[str] = set()
        self.open_ends: set[str] = set()
        self.appended: list[tuple[Partition, str, int, str, int]] = []
        self.garbage: list[tuple[str, int]] = []
        self.found: list[str] = []
        self.over = False
        self.listing_asked_s = 0.0

    # -- running --------------------------------------------------------------------------------------------------

    @contextmanager
    def time_and_chance(self) -> Iterator[None]:
        """Everything's clock and random numbers are those of the run."""
        with (
            mock.patch.object(time, "time", self.loop.wall),
            mock.patch("secrets.token_hex", lambda n: f"{self.chance.getrandbits(8 * n):0{2 * n}x}"),
        ):
            self.loop.start()
            try:
                yield
            finally:
                self.loop.stop()

    def run(self, story: Callable[["World"], None] | None = None) -> Outcome:
        """Take it from the first record to the end."""
        from tests.simulation.stories import draw  # noqa: PLC0415 -- stories are about worlds

        with self.time_and_chance():
            story = story or draw(self.chance, self.seed)
            self.around.tell(
                f"seed {self.seed}: {story.__name__}, ETags {self.apis.etags}, topic ids {self.with_ids}, {self.around.faults}"
            )
            self.happened[story.__name__] += 1
            self.tick(self.chance.uniform(0.0, 2.0))
            if self.chance.random() < 0.3:
                self.tick(self.chance.uniform(0.0, 2.0))
            try:
                story(self)
                if self.over:
                    return Outcome(self.found + self.apis.wrong, self.happened)
                self.settle()
            except NoRest:
                return Outcome([*self.apis.wrong, f"it never comes to rest: {self.loop.now:.1f} s"], self.happened)
            if self.apis.network.under_way:
                self.loop.run_until(self.loop.now + self.rules.quarantine_s + 2.0)
            return Outcome(self.wrong(), self.happened)

    def tick(self, after_s: float) -> None:
        """One of two Beats."""
        self.celery.check()
        settings = self.celery.settings
        by_chance = self.chance.random() < settings.check_complete_interval_s / settings.sync_interval_s
        if by_chance or self.loop.now - self.listing_asked_s > LISTING_AT_LEAST * settings.sync_interval_s:
            self.listing_asked_s = self.loop.now
            self.celery.sync()
        self.loop.call_later(after_s, self.tick, self.celery.settings.check_complete_interval_s)

    def storm(self) -> None:
        """Let everything go wrong for a while, then nothing any more."""
        self.around.faults.calm = False
        self.bridges.beset(self.storm_s)
        for what in ("redis_away", "kafka_away"):
            if self.around.happens(getattr(self.around.faults, what)):
                self.at_some_time(self.away, what)
        if self.around.happens(self.around.faults.other_writer):
            for _ in range(self.chance.randint(1, 4)):
                self.at_some_time(self.somebody_changes_something)
        self.loop.run_until(self.loop.now + self.storm_s)
        self.calm()

    def calm(self) -> None:
        """Nothing goes wrong from now on."""
        self.around.tell("calm")
        self.around.faults.calm = True
        self.around.redis_away = self.around.kafka_away = False
        self.bridges.mend()

    def settle(self, wrong: Callable[[], list[str]] | None = None) -> None:
        """Wait until everything is right, or for `SETTLE_S`."""
        wrong = wrong or self.wrong
        deadline = self.loop.now + SETTLE_S
        while self.loop.now < deadline and wrong() and not self.apis.wrong:
            self.loop.run_until(self.loop.now + 2.0)

    def at_some_time(self, what: Callable[..., object], *args: object) -> None:
        """Have something happen at some time of the storm to come."""
        self.loop.call_later(self.chance.uniform(0.0, self.storm_s), what, *args)

    # -- what happens ---------------------------------------------------------------------------------------------

    def away(self, what: str) -> None:
        """Redis or Kafka is out of reach for a while."""
        if not self.around.faults.calm:
            self.happened[what.replace("_", " ")] += 1
            self.around.tell(what)
            setattr(self.around, what, True)
            self.loop.call_later(self.chance.choice([0.5, 3.0, 15.0]) * self.chance.uniform(0.5, 1.5), self.back, what)

    def back(self, what: str) -> None:
        """It can be reached again."""
        setattr(self.around, what, False)

    def somebody_changes_something(self) -> None:
        """An editor, or the extractor: the instance has another ETag."""
        self.apis.instances[self.chance.choice(list(self.apis.instances))].version += 1

    def add_jobs(self, prefix: str = "") -> list[str]:
        """Some instances of a job or two; what is known of them is drawn. Returns their names."""
        names = []
        for job in range(self.chance.choice([1, 1, 2])):
            ids = [f"{prefix}{'ab'[job]}{n}" for n in range(self.chance.choice([1, 1, 2, 3]))]
            job_id = f"{prefix}job-{job}"
            self.apis.jobs[job_id] = Job(job_id, "submitted", tuple(ids))
            for name in ids:
                since = self.loop.now + self.chance.uniform(0.0, self.storm_s) if self.chance.random() < 0.05 else 0.0
                stored = self.apis.instances[name] = Stored(job_id, since=since)
                if self.chance.random() < 0.1:
                    stored.open_tasks = ("hierarchy of x",)
                    self.at_some_time(setattr, stored, "open_tasks", ())
                if self.chance.random() < 0.6:
                    self.at_some_time(self.append, REGISTRATIONS, registered(name, job_id))
            names += ids
        return names

    def produce(self, names: list[str], *, last: bool = True) -> None:
        """Records of these instances; with `last` their totals become known, too, or some of them fail."""
        for name in names:
            counts = [self.chance.randint(0, 9) for _ in range(self.chance.choice([1, 2, 3, 5]))]
            for count in counts:
                self.at_some_time(self.append, COUNTS, counted(name, count), name, count)
            planned = sum(counts) + sum(count for _, _, _, who, count in self.appended if who == name) + self.apis.hand[name]
            if not last:
                continue
            if planned == 0:
                planned = 1
                self.at_some_time(self.append, COUNTS, counted(name, 1), name, 1)
            if self.chance.random() < 0.12:
                self.at_some_time(self.fail, name)
            else:
                self.at_some_time(self.change, name, "total", planned)
        if self.chance.random() < 0.2:
            self.at_some_time(self.append, COUNTS, b"\xff\xff")
        if self.chance.random() < 0.3:
            self.at_some_time(self.hole)

    def append(self, topic: str, value: bytes, name: str = "", count: int = 0) -> None:
        """Another record."""
        partition = self.chance.choice([partition for partition in self.kafka.logs if partition.topic == topic])
        offset = self.kafka.logs[partition].append(value)
        self.around.tell(f"record {partition} {offset}: {name} {count}")
        if name:
            self.appended.append((partition, self.kafka.ids[topic], offset, name, count))
            self.apis.published[name] += count
        elif topic == COUNTS:
            self.garbage.append((str(partition), offset))
        self.bridges.wake()

    def hole(self) -> None:
        """Offsets without a record, as transactions leave them."""
        self.kafka.logs[self.chance.choice(list(self.kafka.logs))].end += self.chance.randint(1, 3)
        self.bridges.wake()

    def change(self, name: str, what: str, value: object) -> None:
        """Somebody else sets something of an instance."""
        stored = self.apis.instances[name]
        setattr(stored, what, value)
        stored.version += 1

    def fail(self, name: str) -> None:
        """The import reporter gives an instance up, unless it is past that."""
        if self.apis.instances[name].state == "submitted":
            self.failing.add(name)
            self.change(name, "state", "failed")

    # -- judging --------------------------------------------------------------------------------------------------

    def wrong(self) -> list[str]:
        """What is not as it must be in the end."""
        found = self.miscounted()
        for name, stored in self.apis.instances.items():
            failed = name in self.failing
            open_end = name in self.open_ends or stored.total is None or stored.inserted < stored.total
            state = "failed" if failed else stored.state if open_end else "completed"
            if stored.state != state:
                found.append(f"{name} is {stored.state}, not {state}")
        for job in self.apis.jobs.values():
            states = {self.apis.instances[name].state for name in job.instance_ids}
            right = {"submitted"} if "submitted" in states else {"failed", "error"} if "failed" in states else {"completed"}
            if job.state not in right:
                found.append(f"{job.id} is {job.state}, its instances are {sorted(states)}")
        return found

    def miscounted(self) -> list[str]:
        """What is not counted as it must be, in the end of each phase."""
        found = [*self.found, *self.apis.wrong, *self.celery.unforeseen, *self.bridges.unforeseen, *self.loop.unforeseen]
        kept = self.redis.kept()
        for name, stored in self.apis.instances.items():
            most = self.apis.published[name] - kept.buried[name]
            least = most - sum(count for p, e, offset, who, count in self.appended if who == name and kept.lost(p, e, offset))
            if not least <= stored.inserted <= most:
                found.append(f"{name}: {most if least == most else f'{least} to {most}'} published, {stored.inserted} counted")
        found += [f"no dead letter of {where}" for where in self.garbage if where not in kept.undecodable]
        if kept.parked:
            found.append(f"parked: {kept.parked}")
        return found


def replayed(seed: int, *, scripts: bool = False, tell: Callable[[str], None] | None = None, **options: Any) -> Outcome:
    """One seed, from the beginning."""
    return World(seed, scripts=scripts, tell=tell).run(**options)


def wall_ms(loop: VirtualLoop) -> int:
    """The milliseconds of the virtual day."""
    return int((EPOCH_S + loop.now) * 1000)
