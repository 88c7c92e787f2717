"""
The two APIs and the network to them, on virtual time.

A request can be refused, lost, late (it lives up to `age_s`), repeated by a proxy; an answer can be lost, be a 500 before
or after the change was applied, or a 404 that means nothing; a caller can stand still before its first byte. What the
APIs are told is looked at as it arrives: a count too many, or a state too early, is a wrong that no later repair undoes.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.faults import Process, Surroundings
from tracker.errors import NotSent, OutcomeUnknown, Refused, Transient, TurnedAway, UnknownInstance, UnknownJob
from tracker.instance import DONE, FAILED, Instance, Job

CONFLICT = "instance does not match the expected eTag"

Answer = Exception | None


@dataclass(slots=True)
class Network:
    """Carries requests to an API that applies them, each at the time it arrives."""

    around: Surroundings
    timeout_s: float
    age_s: float
    under_way: int = 0

    async def put(self, process: Process, apply: Callable[[], Answer], allowed_at: float, what: str, *, repeatable: bool) -> None:
        """One PUT: returns on 200, raises what the rooms raise for everything else."""
        around, faults, loop = self.around, self.around.faults, self.around.loop
        process.step()
        if around.happens(faults.stood_still, "a caller stood still before its first byte"):
            await loop.sleep(around.chance.choice([around.chance.uniform(0.0, self.timeout_s), around.chance.uniform(0.0, 30.0)]))
        process.step()
        if too_late(loop.now, allowed_at, self.timeout_s):
            raise NotSent("too old to be sent")
        if around.happens(faults.refused, "requests refused"):
            raise NotSent("connection refused")
        if around.happens(faults.turned_away, "requests turned away"):
            raise TurnedAway("token refused", 403)
        answer = loop.create_future()
        late = around.happens(faults.late_request, "requests late")
        delay = around.chance.uniform(0.0, self.age_s) if late else around.chance.uniform(0.001, 0.02)
        if around.happens(faults.lost_request, "requests lost"):
            around.tell(f"lost: {what}")
        else:
            self._send(delay, apply, answer, what)
            if repeatable and around.happens(faults.repeated, "requests repeated by a proxy"):
                self._send(around.chance.uniform(delay, max(delay, self.age_s)), apply, answer, f"{what} (again)")
        limit = loop.call_later(self.timeout_s, _give_up, answer)
        refused = await answer
        limit.cancel()
        process.step()
        if refused is not None:
            raise refused

    def _send(self, delay: float, apply: Callable[[], Answer], answer: "asyncio.Future[Answer]", what: str) -> None:
        self.under_way += 1
        self.around.loop.call_later(delay, self._arrive, apply, answer, what)

    def _arrive(self, apply: Callable[[], Answer], answer: "asyncio.Future[Answer]", what: str) -> None:
        self.under_way -= 1
        around, faults = self.around, self.around.faults
        if around.happens(faults.failed_before, "500 before applying"):
            refused: Answer = OutcomeUnknown("internal error", 500)
        else:
            refused = apply()
            around.tell(f"{what}: {refused or 200}")
            if refused is None and around.happens(faults.failed_after, "500 after applying"):
                refused = OutcomeUnknown("internal error", 500)
            elif refused is None and around.happens(faults.not_found, "404 in an ETag race"):
                refused = OutcomeUnknown("instance not found", 404)
        if not around.happens(faults.lost_answer, "answers lost"):
            around.loop.call_later(around.chance.uniform(0.001, 0.02), _answer, answer, refused)

    async def get(self, process: Process) -> None:
        """The way of one GET."""
        around = self.around
        process.step()
        await around.loop.sleep(around.chance.uniform(0.001, 0.02))
        process.step()
        if around.happens(around.faults.unreadable, "GETs failed"):
            raise Transient("the API is away")

    async def got(self, process: Process) -> None:
        """The way back, on which what was read grows old."""
        await self.around.loop.sleep(self.around.chance.uniform(0.001, 0.02))
        process.step()


READ_BEFORE_S = 1.0
"""A state is set by whoever has read the instance at most so long before."""


def too_late(now: float, allowed_at: float, timeout_s: float) -> bool:
    """The check of the transport as the first byte leaves; `tracker.api_client` has the real one."""
    return now - allowed_at > timeout_s


def _give_up(answer: "asyncio.Future[Answer]") -> None:
    if not answer.done():
        answer.set_result(OutcomeUnknown("time-out"))


def _answer(answer: "asyncio.Future[Answer]", refused: Answer) -> None:
    if not answer.done():
        answer.set_result(refused)


@dataclass(slots=True)
class Stored:
    """One instance as the API stores it; `since` is when it came to be known, `published_s` when somebody published it."""

    job_id: str
    state: str = "submitted"
    total: int | None = None
    inserted: int = 0
    version: int = 0
    since: float = 0.0
    published_s: float | None = None
    open_tasks: tuple[str, ...] = ()


@dataclass(slots=True)
class Apis:
    """
    What both APIs store: today's with ETags, or 2017's without, which takes any state from anywhere.

    `published` has how much of each instance has been counted in Kafka or by hand so far. `wrong` is what can never be right again.
    """

    network: Network
    etags: bool
    knows_failed: bool
    instances: dict[str, Stored] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    published: Counter[str] = field(default_factory=Counter)
    hand: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    imports_away: bool = False

    def add(self, name: str, delta: int, etag: str | None) -> Answer:
        """Apply a PUT of counts."""
        stored = self.instances[name]
        if self.etags and etag is not None and etag != str(stored.version):
            return OutcomeUnknown(CONFLICT, 409)
        if stored.state == "published":
            return Refused("unable to update resource as it has been published", 403, published=True)
        stored.inserted += delta
        stored.version += 1
        if stored.inserted > self.published[name]:
            self.wrong.append(f"{name}: {stored.inserted} counted when {self.published[name]} were published")
        return None

    def set_state(self, name: str, state: str, etag: str | None, decided_s: float) -> Answer:
        """Apply a PUT of an instance's state, decided on at `decided_s`."""
        stored = self.instances[name]
        # 2017's API takes a state from whoever comes last, and has no If-Match that could prevent it.
        unforeseen = not self.etags and stored.published_s is not None and stored.published_s > decided_s - READ_BEFORE_S
        if self.etags and etag is not None and etag != str(stored.version):
            return OutcomeUnknown(CONFLICT, 409)
        if self.etags and stored.state not in {"submitted", state}:
            return TurnedAway("unable to update resource, expected resource to have a state of submitted", 403)
        if stored.state != state:
            if stored.state in DONE | FAILED and not unforeseen:
                self.wrong.append(f"{name} was pushed back from {stored.state} to {state}")
            elif not stored.total or stored.inserted < stored.total or stored.open_tasks:
                self.wrong.append(f"{name} was completed early: {stored.inserted} of {stored.total}, {stored.open_tasks}")
        stored.state = state
        stored.version += 1
        return None

    def set_job_state(self, job_id: str, state: str) -> Answer:
        """Apply a PUT of a job's state."""
        if state == "failed" and not self.knows_failed:
            return Refused("invalid state", 400)
        job = self.jobs[job_id]
        states = {self.instances[name].state for name in job.instance_ids}
        if not states <= DONE | FAILED:
            self.wrong.append(f"{job_id} became {state} early: its instances are {sorted(states)}")
        self.jobs[job_id] = Job(job_id, state, job.instance_ids)
        return None


@dataclass(slots=True)
class DatasetApi:
    """The Dataset API as one process reaches it."""

    apis: Apis
    process: Process

    async def get_instance(self, instance_id: str) -> Instance:
        """Read one instance."""
        network, process = self.apis.network, self.process
        await network.get(process)
        stored = self.apis.instances.get(instance_id)
        if stored is None or stored.since > network.around.loop.now:
            raise UnknownInstance("instance not found")
        etag = str(stored.version) if self.apis.etags else None
        read = Instance(instance_id, stored.state, stored.job_id, stored.total, stored.inserted, etag, stored.open_tasks)
        await network.got(process)
        return read

    async def list_instances(self, state: str, offset: int, limit: int) -> "Page":
        """Read everything in a state, on one page."""
        await self.apis.network.get(self.process)
        assert (offset, limit > 0) == (0, True)
        now = self.apis.network.around.loop.now
        found = [
            Instance(name, s.state, s.job_id, s.total, s.inserted, None, s.open_tasks)
            for name, s in self.apis.instances.items()
            if s.state == state and s.since <= now
        ]
        await self.apis.network.got(self.process)
        return Page(tuple(found))

    async def add_inserted(self, instance_id: str, delta: int, etag: str | None, *, allowed_at: float) -> str | None:
        """Add to the count."""
        after: list[str] = []

        def apply() -> Answer:
            refused = self.apis.add(instance_id, delta, etag)
            if refused is None:
                after.append(str(self.apis.instances[instance_id].version))
            return refused

        what = f"PUT {instance_id} +{delta} if {etag}"
        await self.apis.network.put(self.process, apply, allowed_at, what, repeatable=self.apis.etags)
        return after[0] if self.apis.etags else None

    async def put_state(self, instance_id: str, state: str, etag: str | None, *, allowed_at: float) -> str | None:
        """Set the state."""

        def apply() -> Answer:
            return self.apis.set_state(instance_id, state, etag, allowed_at)

        what = f"PUT {instance_id} {state} if {etag}"
        await self.apis.network.put(self.process, apply, allowed_at, what, repeatable=self.apis.etags)
        return None


@dataclass(slots=True)
class ImportApi:
    """The Import API as one process reaches it."""

    apis: Apis
    process: Process

    async def get_job(self, job_id: str) -> Job:
        """Read one job."""
        await self._get()
        if job_id not in self.apis.jobs:
            raise UnknownJob("job not found")
        job = self.apis.jobs[job_id]
        await self.apis.network.got(self.process)
        return job

    async def list_jobs(self, state: str, offset: int, limit: int) -> "JobPage":
        """Read everything in a state, on one page."""
        await self._get()
        assert (offset, limit > 0) == (0, True)
        found = tuple(job for job in self.apis.jobs.values() if job.state == state)
        await self.apis.network.got(self.process)
        return JobPage(found)

    async def put_state(self, job_id: str, state: str, *, allowed_at: float) -> None:
        """Set the job's state."""

        def apply() -> Answer:
            return self.apis.set_job_state(job_id, state)

        if self.apis.imports_away:
            raise NotSent("connection refused")
        await self.apis.network.put(self.process, apply, allowed_at, f"PUT {job_id} {state}", repeatable=True)

    async def _get(self) -> None:
        await self.apis.network.get(self.process)
        if self.apis.imports_away:
            raise Transient("the Import API is away")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing of instances."""

    items: tuple[Instance, ...]
    total: int | None = None


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of jobs."""

    items: tuple[Job, ...]
    total: int | None = None
