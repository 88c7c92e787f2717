"""
What has happened to an instance or a job, a sentence each.

Finding it takes a walk back through the history, so what was found is remembered: a page that stays open costs only the
entries that are new since. Every method blocks, and raises LedgerUnavailable when Redis is away.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

from tracker.history.entries import Entry
from tracker.history.reading import History, Told
from tracker.history.stream import CHUNK, Wanted
from tracker.web.reading import Reader

MOST = 50
"""Entries that a page shows, the newest."""

MOST_REMEMBERED = 100
"""Instances and jobs whose entries are remembered."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was found, and the id of the history's last entry then."""

    told: Told
    last: str


class Timelines:
    """The newest entries of single instances and jobs."""

    def __init__(self, reader: Reader, history: History) -> None:
        self._reader = reader
        self._history = history
        self._found: OrderedDict[Wanted, Remembered] = OrderedDict()
        self._lock = Lock()

    def of(self, *, instance_id: str | None = None, job_id: str | None = None, since_s: float | None = None) -> Told:
        """The entries of an instance or a job, newest first. `since_s` is when it was first seen: there is no need to look further back."""
        wanted = Wanted(MOST, instance_id, job_id, since_s=since_s)
        with self._lock:
            known = self._found.pop(wanted, None)
        entries, last, all_of_them = self._reader.history_after(known.last if known else None, CHUNK)
        if known is None or not all_of_them:
            told = self._history.newest(wanted)
        else:
            told = _with(known.told, (entry for entry in entries if entry in wanted))
        with self._lock:
            self._found[wanted] = Remembered(told, last)
            if len(self._found) > MOST_REMEMBERED:
                self._found.popitem(last=False)
        return told

    def newest(self) -> Told:
        """The newest entries of all that has happened."""
        return self._history.newest(Wanted(MOST))


def _with(told: Told, new: Iterable[Entry]) -> Told:
    """What was told, and what is new (oldest first); an entry of both is told once."""
    known = {entry.id for entry in told.entries}
    fresh = [entry for entry in new if entry.id not in known]
    return Told((*reversed(fresh), *told.entries)[:MOST], told.source, told.trouble) if fresh else told
