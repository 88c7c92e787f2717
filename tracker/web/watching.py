"""
The one reader behind all pages of a web process: looks at Redis every second while somebody watches, else every few.

What it reads each time is bounded, however many instances there are: the pulse, what is likely to have changed, and the
next stretch of a walk over all. A page reads what it shows by itself.
"""

import threading
import time
from collections.abc import Callable, Iterable

from tracker.errors import LedgerUnavailable
from tracker.views import InstanceView
from tracker.web.catalogue import FULL, LACKING, WITHOUT_TOTAL, Catalogue
from tracker.web.reading import ENDED, LIVE, Pulse, Reader
from tracker.web.sampling import Curve, Paces

WATCHED_S, REST_S = 1.0, 5.0
"""Seconds between two looks while pages are open, and while none is."""

SHARE = 4
"""After a look it is waited for so many times as long as the look took of a processor: a fifth of it at most is spent here."""

WATCHED_FOR_S = 30.0
"""How long after the last page was asked for somebody is taken to watch."""

STRETCH, LONG_STRETCH, ENDED_STRETCH = 400, 2000, 200
"""Instances of a walk's next stretch: of those that change, of the same until all have been read once, of those that ended."""

STALE_STRETCH = 50
"""Instances of the catalogue that no walk came by for longest: looked up, as Redis may have forgotten them."""

QUIET_S = 120.0
"""After so long without a record an instance has no pace; so those that stand still take no place from those that move."""


class Walk:
    """Goes through lists of instances, stretch by stretch, round and round."""

    def __init__(self, reader: Reader, lists: tuple[str, ...]) -> None:
        self._reader = reader
        self._lists = lists
        self._list, self._at = 0, 0
        self.rounds = 0

    def step(self, many: int) -> list[str]:
        """The ids of the next stretch; no more than `many`, and no further than the end of a round."""
        found: list[str] = []
        while len(found) < many:
            wanted = many - len(found)
            some = self._reader.ids(self._lists[self._list], self._at, wanted)
            found += some
            self._at += len(some)
            if len(some) < wanted:
                self._list, self._at = self._list + 1, 0
            if self._list == len(self._lists):
                self._list = 0
                self.rounds += 1
                break
        return found


class Watch:
    """
    What is known of the system, as of the last look.

    `trouble` says why the last look failed, "" when it did not. `lock` is held while the catalogue or the paces are used:
    looks and pages run in several threads.
    """

    def __init__(self, reader: Reader, clock: Callable[[], float] = time.monotonic) -> None:
        self.reader = reader
        self.lock = threading.Lock()
        self.catalogue = Catalogue()
        self.curve = Curve()
        self.paces = Paces()
        self.pulse: Pulse | None = None
        self.trouble = ""
        self.seen_s: float | None = None
        self._clock = clock
        self._asked_s = clock()
        self._live, self._ended = Walk(reader, LIVE), Walk(reader, ENDED)
        self._rounds_wanted = 1

    @property
    def behind(self) -> bool:
        """Whether instances that change have not all been read since somebody watches."""
        return self._live.rounds < self._rounds_wanted

    @property
    def complete(self) -> bool:
        """Whether all instances have been read once."""
        return self._live.rounds > 0 and self._ended.rounds > 0

    def asked(self) -> None:
        """Note that a page was asked for: somebody watches."""
        if not self._is_watched():
            self._rounds_wanted = self._live.rounds + 1
        self._asked_s = self._clock()

    def _is_watched(self) -> bool:
        return self._clock() - self._asked_s < WATCHED_FOR_S

    def look(self) -> None:
        """Look once; never raises LedgerUnavailable, but notes it."""
        try:
            pulse = self.reader.pulse()
            ids = dict.fromkeys(pulse.moving)
            ids |= dict.fromkeys(self._live.step(LONG_STRETCH if self.behind else STRETCH))
            ids |= dict.fromkeys(self._ended.step(ENDED_STRETCH if self._ended.rounds else LONG_STRETCH))
            with self.lock:
                ids |= dict.fromkeys(self.catalogue.stale(STALE_STRETCH))
            self.read(ids)
        except LedgerUnavailable as error:
            self.trouble = str(error)
            return
        with self.lock:
            self.curve.take(self._clock(), pulse.positions)
            if pulse.paused:
                self.paces = Paces()
        self.pulse, self.trouble, self.seen_s = pulse, "", time.time()

    def read(self, ids: Iterable[str]) -> dict[str, InstanceView]:
        """Read instances afresh, for a page or the catalogue. Raises LedgerUnavailable."""
        ids = list(ids)
        found = self.reader.views(ids)
        at_s = self._clock()
        with self.lock:
            for name in ids:
                view = found.get(name)
                if view is None:
                    self.catalogue.drop(name)
                    self.paces.forget(name)
                    continue
                self.catalogue.note(view)
                if self._moves(view):
                    self.paces.take(name, at_s, view.inserted + view.owed)
                else:
                    self.paces.forget(name)
        return found

    def _moves(self, view: InstanceView) -> bool:
        """Whether an instance has a pace: it has not ended, is counted and pushed, and its last record is not long ago."""
        if view.ended_s is not None or view.parked_kind or view.tries or not view.inserted + view.owed:
            return False
        return view.last_record_s is None or self.pulse is None or self.pulse.now_s - view.last_record_s < QUIET_S

    def pause_s(self, took_s: float) -> float:
        """How long to wait after a look that took a processor so long."""
        if (self.behind or not self.complete) and not self.trouble:
            return took_s * SHARE
        return max(WATCHED_S if self._is_watched() else REST_S, took_s * SHARE)

    def left_s(self) -> float | None:
        """Seconds until the last instance whose pace is known will have its total; None where no pace is known. Hold `lock`."""
        left = []
        for name in self.paces.names():
            row = self.catalogue.rows.get(name)
            if row is not None and row.total > row.inserted:
                left.append(self.paces.left_s(name, row.total, row.inserted))
        return max((seconds for seconds in left if seconds is not None), default=None)

    def no_end(self) -> str:
        """Say why `left_s` is None. Hold `lock`."""
        if self.pulse is not None and self.pulse.paused:
            return "no end in sight: pushes are paused"
        lacking, without, full = (self.catalogue.importing[kind] for kind in (LACKING, WITHOUT_TOTAL, FULL))
        rows = (self.catalogue.rows.get(name) for name in self.paces.names())
        if lacking and any(row and row.total > row.inserted and self.paces.of(row.id) is None for row in rows):
            return "the pace is being measured"
        if without and not lacking:
            some = "one has" if without == 1 else f"{without:,} have"
            return f"no end in sight: {some} no total yet" if full else "no end in sight: no total is known"
        if full and not lacking:
            return "all is in; the end is awaited"
        return "no end in sight: nothing moves" if self.complete else "still being read"
