"""
What people see of the ledger: instances, jobs, dead letters, figures; and how each is read from what Redis holds.

Pure: `overview` does the reading. The fields are described at the top of `scripts/prelude.lua`.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tracker.instance import DONE, FAILED
from tracker.stuck import why_stuck

T = TypeVar("T")

PAUSABLE = ("pushes", "bridge")
"""What a person can pause."""

SETTLING = "settling"
WAITING_FOR_TASKS = "waiting for import tasks"
PARKED = "parked"
GIVEN_UP = "given up"
REGISTERED = "registered"

STATES = (REGISTERED, "created", "submitted", WAITING_FOR_TASKS, SETTLING, PARKED, GIVEN_UP, *sorted(DONE), *sorted(FAILED))
"""What an instance's `state` may say. Settling: counts read again after the ledger's birth, not compared with the API yet."""

JOB_PENDING, JOB_IN_PROGRESS = "pending", "in progress"
JOB_STATES = (JOB_IN_PROGRESS, JOB_PENDING, PARKED, "submitted", "completed", *sorted(FAILED))


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and how many entries the whole list has."""

    items: tuple[T, ...]
    total: int
    limit: int
    offset: int

    @property
    def count(self) -> int:
        """How many entries this page has."""
        return len(self.items)


@dataclass(frozen=True, slots=True)
class IntentView:
    """A PUT of counts whose outcome is not known yet: how many, and seconds since its last copy was sent."""

    delta: int
    age_s: float


@dataclass(frozen=True, slots=True)
class InstanceView:
    """
    One instance as people see it.

    `state` is one of `STATES` in words. `total` is None until the API has told it, `inserted` is what the API has
    confirmed, `owed` what it has not, `counted` what this ledger has counted, `by_hand` what people have added.
    `aside` is what a birth has set aside and no GET has settled yet. `tries` are failures in a row with their
    `reason`, `unverified` the difference that retention of the topic left unexplained. `moved_s` is when it was last
    pushed, or the API had news; `stuck` says in words why it stands still, "" when it does not. Times are seconds since
    1970 by Redis' clock.
    """

    id: str
    state: str
    total: int | None
    inserted: int
    owed: int
    counted: int
    by_hand: int
    aside: int | None
    job_id: str | None
    open_tasks: str
    intent: IntentView | None
    reason: str
    tries: int
    next_try_s: float | None
    parked_kind: str | None
    parked_since_s: float | None
    first_seen_s: float | None
    last_record_s: float | None
    ended_s: float | None
    unverified: int | None
    moved_s: float | None = None
    stuck_since_s: float | None = None
    stuck: str = ""

    @property
    def over(self) -> bool:
        """Whether more was inserted than the total says there is."""
        return self.total is not None and self.total > 0 and self.inserted > self.total


@dataclass(frozen=True, slots=True)
class JobView:
    """
    One job as people see it.

    `instances` are those that the ledger knows, `pending` says that its state has still to be seen to. `state` is one
    of `JOB_STATES`: the Import API's word when it was last read, else one of ours.
    """

    id: str
    state: str
    instances: tuple[str, ...]
    pending: bool
    reason: str
    tries: int
    parked_since_s: float | None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """
    Something that could not be counted, kept until somebody decides about it.

    `what` is "undecodable" (topic, partition, epoch, offset and base64 `raw` are set) or "counts" (instance, count
    and `perhaps`, how many of them may have been counted all the same; topic to offset only where one record is meant).
    `ledger` is the number of the ledger that made it, `doubt` why a replay could count twice.
    """

    id: str
    at_s: float
    what: str
    reason: str
    instance_id: str | None = None
    job_id: str | None = None
    count: int | None = None
    perhaps: int = 0
    topic: str | None = None
    partition: int | None = None
    epoch: str | None = None
    offset: int | None = None
    raw: str | None = None
    ledger: int | None = None
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Loss:
    """Records `[start, end)` that Kafka deleted before they were read."""

    id: str
    at_s: float
    topic: str
    partition: int
    start: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class BirthView:
    """A ledger's birth: the id it got, the one before ("" for none), and why."""

    id: str
    at_s: float
    ledger: str
    before: str
    reason: str


@dataclass(frozen=True, slots=True)
class LedgerView:
    """
    The ledger itself. `id` is None where there is none.

    `ready` says that pushing and completing may go on; else `unpassed` partitions have not passed their horizon, or
    `ready_in_s` seconds have to go by. `void` is why a person had it voided, "" if nobody has;
    `paused` what a person has paused: `pushes`, `bridge`.
    """

    id: str | None
    number: int
    version: int
    verified: bool
    ready: bool
    unpassed: int
    ready_in_s: float | None
    born_s: float | None
    reason: str
    void: str
    trouble: str = ""
    paused: Mapping[str, "PauseView"] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PauseView:
    """Who has paused the pushes or the bridge, why, and since when."""

    by: str
    reason: str
    since_s: float


def read_pauses(raw: Mapping[str, str]) -> dict[str, PauseView]:
    """What is paused, by name, from the hash of the ledger."""
    found = {}
    for what in PAUSABLE:
        if raw.get(f"paused_{what}"):
            told = json.loads(raw[f"paused_{what}"])
            found[what] = PauseView(str(told["by"]), str(told["reason"]), int(told["at"]) / 1000)
    return found


@dataclass(frozen=True, slots=True)
class SyncView:
    """The full listing: when it last succeeded and was last tried, failures in a row since, and why."""

    succeeded_s: float | None
    tried_s: float | None
    attempts: int
    pages: int
    reason: str


@dataclass(frozen=True, slots=True)
class Figures:
    """
    The tracker in numbers, as of `now_s` by Redis' clock.

    `settling` are instances read again at the ledger's birth that no API has listed: compared with the API at leisure.
    `owed` is summed over the first some thousand owing instances; `owed_is_bounded` says that there are more.
    `queues` gives each queue's length, `unacked` the tasks handed out and not done; both None where the broker
    does not answer.
    """

    now_s: float
    ledger: LedgerView
    followed: int
    finished: int
    settling: int
    owing: int
    owed: int
    owed_is_bounded: bool
    parked: int
    stuck: int
    parked_jobs: int
    dead_letters: int
    losses: int
    last_loss_s: float | None
    births: int
    jobs_pending: int
    sync: SyncView
    queues: dict[str, int] | None
    unacked: int | None


def as_json(view: Any) -> Any:  # noqa: ANN401 -- any of these views, and what they hold
    """Write a view in what JSON knows, its properties included."""
    if dataclasses.is_dataclass(view) and not isinstance(view, type):
        names = [field.name for field in dataclasses.fields(view)]
        names += [name for name, member in vars(type(view)).items() if isinstance(member, property)]
        return {name: as_json(getattr(view, name)) for name in names}
    if isinstance(view, Mapping):
        return {str(key): as_json(value) for key, value in view.items()}
    return [as_json(value) for value in view] if isinstance(view, tuple | list) else view


_VOIDED_BY_A_BIRTH = frozenset(
    (
        *("owed", "counted", "et", "ins", "dl", "bf", "im", "sent", "lk", "lu", "nb", "tr", "why", "k", "rs", "unk", "pk", "pkd"),
        *("ps", "end", "unv", "ho"),
    )
)
"""What `touch` in prelude.lua deletes of an instance that belongs to an older ledger."""

_KEPT_OF_AN_END = frozenset(("et", "ins", "end", "unv", "why"))
"""Of these, what stays true of one that has ended."""


def read_instance(instance_id: str, raw: Mapping[str, str], number: str | None, now_ms: int) -> InstanceView:
    """Read the hash of an instance. `number` is that of the ledger in force, `now_ms` Redis' clock."""
    if raw.get("g") != number:
        # Not touched since the birth. One that has ended and owed nothing may never be, and is what it was; any other is seen as it
        # will be then.
        settled = raw.get("end") and not raw.get("dl") and not int(raw.get("owed") or 0)
        void = _VOIDED_BY_A_BIRTH - _KEPT_OF_AN_END if settled else _VOIDED_BY_A_BIRTH
        aside = {} if settled else {"aside": raw.get("hand", "0")}
        raw = {name: value for name, value in raw.items() if name not in void} | aside
    ended, parked = _seconds(raw, "end"), raw.get("pk") or None
    next_try_s = _seconds(raw, "nb")
    view = InstanceView(
        id=instance_id,
        state=_state(raw),
        total=int(raw["total"]) if raw.get("total") else None,
        inserted=int(raw.get("ins") or 0),
        owed=int(raw.get("owed") or 0),
        counted=int(raw.get("counted") or 0),
        by_hand=int(raw.get("hand") or 0),
        aside=int(raw["aside"]) if raw.get("aside") else None,
        job_id=raw.get("job") or None,
        open_tasks=raw.get("tasks", ""),
        intent=IntentView(int(raw["dl"]), max(0, now_ms - int(raw.get("sent") or now_ms)) / 1000) if raw.get("dl") else None,
        reason=raw.get("why", ""),
        tries=0 if ended else int(raw.get("tr") or 0),
        next_try_s=next_try_s if next_try_s and next_try_s * 1000 > now_ms and not ended else None,
        parked_kind=parked,
        parked_since_s=_seconds(raw, "pkd") if parked else None,
        first_seen_s=_seconds(raw, "first"),
        last_record_s=_seconds(raw, "last"),
        ended_s=ended,
        unverified=int(raw["unv"]) if raw.get("unv") else None,
        moved_s=_seconds(raw, "mv"),
    )
    since_s = _seconds(raw, "stk")
    latest_s = max(view.last_record_s or 0.0, view.moved_s or 0.0)
    if since_s is None or ended or parked or latest_s > since_s:
        return view
    return dataclasses.replace(view, stuck_since_s=since_s, stuck=why_stuck(view, now_ms / 1000))


def _state(raw: Mapping[str, str]) -> str:
    """Say in a word how an instance is."""
    state = raw.get("st") or ""
    if raw.get("pk"):
        return PARKED
    if raw.get("end"):
        return state if state in DONE | FAILED else GIVEN_UP
    if int(raw.get("aside") or 0):
        return SETTLING
    total, inserted = int(raw.get("total") or 0), int(raw.get("ins") or 0)
    if raw.get("tasks") and total and inserted >= total and not int(raw.get("owed") or 0):
        return WAITING_FOR_TASKS
    return state or REGISTERED


def read_job(job_id: str, members: Sequence[str], raw: Mapping[str, str], pending: float | None, parked: float | None) -> JobView:
    """Read the hash of a job; `pending` and `parked` are its scores in the two lists (ms), None where it stands in neither."""
    state = raw.get("st") or (JOB_PENDING if pending is not None else JOB_IN_PROGRESS)
    return JobView(
        id=job_id,
        state=PARKED if parked is not None else state,
        instances=tuple(members),
        pending=pending is not None,
        reason=raw.get("why", ""),
        tries=int(raw.get("tries") or 0),
        parked_since_s=parked / 1000 if parked is not None else None,
    )


def read_dead_letter(entry: str, raw: Mapping[str, str]) -> DeadLetter:
    """Read an entry of the stream of dead letters."""

    def number(name: str) -> int | None:
        return int(raw[name]) if raw.get(name) else None

    return DeadLetter(
        id=entry,
        at_s=int(raw.get("at") or entry.partition("-")[0]) / 1000,
        what=raw.get("what", ""),
        reason=raw.get("reason", ""),
        instance_id=raw.get("instance"),
        job_id=raw.get("job") or None,
        count=number("count"),
        perhaps=number("perhaps") or 0,
        topic=raw.get("topic"),
        partition=number("partition"),
        epoch=raw.get("epoch"),
        offset=number("offset"),
        raw=raw.get("raw"),
        ledger=number("g"),
        doubt=raw.get("doubt", ""),
    )


def read_sync(raw: Mapping[str, str]) -> SyncView:
    """Read how the full listing stands."""
    return SyncView(
        succeeded_s=_seconds(raw, "ok"),
        tried_s=_seconds(raw, "tried"),
        attempts=int(raw.get("attempts") or 0),
        pages=int(raw.get("pages") or 0),
        reason=raw.get("why", ""),
    )


def _seconds(raw: Mapping[str, str], name: str) -> float | None:
    """A time in ms as seconds; None where there is none."""
    return int(raw[name]) / 1000 if raw.get(name) else None


def stream_s(entry: str) -> float:
    """When a stream's entry was made, by its id."""
    return int(entry.partition("-")[0]) / 1000
