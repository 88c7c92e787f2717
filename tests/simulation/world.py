"""
A whole import on virtual time, from one seed: records in a log, a lossy, duplicating, reordering Celery, workers that die
and stand still, a Redis that does not answer, is lost or born anew, and the two APIs of `tests.simulation.apis`.

The use cases and the Lua scripts are the production ones. While the weather lasts everything may go wrong; then it is
calm, and everything must come right by itself.
"""

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import fakeredis

from tests.simulation.apis import Network, SimulatedDatasetApi, SimulatedImportApi, Stored, Weather
from tests.simulation.virtual_time import VirtualLoop
from tracker import checking, counting
from tracker.completing import Advancing
from tracker.errors import LedgerUnavailable, LostTurn
from tracker.events import Batch, ObservationsInserted, Partition, pack
from tracker.instance import Job
from tracker.ledger import Ledger
from tracker.ledger_state import PartitionStart
from tracker.pushing import Rules

STORM_S, END_S = 240.0, 900.0
"""How long anything may go wrong, and when everything must be right."""

PARTITIONS = [Partition("counts", 0), Partition("counts", 1)]


class StormyLedger(Ledger):
    """The real ledger behind a Redis that sometimes does not answer, before or after it has run the script."""

    weather: Weather

    def run(self, name: str, *args: str | float) -> list[Any]:
        if self.weather.happens(0.005):
            raise LedgerUnavailable("time-out, nothing has happened")
        reply = super().run(name, *args)
        if self.weather.happens(0.005):
            raise LedgerUnavailable("time-out, everything has happened")
        return reply


@dataclass
class Settings:
    """What checking goes by."""

    check_complete_interval_s: float = 2.0
    sync_interval_s: float = 30.0
    initialise_list_interval_s: float = 4.0
    initialise_list_attempts: int = 20
    parked_ttl_s: float = 1e9


@dataclass
class Outcome:
    """What a run came to: what is wrong in words, empty when all is right, and how much happened."""

    wrong: list[str]
    happened: Counter[str] = field(default_factory=Counter)


class World:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.loop = VirtualLoop()
        self.chance = random.Random(seed)
        self.rules = Rules(timeout_s=3.0, max_request_age_s=self.chance.choice([5.0, 20.0]), jitter=self.chance.random)
        self.weather = Weather(self.chance, self.rules.timeout_s, self.rules.max_request_age_s)
        self.happened: Counter[str] = Counter()
        self.settings = Settings()
        client = fakeredis.FakeRedis(server=fakeredis.FakeServer(), decode_responses=True)
        self.ledger = StormyLedger(client, "t:", lease_s=2 * self.rules.timeout_s + 5.0)
        self.ledger.weather = self.weather
        self.etags = self.chance.random() < 0.6
        self.networks = [Network(self.weather), Network(self.weather)]
        self.dataset_api = SimulatedDatasetApi(self.networks[0], self.etags)
        self.import_api = SimulatedImportApi(self.networks[1], knows_failed=self.chance.random() < 0.5)
        self.advancing = Advancing(
            self.ledger, self.dataset_api, self.import_api, self.rules, self.loop.time, complete_at_once=self.chance.random() < 0.7
        )
        self.log: dict[Partition, list[tuple[str, int]]] = {partition: [] for partition in PARTITIONS}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.number = 0
        self.expected: Counter[str] = Counter()
        self.failing: set[str] = set()
        for job in range(2):
            ids = [f"i-{job}-{n}" for n in range(self.chance.randint(1, 3))]
            self.import_api.jobs[f"j-{job}"] = Job(f"j-{job}", "submitted", tuple(ids))
            self.dataset_api.instances |= {name: Stored(f"j-{job}") for name in ids}
        if self.chance.random() < 0.3:
            self.failing.add(self.chance.choice(list(self.dataset_api.instances)))

    # -- running --------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Take it from the first record to the end."""
        clock = mock.patch.object(time, "time", self.loop.wall)
        # The tokens of locks and ledgers are random too.
        numbers = mock.patch("secrets.token_hex", lambda n: uuid.UUID(int=self.chance.getrandbits(128)).hex[: 2 * n])
        with clock, numbers:
            asyncio.set_event_loop(self.loop)
            try:
                self.loop.run_until_complete(self._live())
            finally:
                asyncio.set_event_loop(None)
                self.loop.close()
        return Outcome(self.wrong(), self.happened)

    async def _live(self) -> None:
        parts = [self._produce(), self._neighbours(), self._deliver(), self._tick(), self._tick(), self._births()]
        lives = [asyncio.create_task(part) for part in parts]
        self._birth(first=True)
        await asyncio.sleep(STORM_S)
        self.weather.calm = True
        while self.loop.time() < END_S and (self.loop.time() < STORM_S + 60 or self.wrong()):  # noqa: ASYNC110 -- looked at, not told
            await asyncio.sleep(5.0)
        for task in (*lives, *self.tasks, *(task for network in self.networks for task in network.under_way)):
            task.cancel()
        await asyncio.gather(*lives, *self.tasks, return_exceptions=True)

    def wrong(self) -> list[str]:
        """What is not as it must be in the end."""
        found = []
        for name, stored in self.dataset_api.instances.items():
            if stored.inserted != self.expected[name]:
                found.append(f"{name}: {self.expected[name]} published, {stored.inserted} counted")
            state = "failed" if name in self.failing else "completed"
            if stored.state != state:
                found.append(f"{name} is {stored.state}, not {state}")
            if stored.pushed_back:
                found.append(f"{name} was pushed back to completed")
        for job in self.import_api.jobs.values():
            failed = any(name in self.failing for name in job.instance_ids)
            if job.state not in ({"failed", "error"} if failed else {"completed"}):
                found.append(f"{job.id} is {job.state}")
        parked = self.ledger.client.zrange("t:parked", 0, -1)
        if parked:
            found.append(f"parked: {parked}")
        return found

    # -- the neighbours -------------------------------------------------------------------------------------------

    async def _produce(self) -> None:
        """Records for every instance, in time; the extractor tells the totals somewhere on the way."""
        for name in self.dataset_api.instances:
            counts = [self.chance.randint(0, 9) for _ in range(self.chance.randint(1, 12))]
            self.expected[name] = sum(counts) or 1
            counts.append(self.expected[name] - sum(counts))
            for count in counts:
                self.loop.call_at(self.chance.uniform(0.0, 0.8 * STORM_S), self._append, name, count)
            self.loop.call_at(self.chance.uniform(0.0, STORM_S), self._set, name, "total", self.expected[name])
            if name in self.failing:
                self.loop.call_at(self.chance.uniform(0.0, STORM_S), self._set, name, "state", "failed")

    def _append(self, name: str, count: int) -> None:
        self.log[self.chance.choice(PARTITIONS)].append((name, count))

    def _set(self, name: str, what: str, value: object) -> None:
        stored = self.dataset_api.instances[name]
        if what == "state" and stored.state != "submitted":
            self.failing.discard(name)  # it was completed before it could fail
            return
        setattr(stored, what, value)
        stored.version += 1

    async def _neighbours(self) -> None:
        """Somebody else changes an instance now and then, and with it its ETag."""
        while True:
            await asyncio.sleep(self.chance.uniform(1.0, 20.0))
            if self.weather.calm:
                return
            self.dataset_api.instances[self.chance.choice(list(self.dataset_api.instances))].version += 1

    # -- the bridge, and births -----------------------------------------------------------------------------------

    def _birth(self, *, first: bool = False) -> None:
        self.number += 1
        ends = {partition: len(log) for partition, log in self.log.items()}
        starts = [PartitionStart(partition, "e", 0, end) for partition, end in ends.items()]
        settle_s = 0.0 if first else self.rules.quarantine_s
        state = Ledger(self.ledger.client, "t:").state(["counts"])
        Ledger(self.ledger.client, "t:").birth(state.id, self.number, starts, settle_s=settle_s, reason="simulated")

    async def _births(self) -> None:
        """Redis is lost, or its ledger is found to be behind: a new one is born."""
        while True:
            await asyncio.sleep(self.chance.uniform(20.0, 400.0))
            if self.weather.calm:
                return
            if self.chance.random() < 0.5:
                self.ledger.client.flushall()
                self.happened["redis lost"] += 1
            self._birth()
            self.happened["births"] += 1

    async def _deliver(self) -> None:
        """Publish what is not applied: cut anywhere, more than once, in any order."""
        while True:
            await asyncio.sleep(self.chance.uniform(0.2, 3.0))
            try:
                positions = self.ledger.positions(PARTITIONS)
            except LedgerUnavailable:
                continue
            for partition, (epoch, following) in positions.next.items():
                log = self.log[partition]
                at = max(0, following - (self.chance.randint(0, 3) if self.weather.happens(0.2) else 0))
                cuts = []
                while at < len(log):
                    to = min(len(log), at + self.chance.randint(1, 6))
                    cuts.append((at, to))
                    at = to
                if not self.weather.calm:
                    self.chance.shuffle(cuts)
                for start, end in cuts:
                    events = [(n, ObservationsInserted(*log[n])) for n in range(start, end)]
                    payload, records = pack("counts", start, events, lambda event: event)
                    batch = Batch(positions.ledger or "", partition.topic, partition.number, epoch, start, end, "counts", records, payload)
                    self._send(lambda batch=batch: self._apply(batch))  # type: ignore[misc]

    # -- Celery ---------------------------------------------------------------------------------------------------

    def _send(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A message: lost, delivered twice, late, or just delivered."""
        if self.weather.happens(0.05):
            self.happened["messages lost"] += 1
            return
        for _ in range(2 if self.weather.happens(0.05) else 1):
            delay = self.chance.uniform(0.0, 30.0) if self.weather.happens(0.05) else self.chance.uniform(0.001, 0.05)
            self._spawn(self._later(delay, task))

    async def _later(self, delay: float, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await asyncio.sleep(delay)
        try:
            await task()
        except (LedgerUnavailable, LostTurn):
            self.happened["tasks failed"] += 1

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        if self.weather.happens(0.06):
            # The worker is killed somewhere on the way; what it had sent travels on.
            self.loop.call_later(self.chance.expovariate(1.0), task.cancel)
            self.happened["workers killed"] += 1

    def _push(self, instance_ids: list[str]) -> None:
        if instance_ids:
            self._send(lambda: self._many(instance_ids, check=False))

    async def _apply(self, batch: Batch) -> None:
        self.happened["batches"] += 1
        self._push(counting.apply(batch, self.ledger) or [])

    async def _many(self, instance_ids: list[str], *, check: bool) -> None:
        self.happened["pushes"] += 1
        self._push(await self.advancing.many(instance_ids, check=check))

    async def _tick(self) -> None:
        """One of two Beats."""
        while True:
            await asyncio.sleep(self.settings.check_complete_interval_s)
            self._send(self._check)

    async def _check(self) -> None:
        found = checking.check(self.ledger, self.settings)
        if found is None:
            return
        self._push(list(found.push))
        if found.look:
            self._send(lambda: self._many(list(found.look), check=True))
        if found.jobs:
            self._send(lambda: self.advancing.jobs(found.jobs))
        if found.sync or self.chance.random() < 2.0 / self.settings.sync_interval_s:
            self._send(self._sync)

    async def _sync(self) -> None:
        await checking.sync(self.ledger, self.dataset_api, self.import_api, self.settings)
