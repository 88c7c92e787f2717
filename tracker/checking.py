"""
Use case: the periodic check.

It asks only about what can change without an event of ours, and decides when the full listing is due: at start-up
every `INITIALISE_LIST_INTERVAL` until it succeeds or the attempts are used up, then every `SYNC_INTERVAL`, and once
more when a ledger just born has become ready.
"""

import random
from dataclasses import dataclass
from typing import Protocol

import structlog

from tracker import following
from tracker.errors import LettersFull, Transient
from tracker.ledger_state import Due

log = structlog.get_logger(__name__)

MOST = 2000
"""Instances of a kind that one check sets in motion; the next one takes the rest."""

HOLD_S = 10.0
"""Seconds within which something set in motion is not set in motion again."""

LEISURELY = 50
"""Instances of long ago that one check settles after a birth."""

IN_PASSING_PER_S = 50
"""
Pushes a second, while records flow, of instances for which more is expected: they only bring figures up to date that
are still rising, and must leave the workers time for those that somebody waits for.
"""

FEW = 5
"""Instances without a total that are asked for one by one, however short the listing is."""

SHARE = 10
"""Between two listings that only totals are wanted from lies so many times as long as one takes: a long one would never end else."""

SYNC_LEASE_S = 120.0
"""Seconds after which a listing that never ended no longer keeps others from starting one."""

JOBS_LEASE_S = 240.0
"""The same for the list of jobs. One that its time limit has cut off is given up for as long, as the next will hardly be quicker."""


class Ledger(following.Ledger, Protocol):
    """What checking needs of the ledger."""

    def due(self, most: int, hold_s: float, leisurely: int, in_passing: int) -> Due:
        """What is due now."""

    def bury_parked(self, instance_id: str, reason: str, parked_longest_s: float) -> int:
        """Turn what a long parked instance owes into a dead letter. Raises LettersFull."""

    def lease(self, name: str, ttl_s: float) -> bool:
        """Whether this caller may do the named work now."""

    def end_lease(self, name: str) -> None:
        """Let the next caller have it."""

    def sync_state(self) -> dict[str, str]:
        """How the full listing stands."""

    def note_sync(self, values: dict[str, str | int]) -> None:
        """Note how it stands."""

    def now_s(self) -> float:
        """Redis' clock."""


class Settings(Protocol):
    """The settings that checking goes by; see `tracker.settings`."""

    @property
    def check_complete_interval_s(self) -> float:
        """Seconds between two checks."""

    @property
    def sync_interval_s(self) -> float:
        """Seconds between two full listings."""

    @property
    def initialise_list_interval_s(self) -> float:
        """Seconds between two tries of the first one."""

    @property
    def initialise_list_attempts(self) -> int:
        """How many of these."""

    @property
    def parked_ttl_s(self) -> float:
        """Seconds that a parked instance is kept."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one check sets in motion."""

    push: tuple[str, ...]
    in_passing: tuple[str, ...]
    look: tuple[str, ...]
    jobs: tuple[str, ...]
    sync: bool


def check(ledger: Ledger, settings: Settings, *, in_passing: bool = True) -> Check | None:
    """
    Find out what is due; None when another process has just done so. Raises LedgerUnavailable.

    Not `in_passing`: only what somebody waits for, as there is no room for the others.
    """
    if not ledger.lease("tick", 0.8 * settings.check_complete_interval_s):
        return None
    passing = max(1, round(IN_PASSING_PER_S * settings.check_complete_interval_s)) if in_passing else 0
    due = ledger.due(MOST, HOLD_S, LEISURELY, passing)
    now_s = ledger.now_s()
    for instance_id, since_s in due.parked:
        if now_s - since_s > settings.parked_ttl_s:
            try:
                count = ledger.bury_parked(instance_id, "parked longer than PARKED_TTL", settings.parked_ttl_s)
            except LettersFull:
                break  # it stays parked, and health says that there is no room
            if count:
                log.error("parked_instance_given_up", instance_id=instance_id, count=count)
    state = ledger.sync_state()
    look, sync = due.look + due.totals, sync_is_due(state, now_s, due.ready_since_s, settings)
    # Many instances that lack only their total are cheaper to list than to ask for one by one. A few are asked for all the
    # same, not always the same ones: what has left `submitted` is in no listing. Without a listing all of them are.
    few = max(FEW, int(state.get("pages") or 1))
    if len(due.totals) > few and not state.get("why"):
        look = due.look + tuple(random.sample(due.totals, few))
        sync = sync or 1000 * now_s - int(state.get("tried") or 0) >= (SHARE + 1) * int(state.get("took") or 0)
    return Check(due.push, due.in_passing, look, due.jobs, sync)


def sync_is_due(state: dict[str, str], now_s: float, ready_since_s: float | None, settings: Settings) -> bool:
    """Whether the full listing should be read now, beyond Beat's own schedule of it."""
    tried_s, succeeded_s = int(state.get("tried") or 0) / 1000, int(state.get("ok") or 0) / 1000
    if succeeded_s:
        return ready_since_s is not None and succeeded_s < ready_since_s
    used_up = int(state.get("attempts") or 0) >= settings.initialise_list_attempts
    return now_s - tried_s >= (settings.sync_interval_s if used_up else settings.initialise_list_interval_s)


async def sync(
    ledger: Ledger, dataset_api: following.DatasetApi, import_api: following.ImportApi, settings: Settings
) -> following.Listing | None:
    """
    Read the full listing, if nobody else is at it; how it went is noted for the next check and for health.

    An API that is away is noted, not raised. Raises LedgerUnavailable.
    """
    if not ledger.lease("sync", SYNC_LEASE_S):
        return None
    state = ledger.sync_state()
    started_ms = int(ledger.now_s() * 1000)
    times = int(state.get("times") or 0)
    ledger.note_sync({"tried": started_ms})
    try:
        listing = await following.sync(ledger, dataset_api)
    except Transient as error:
        attempts = int(state.get("attempts") or 0) + 1
        ledger.note_sync({"attempts": attempts, "why": str(error)})
        said = log.error if attempts >= settings.initialise_list_attempts else log.warning
        said("listing_failed", attempts=attempts, reason=str(error))
        return None
    finally:
        ledger.end_lease("sync")
        # However it ended: one that its time limit cut off has taken long too.
        ledger.note_sync({"took": int(ledger.now_s() * 1000) - started_ms})
    ledger.note_sync({"ok": started_ms, "attempts": 0, "pages": listing.pages, "times": times + 1, "why": ""})
    log.info("listing_read", pages=listing.pages, listed=listing.listed, new=listing.new, missing=len(listing.missing))
    # Not every so many listings, but so many after the last that succeeded: until then each asks again.
    # A birth in the middle of a walk forgets the times, not what the walk notes when it ends.
    since = times - int(state.get("jobs_at") or times + 1)
    if not 0 <= since < following.JOBS_EVERY and ledger.lease("jobs", JOBS_LEASE_S):
        try:
            jobs = await following.find_jobs(ledger, import_api, listing.busy_jobs)
        except Transient as error:
            ledger.end_lease("jobs")
            log.warning("jobs_not_listed", reason=str(error))
        else:
            ledger.note_sync({"jobs_at": times})
            ledger.end_lease("jobs")
            log.info("jobs_listed", jobs=jobs)
    return listing
