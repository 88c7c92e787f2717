"""
The two APIs and the network to them, on virtual time.

A request can be refused, lost, late (up to `age_s` after its sender gave it up), repeated by a proxy; an answer can be
lost, or be a 500 though the change was applied; a caller can stand still before its first byte and after the answer.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tracker.errors import NotSent, OutcomeUnknown, Refused, Transient, TurnedAway, UnknownJob
from tracker.instance import DONE, Instance, Job

CONFLICT = "instance does not match the expected eTag"


@dataclass
class Weather:
    """How likely what is, until it is calm."""

    chance: random.Random
    timeout_s: float
    age_s: float
    calm: bool = False

    def happens(self, likelihood: float) -> bool:
        """Whether something of this likelihood happens; nothing does in the calm."""
        return not self.calm and self.chance.random() < likelihood

    async def stand_still(self) -> None:
        """A pause of the caller: mostly none, sometimes longer than any lock."""
        if self.happens(0.03):
            await asyncio.sleep(self.chance.uniform(0.0, 60.0))


class Network:
    """Carries requests to an API that applies them, each at the time it arrives."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.under_way: set[asyncio.Task[None]] = set()

    async def put(self, apply: Callable[[], Exception | None], allowed_at: float, *, repeatable: bool) -> None:
        """One PUT: returns on 200, raises what the rooms raise for everything else."""
        weather, chance = self.weather, self.weather.chance
        await weather.stand_still()
        if asyncio.get_running_loop().time() - allowed_at > weather.timeout_s:
            raise NotSent("too old to be sent")
        if weather.happens(0.06):
            raise NotSent("connection refused")
        if weather.happens(0.03):
            raise TurnedAway("token refused", 403)
        answer: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        delay = chance.uniform(0.001, 0.05)
        if weather.happens(0.15):
            delay = chance.uniform(0.0, weather.timeout_s + weather.age_s)
        lost = weather.happens(0.06)
        task = asyncio.create_task(self._deliver(apply, delay, answer, lost=lost, twice=repeatable and weather.happens(0.02)))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        try:
            refused = await asyncio.wait_for(answer, weather.timeout_s)
        except TimeoutError:
            raise OutcomeUnknown("time-out") from None
        await weather.stand_still()
        if refused is not None:
            raise refused
        if weather.happens(0.05):
            raise OutcomeUnknown("internal error", 500)

    async def _deliver(
        self, apply: Callable[[], Exception | None], delay: float, answer: "asyncio.Future[Exception | None]", *, lost: bool, twice: bool
    ) -> None:
        await asyncio.sleep(delay)
        if lost:
            return
        refused = apply()
        if twice:
            refused = apply()
        if self.weather.happens(0.06):
            return  # the answer is lost
        await asyncio.sleep(self.weather.chance.uniform(0.001, 0.02))
        if not answer.done():
            answer.set_result(refused)

    async def get(self) -> None:
        """The way of one GET."""
        await self.weather.stand_still()
        await asyncio.sleep(self.weather.chance.uniform(0.001, 0.05))
        if self.weather.happens(0.08):
            raise Transient("the API is away")


@dataclass
class Stored:
    """One instance as the API stores it."""

    job_id: str
    state: str = "submitted"
    total: int | None = None
    inserted: int = 0
    version: int = 0
    pushed_back: bool = False


@dataclass
class SimulatedDatasetApi:
    """Today's Dataset API with ETags, or 2017's without."""

    network: Network
    etags: bool
    instances: dict[str, Stored] = field(default_factory=dict)

    async def get_instance(self, instance_id: str) -> Instance:
        """Read one instance."""
        await self.network.get()
        stored = self.instances[instance_id]
        etag = str(stored.version) if self.etags else None
        return Instance(instance_id, stored.state, stored.job_id, stored.total, stored.inserted, etag)

    async def list_instances(self, state: str, offset: int, limit: int) -> "SimulatedPage":
        """Read everything in a state, on one page."""
        await self.network.get()
        assert (offset, limit > 0) == (0, True)
        found = [Instance(name, s.state, s.job_id, s.total, s.inserted) for name, s in self.instances.items() if s.state == state]
        return SimulatedPage(tuple(found), None)

    async def add_inserted(self, instance_id: str, delta: int, etag: str | None, *, allowed_at: float) -> str | None:
        """Add to the count."""
        after: list[str] = []

        def apply() -> Exception | None:
            stored = self.instances[instance_id]
            if self.etags and etag is not None and etag != str(stored.version):
                return OutcomeUnknown(CONFLICT, 409)
            stored.inserted += delta
            stored.version += 1
            after.append(str(stored.version))
            return None

        await self.network.put(apply, allowed_at, repeatable=self.etags)
        return after[0] if self.etags else None

    async def put_state(self, instance_id: str, state: str, etag: str | None, *, allowed_at: float) -> str | None:
        """Set the state: 2017's API takes any from anywhere."""
        after: list[str] = []

        def apply() -> Exception | None:
            stored = self.instances[instance_id]
            if self.etags and etag != str(stored.version):
                return OutcomeUnknown(CONFLICT, 409)
            if self.etags and stored.state not in {"submitted", state}:
                return TurnedAway("unable to update resource, expected resource to have a state of submitted", 403)
            stored.pushed_back = stored.pushed_back or (stored.state != state and stored.state in DONE | {"failed"})
            stored.state = state
            stored.version += 1
            after.append(str(stored.version))
            return None

        await self.network.put(apply, allowed_at, repeatable=self.etags)
        return after[0] if self.etags else None


@dataclass(frozen=True)
class SimulatedPage:
    """One page of a listing."""

    items: tuple[Instance, ...]
    total: int | None


@dataclass(frozen=True)
class SimulatedJobPage:
    """One page of jobs."""

    items: tuple[Job, ...]
    total: int | None


@dataclass
class SimulatedImportApi:
    """The Import API: takes any state from anyone; before 2021 it knew only the word `error` for a failure."""

    network: Network
    knows_failed: bool
    jobs: dict[str, Job] = field(default_factory=dict)

    async def get_job(self, job_id: str) -> Job:
        """Read one job."""
        await self.network.get()
        if job_id not in self.jobs:
            raise UnknownJob("job not found")
        return self.jobs[job_id]

    async def list_jobs(self, state: str, offset: int, limit: int) -> SimulatedJobPage:
        """Read everything in a state, on one page."""
        await self.network.get()
        assert (offset, limit > 0) == (0, True)
        return SimulatedJobPage(tuple(job for job in self.jobs.values() if job.state == state), None)

    async def put_state(self, job_id: str, state: str, *, allowed_at: float) -> None:
        """Set the job's state."""

        def apply() -> Exception | None:
            if state == "failed" and not self.knows_failed:
                return Refused("invalid state", 400)
            self.jobs[job_id] = Job(job_id, state, self.jobs[job_id].instance_ids)
            return None

        await self.network.put(apply, allowed_at, repeatable=True)
