"""What the pages read of Redis: a pulse of fixed size, pages of lists, and the views of the instances that are shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tracker import stream_ids
from tracker.history.entries import Entry, read_entry
from tracker.overview import Overview
from tracker.views import DeadLetter, InstanceView, JobView, read_dead_letter, read_job

LIVE, ENDED = ("parked", "owing", "followed", "leisure"), ("finished",)
"""The lists whose instances change, and those whose do not."""

MOST_NEW = 100
"""Of the newest followed and finished instances, so many are read each time."""

MOST_OWING = 300
"""Of the instances that are due to be pushed first, so many are read each time."""

MOST_SET_ASIDE = 200
"""Parked and stuck instances, parked and pending jobs, that are read each time."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """
    The whole at a glance, in two round trips whatever there is.

    `now_s` is Redis' clock, `positions` the next offset of each partition by a name that holds its epoch, `moving` the ids
    of instances that are likely to have changed. `owed` is the sum over all instances; `owed_since_s` and `intent_since_s` say
    since when the oldest count is owed and the oldest intent open, None where there is none. `paused` says that nothing is pushed.
    """

    now_s: float
    owed: int
    owed_since_s: float | None
    intents: int
    intent_since_s: float | None
    followed: int
    finished: int
    leisure: int
    owing: int
    parked: int
    stuck: int
    parked_jobs: int
    jobs_pending: int
    dead_letters: int
    losses: int
    positions: dict[str, int]
    moving: tuple[str, ...]
    pending_jobs: tuple[str, ...]
    paused: bool

    @property
    def instances(self) -> int:
        """All that the ledger remembers."""
        return self.followed + self.finished + self.leisure


class Reader(Overview):
    """The overview, with what pages need besides. Every method blocks, and raises LedgerUnavailable when Redis is away."""

    def pulse(self) -> Pulse:
        """Look at the whole."""
        key = self._key
        counted = ("followed", "finished", "leisure", "owing", "parked", "stuck", "parked_jobs", "jobs", "intents")
        (seconds, micros), (owed, paused), partitions, oldest_owed, oldest_intent, *rest = self.ask(
            ("TIME",),
            ("HMGET", key("ledger"), "owed", "paused_pushes"),
            ("HGETALL", key("partitions")),
            *(("ZRANGE", key(name), 0, 0, "WITHSCORES") for name in ("owed", "intents")),
            *(("ZCARD", key(name)) for name in counted),
            *(("XLEN", key(name)) for name in ("dead", "losses")),
            ("ZREVRANGE", key("followed"), 0, MOST_NEW - 1),
            ("ZREVRANGE", key("finished"), 0, MOST_NEW - 1),
            ("ZRANGE", key("owing"), 0, MOST_OWING - 1),
            ("ZRANGE", key("parked"), 0, MOST_SET_ASIDE - 1),
            ("ZRANGE", key("stuck"), 0, MOST_SET_ASIDE - 1),
            ("ZRANGE", key("parked_jobs"), 0, MOST_SET_ASIDE - 1),
            ("ZRANGE", key("jobs"), 0, MOST_SET_ASIDE - 1),
        )
        names = [f"{name}:{epoch}" for name, epoch in partitions.items()]
        told = self.ask(*(("HGET", key(f"part:{name}"), "next") for name in names)) if names else []
        sizes = dict(zip((*counted, "dead", "losses"), rest, strict=False))
        newest, ended, owing, parked, stuck, parked_jobs, jobs = rest[len(sizes) :]
        return Pulse(
            now_s=int(seconds) + int(micros) / 1e6,
            owed=int(owed or 0),
            owed_since_s=_oldest_s(oldest_owed),
            intents=sizes["intents"],
            intent_since_s=_oldest_s(oldest_intent),
            followed=sizes["followed"],
            finished=sizes["finished"],
            leisure=sizes["leisure"],
            owing=sizes["owing"],
            parked=sizes["parked"],
            stuck=sizes["stuck"],
            parked_jobs=sizes["parked_jobs"],
            jobs_pending=sizes["jobs"],
            dead_letters=sizes["dead"],
            losses=sizes["losses"],
            positions={name: int(position) for name, position in zip(names, told, strict=True) if position is not None},
            moving=tuple(dict.fromkeys((*parked, *stuck, *owing, *newest, *ended))),
            pending_jobs=tuple(dict.fromkeys((*parked_jobs, *jobs))),
            paused=paused is not None,
        )

    def ids(self, name: str, offset: int, limit: int) -> list[str]:
        """A stretch of one of the lists of instances, from its newest end."""
        found: list[Any] = self.ask(("ZREVRANGE", self._key(name), offset, offset + limit - 1))
        return [str(instance_id) for instance_id in found[0]]

    def views(self, ids: Iterable[str]) -> dict[str, InstanceView]:
        """The views of these instances by id, in order, less those that Redis no longer holds."""
        return {view.id: view for view in self._views(ids)}

    def job_views(self, members: dict[str, tuple[str, ...]]) -> dict[str, JobView]:
        """The views of these jobs by id, in order, each with the instances that are given."""
        ids: Sequence[str] = list(members)
        return {name: read_job(name, members[name], *facts) for name, facts in zip(ids, self._job_facts(ids), strict=True)}

    def job_is_known(self, job_id: str) -> bool:
        """Whether Redis holds anything of a job, be it that none of its instances is known."""
        exists, pending, parked = self.ask(
            ("EXISTS", self._key(f"j:{job_id}")),
            ("ZSCORE", self._key("jobs"), job_id),
            ("ZSCORE", self._key("parked_jobs"), job_id),
        )
        return bool(exists) or pending is not None or parked is not None

    def parked_jobs(self) -> list[JobView]:
        """The first jobs that the Import API does not know, without their instances."""
        ids = self.ask(("ZRANGE", self._key("parked_jobs"), 0, MOST_SET_ASIDE - 1))[0]
        return list(self.job_views(dict.fromkeys(ids, ())).values())

    def dead_letters_before(self, before: str, limit: int) -> list[DeadLetter]:
        """The newest dead letters older than the one with the id `before`; "" for the newest of all."""
        found = self.ask(("XREVRANGE", self._key("dead"), stream_ids.before(before) if before else "+", "-", "COUNT", limit))[0]
        return [read_dead_letter(entry, raw) for entry, raw in found]

    def history_after(self, last: str | None, most: int) -> tuple[list[Entry], str, bool]:
        """
        The entries of the history after the one with the id `last`, oldest first; the id of the newest; whether these are all.

        `last` None asks for the newest id alone.
        """
        key = self._key("history")
        if last is None:
            newest = self.ask(("XREVRANGE", key, "+", "-", "COUNT", 1))[0]
            return [], newest[0][0] if newest else "0-0", False
        found = self.ask(("XRANGE", key, stream_ids.after(last), "+", "COUNT", most))[0]
        return [read_entry(*each) for each in found], found[-1][0] if found else last, len(found) < most


def _oldest_s(found: Sequence[Any]) -> float | None:
    """The score (ms) of the first entry of a sorted set, as redis-py gives it: pairs, or flat."""
    if not found:
        return None
    score = found[0][1] if isinstance(found[0], tuple | list) else found[1]
    return float(score) / 1000
