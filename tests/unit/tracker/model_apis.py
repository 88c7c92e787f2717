"""The two APIs as a few lines of Python: what they store, and whatever may happen to a call on its way."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tracker.errors import NotSent, OutcomeUnknown, Refused, Transient, TurnedAway, UnknownInstance, UnknownJob
from tracker.instance import Instance, Job

PUT_FATES = (
    "fine",
    "not sent",
    "lost",
    "answer lost",
    "late",
    "late twice",
    "500 after",
    "500 before",
    "turned away",
    "another writer",
)
"""What may become of a PUT; "late" arrives after its sender has given it up."""


def always_fine() -> str:
    """The fate of every call on a good day."""
    return "fine"


@dataclass
class Stored:
    """One instance as the model stores it."""

    state: str = "submitted"
    job_id: str | None = "job-1"
    total: int | None = None
    inserted: int = 0
    version: int = 0
    open_tasks: tuple[str, ...] = ()


@dataclass
class ModelDatasetApi:
    """The Dataset API with or without ETags. `fate` is asked what becomes of each PUT, `get_fate` of each GET."""

    etags: bool = True
    fate: Callable[[], str] = always_fine
    get_fate: Callable[[], str] = always_fine
    instances: dict[str, Stored] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    on_its_way: list[Callable[[], object]] = field(default_factory=list)

    def arrive(self) -> None:
        """Let everything late arrive now."""
        while self.on_its_way:
            self.on_its_way.pop(0)()

    async def get_instance(self, instance_id: str) -> Instance:
        """Read one instance."""
        self.calls.append(f"GET {instance_id}")
        if not self.etags:
            self.arrive()  # the tests wait for no quarantine: what is late arrives before the reading back
        if self.get_fate() != "fine":
            raise Transient("the Dataset API is away")
        stored = self.instances.get(instance_id)
        if stored is None:
            raise UnknownInstance("instance not found")
        etag = str(stored.version) if self.etags else None
        return Instance(instance_id, stored.state, stored.job_id, stored.total, stored.inserted, etag, stored.open_tasks)

    async def add_inserted(self, instance_id: str, delta: int, etag: str | None, *, allowed_at: float) -> str | None:
        """Add to the count, or whatever the fate is."""
        assert allowed_at >= 0
        self.calls.append(f"PUT {instance_id} +{delta}")

        def apply() -> str | None:
            stored = self.instances[instance_id]
            if self.etags and etag != str(stored.version):
                return "409"
            if stored.state == "published":
                return "published"
            stored.inserted += delta
            stored.version += 1
            return None

        return self._decide(instance_id, apply)

    async def put_state(self, instance_id: str, state: str, etag: str | None, *, allowed_at: float) -> str | None:
        """Set the state, by today's rules where there are ETags."""
        assert allowed_at >= 0
        self.calls.append(f"PUT {instance_id} {state}")

        def apply() -> str | None:
            stored = self.instances[instance_id]
            if self.etags and etag != str(stored.version):
                return "409"
            if self.etags and stored.state not in {"submitted", state}:
                return "403"
            stored.state = state
            stored.version += 1
            return None

        return self._decide(instance_id, apply)

    def _decide(self, instance_id: str, apply: Callable[[], str | None]) -> str | None:  # noqa: C901 -- a list of fates
        fate = self.fate()
        if fate == "not sent":
            raise NotSent("connection refused")
        if fate == "turned away":
            raise TurnedAway("token refused", 403)
        if fate == "another writer":
            self.instances[instance_id].version += 1
        if fate in {"late", "late twice"}:
            self.on_its_way += [apply] * (2 if fate == "late twice" and self.etags else 1)
            raise OutcomeUnknown("time-out")
        if fate == "lost":
            raise OutcomeUnknown("time-out")
        if fate == "500 before":
            raise OutcomeUnknown("internal error", 500)
        refused = apply()
        if fate in {"answer lost", "500 after"}:
            raise OutcomeUnknown("cut", 500 if fate == "500 after" else None)
        if refused == "409":
            raise OutcomeUnknown("instance does not match the expected eTag", 409)
        if refused == "403":
            raise TurnedAway("unable to update resource, expected resource to have a state of submitted", 403)
        if refused == "published":
            raise Refused("unable to update resource as it has been published", 403, published=True)
        return str(self.instances[instance_id].version) if self.etags else None


@dataclass
class ModelImportApi:
    """The Import API: takes any state from anyone; `knows_failed` is False before 2021."""

    jobs: dict[str, Job] = field(default_factory=dict)
    fate: Callable[[], str] = always_fine
    knows_failed: bool = True
    calls: list[str] = field(default_factory=list)
    before_get: Callable[[], object] = always_fine

    async def get_job(self, job_id: str) -> Job:
        """Read one job."""
        self.before_get()
        self.calls.append(f"GET {job_id}")
        if job_id not in self.jobs:
            raise UnknownJob("job not found")
        return self.jobs[job_id]

    async def put_state(self, job_id: str, state: str, *, allowed_at: float) -> None:
        """Set the job's state, or whatever the fate is."""
        assert allowed_at >= 0
        self.calls.append(f"PUT {job_id} {state}")
        if state == "failed" and not self.knows_failed:
            raise Refused("invalid state", 400)
        fate = self.fate()
        if fate == "not sent":
            raise NotSent("connection refused")
        if fate != "lost":
            self.jobs[job_id] = Job(job_id, state, self.jobs[job_id].instance_ids)
        if fate != "fine":
            raise OutcomeUnknown("time-out")
