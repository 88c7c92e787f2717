"""
All instances and jobs in short, kept in memory by the web process, so that they can be searched and put in order. Pure.

Redis has no index for either. `watching` fills the catalogue little by little; what a page shows is read afresh, so the
catalogue only decides what comes on which page. An order that took long to make is used the longer: `SHARE` of one core.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from tracker import views
from tracker.errors import BadInput
from tracker.instance import DONE, FAILED
from tracker.views import InstanceView

MOST_KEPT = 100_000
"""Instances in the catalogue; more are only counted."""

SHARE = 0.05
"""How much of the time may go into making orders anew."""

FRESH_S = 1.0
"""An order is used for so long at least."""

MOST_ORDERS = 32
"""Orders that are kept."""

LONGEST_SEARCH = 200
"""Characters of a search."""

IMPORTING, NEEDS_A_PERSON, STUCK, COMPLETED, FAILED_ONES = "importing", "needs a person", "stuck", "completed", "failed"

GROUPS = (IMPORTING, NEEDS_A_PERSON, STUCK, COMPLETED, FAILED_ONES)
"""Groups of states, beside the states themselves."""

STATES = tuple(dict.fromkeys((*GROUPS, *views.STATES)))

SORTS = ("attention", "newest", "record", "name", "progress")
"""Orders by the word that stands in the URL."""

LISTS = ("jobs", "instances")


LACKING, WITHOUT_TOTAL, FULL = "lacking", "without total", "full"
"""What an instance under way is to those who ask for its end: something lacks of its total, it has none, or all is in."""


@dataclass(slots=True)
class Row:
    """What is kept of one instance: see `InstanceView`. `concern` is the lower the more it is for a person to look at."""

    id: str
    job: str
    state: str
    total: int
    inserted: int
    concern: int
    stuck: bool
    first_s: float
    last_s: float
    ended: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader of a list asked for."""

    list: str = "jobs"
    q: str = ""
    state: str = ""
    sort: str = "attention"
    job: str | None = None

    @classmethod
    def read(cls, given: dict[str, str], job: str | None = None) -> "Wanted":
        """Take what a URL's query says. Raises BadInput naming parameter and expectation."""
        wanted = cls(**{name: text for name, text in given.items() if name in {"list", "q", "state", "sort"} and text}, job=job)
        for name, text, known in (
            ("list", wanted.list, LISTS),
            ("state", wanted.state, ("", *STATES)),
            ("sort", wanted.sort, SORTS),
        ):
            if text not in known:
                raise BadInput(f"{name}={text[:40]!r}: expected one of {', '.join(word for word in known if word)}")
        if len(wanted.q) > LONGEST_SEARCH:
            raise BadInput(f"q: expected at most {LONGEST_SEARCH} characters, not {len(wanted.q)}")
        return replace(wanted, q=wanted.q.strip())


def row_of(view: InstanceView) -> Row:
    """What is kept of this view."""
    return Row(
        view.id,
        sys.intern(view.job_id or ""),
        sys.intern(view.state),
        view.total or 0,
        view.inserted,
        concern(view),
        bool(view.stuck),
        view.first_seen_s or 0.0,
        view.last_record_s or 0.0,
        view.ended_s is not None,
    )


def concern(view: InstanceView) -> int:
    """How much an instance is for a person to look at: 0 most."""
    if view.state in {views.PARKED, views.GIVEN_UP}:
        return 0
    if view.ended_s is None:
        return 1 if view.stuck or (view.reason and view.tries) else 2
    return 3


class Catalogue:
    """The rows of all instances that are known, those first that were not read for longest; and the orders made of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.rows: dict[str, Row] = {}
        self.open_jobs: Counter[str] = Counter()
        self.importing: Counter[str] = Counter()
        self._members: dict[str, dict[str, None]] = {}
        self._clock = clock
        self._orders: dict[Wanted, tuple[float, float, list[str]]] = {}

    def note(self, view: InstanceView) -> None:
        """Take in what was read of an instance."""
        before = self.rows.get(view.id)
        if before is None and len(self.rows) >= MOST_KEPT:
            return
        row = row_of(view)
        if before is not None:
            self._count(before, -1)
            if before.job != row.job:
                self._leave(before)
            del self.rows[view.id]
        self.rows[view.id] = row
        self._members.setdefault(row.job, {})[view.id] = None
        self._count(row, 1)

    def stale(self, many: int) -> list[str]:
        """The instances that were not read for longest: what Redis has forgotten is among them, as no list of its names it any more."""
        return list(islice(self.rows, many))

    def drop(self, instance_id: str) -> None:
        """Forget an instance that Redis no longer holds."""
        row = self.rows.pop(instance_id, None)
        if row is not None:
            self._count(row, -1)
            self._leave(row)

    def _count(self, row: Row, sign: int) -> None:
        if _GROUPS[IMPORTING](row):
            self.importing[WITHOUT_TOTAL if not row.total else LACKING if row.inserted < row.total else FULL] += sign
        if row.job and not row.ended:
            self.open_jobs[row.job] += sign
            if not self.open_jobs[row.job]:
                del self.open_jobs[row.job]

    def _leave(self, row: Row) -> None:
        members = self._members.get(row.job, {})
        members.pop(row.id, None)
        if not members:
            self._members.pop(row.job, None)

    def members(self, job_id: str) -> tuple[str, ...]:
        """The instances of a job; of "", those whose job is not known."""
        return tuple(self._members.get(job_id, ()))

    # -- orders ---------------------------------------------------------------------------------------------------

    def order(self, wanted: Wanted, more_jobs: Iterable[str] = ()) -> Sequence[str]:
        """
        The ids of what is wanted, instances or jobs, in order.

        `more_jobs` are jobs of which no instance is known; they come first where nothing narrows the list.
        """
        now = self._clock()
        found = self._orders.get(wanted)
        if found is None or now - found[0] > max(FRESH_S, found[1] * len(self._orders) / SHARE):
            ids = self._ordered(wanted)
            self._orders.pop(wanted, None)
            self._orders[wanted] = (now, self._clock() - now, ids)
            if len(self._orders) > MOST_ORDERS:
                del self._orders[next(iter(self._orders))]
        else:
            ids = found[2]
        if wanted.list == "jobs" and not wanted.state:
            needle = wanted.q.casefold()
            return [*(job for job in more_jobs if job not in self._members and needle in job.casefold()), *ids]
        return ids

    def matching(self, wanted: Wanted, job_id: str) -> list[str]:
        """The instances of one job that are wanted, in order."""
        return self._ordered(replace(wanted, list="instances", job=job_id))

    def _ordered(self, wanted: Wanted) -> list[str]:
        rows = self._matching(wanted)
        key = _KEYS[wanted.sort]
        if wanted.list == "instances":
            return [row.id for row in sorted(rows, key=key)]
        jobs: dict[str, Row] = {}
        for row in rows:
            first = jobs.get(row.job)
            if first is None or key(row) < key(first):
                jobs[row.job] = row
        if wanted.sort == "name":
            return sorted(jobs)
        return sorted(jobs, key=lambda job: (*key(jobs[job]), job))

    def _matching(self, wanted: Wanted) -> list[Row]:
        rows: Iterable[Row] = self.rows.values()
        if wanted.job is not None:
            rows = [self.rows[name] for name in self._members.get(wanted.job, ())]
        if wanted.q:
            needle = wanted.q.casefold()
            rows = (row for row in rows if needle in row.id.casefold() or needle in row.job.casefold())
        if wanted.state:
            holds = _GROUPS.get(wanted.state)
            rows = (row for row in rows if (holds(row) if holds else row.state == wanted.state))
        return list(rows)


def _progress(row: Row) -> float:
    """The share that is in; of what has ended less than nothing, so that it comes last."""
    return -1.0 if row.ended else row.inserted / row.total if row.total else 0.0


_GROUPS: dict[str, Callable[[Row], bool]] = {
    IMPORTING: lambda row: not row.ended and row.state != views.PARKED,
    NEEDS_A_PERSON: lambda row: row.concern == 0,
    STUCK: lambda row: row.stuck,
    COMPLETED: lambda row: row.state in DONE,
    FAILED_ONES: lambda row: row.state in FAILED,
}

_KEYS: dict[str, Callable[[Row], tuple[float, float, str]]] = {
    "attention": lambda row: (row.concern, -row.first_s, row.id),
    "newest": lambda row: (-row.first_s, 0.0, row.id),
    "record": lambda row: (-row.last_s, 0.0, row.id),
    "name": lambda row: (0.0, 0.0, row.id),
    "progress": lambda row: (-_progress(row), -row.last_s, row.id),
}
