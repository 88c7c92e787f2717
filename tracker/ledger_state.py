"""What the ledger tells and is told: births, verifications and positions for the bridge, turns for the workers."""

from dataclasses import dataclass, field

from tracker.events import Partition


@dataclass(frozen=True, slots=True)
class PartitionState:
    """
    How far one partition is applied.

    `next` is the lowest offset not applied yet, `checksum` that of the record at `next - 1` ("" where none is
    known), `horizon` the end noted at the ledger's birth, None once it is passed.
    """

    partition: Partition
    epoch: str
    next: int
    checksum: str
    horizon: int | None


@dataclass(frozen=True, slots=True)
class LedgerState:
    """
    The ledger as it stands.

    `id` is None where there is none, `verified` is about the server's present run, `void` is why a person wants it born
    anew, "" when nobody does. `run` is the server run on which all this was read.
    """

    id: str | None
    number: int
    version: int
    verified: bool
    partitions: dict[Partition, PartitionState] = field(default_factory=dict)
    void: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class PartitionStart:
    """
    Where a partition begins in a ledger.

    `horizon` is None for registrations, which set nothing aside. `replaces` is the epoch whose place it takes, None
    where the ledger does not know the partition yet.
    """

    partition: Partition
    epoch: str
    next: int
    horizon: int | None
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Positions:
    """
    One reading of what is applied: per partition `(epoch, next)`, and which partitions have no horizon left to pass.

    Partitions that the ledger does not know are left out. `letters_full` says that no dead letter is taken any more,
    `paused` that a person wants nothing more read.
    """

    ledger: str | None
    version: int
    verified: bool
    next: dict[Partition, tuple[str, int]] = field(default_factory=dict)
    passed: frozenset[Partition] = frozenset()
    letters_full: bool = False
    paused: bool = False


class NotNow(Exception):
    """The instance or job cannot be taken: `why` is BUSY, LATER, NOT_READY, NONE or PARKED."""

    def __init__(self, why: str, wait_s: float | None) -> None:
        super().__init__(why)
        self.why = why
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Intent:
    """
    A PUT of counts that is written down before its first copy leaves, until its outcome is known.

    `before` is the API's inserted count ahead of it, `etag` what every copy carries as If-Match (None: an API
    without ETags), `age_s` the seconds since the last copy was allowed, by Redis' clock.
    """

    delta: int
    before: int
    etag: str | None
    age_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """
    One instance, held by one worker under a lock with a lease that every step checks and renews.

    `owed` is what the API has not confirmed yet, an open intent's delta included; `aside` is not None until the
    instance has been settled after the ledger's birth. `inserted` and `etag` belong together. `opened` says that the
    script that made this turn has opened its intent, of which no copy has left yet; `released`, that the script has
    given the lock back.
    """

    instance_id: str
    token: str
    owed: int
    aside: int | None
    total: int | None
    inserted: int
    state: str
    job_id: str | None
    etag: str | None
    intent: Intent | None
    tries: int
    parked: str | None
    counted: int
    ended: bool
    opened: bool = False
    released: bool = False

    @property
    def looks_complete(self) -> bool:
        """Whether everything is in by what the ledger knows; only a GET can tell for certain."""
        return bool(self.total) and self.inserted >= (self.total or 0) and self.owed == 0 and self.intent is None


@dataclass(frozen=True, slots=True)
class Woken:
    """
    Instances for which a push task should be sent now.

    The `urgent` ones have their total in, as far as is known, or nothing of them was ever sent.
    """

    urgent: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def ids(self) -> list[str]:
        """All of them."""
        return [*self.urgent, *self.others]


@dataclass(frozen=True, slots=True)
class JobTurn:
    """
    One job, held by one worker.

    `wanted` counts how often a look at it was asked for; `open_copies` says how many PUTs have had no answer,
    `sent_age_s` the seconds since the last one was sent, None if none was.
    """

    job_id: str
    token: str
    wanted: str
    sent_age_s: float | None
    open_copies: int
    tries: int


@dataclass(frozen=True, slots=True)
class Due:
    """
    What the periodic check has to set in motion.

    Instances to push, to look at, and to look at only because their total is not known; jobs; parked instances with
    the time since when; since when the ledger is ready to push, None while it is not (seconds by Redis' clock); and
    instances to push `in_passing`: of these more is expected, so nobody waits for the push.
    """

    push: tuple[str, ...] = ()
    look: tuple[str, ...] = ()
    totals: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    parked: tuple[tuple[str, float], ...] = ()
    ready_since_s: float | None = None
    in_passing: tuple[str, ...] = ()
