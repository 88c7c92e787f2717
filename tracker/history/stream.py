"""The history as Redis holds it: its newest entries for people, those not yet in the database for draining."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from tracker.history.entries import Entry, read_entry
from tracker.ledger_scripts import Scripts
from tracker.stream_ids import after, before, order

CHUNK = 1000
"""Entries to a round trip."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    Which entries are asked for: the newest `limit` that agree with all that is given. `since_s` is seconds since 1970.

    `what` are the words of which an entry has one; none: any.
    """

    limit: int = 100
    instance_id: str | None = None
    job_id: str | None = None
    what: tuple[str, ...] = ()
    since_s: float | None = None

    def __contains__(self, entry: object) -> bool:
        """Whether an entry is among them, but for the limit."""
        return (
            isinstance(entry, Entry)
            and self.instance_id in {None, entry.instance_id}
            and self.job_id in {None, entry.job_id}
            and (not self.what or entry.what in self.what)
        )


@dataclass(frozen=True, slots=True)
class Draining:
    """
    How the draining into a database stands; all times are seconds by Redis' clock.

    `configured` says whether there is a database. `waiting_s` is how long the oldest entry that it lacks has waited, None when it
    lacks none; `failures` are those in a row, with the `reason` of the last; `lost` entries were trimmed before the database had
    them, the last ones at `lost_at_s`.
    """

    entries: int
    configured: bool = False
    waiting_s: float | None = None
    succeeded_s: float | None = None
    failures: int = 0
    reason: str = ""
    lost: int = 0
    lost_at_s: float | None = None


class HistoryStream(Scripts):
    """
    The stream `history` under one key prefix.

    Every method raises LedgerUnavailable when Redis is away, and works unverified: what has happened stays so.
    """

    def _key(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def newest(self, wanted: Wanted, *, undrained: bool = False) -> list[Entry]:
        """The newest entries, newest first; `undrained` asks only for those that the database may lack."""
        found: list[Entry] = []
        down_to = self._first_undrained() if undrained else "-"
        for entry in self._backwards(max(down_to, "-" if wanted.since_s is None else str(int(wanted.since_s * 1000)), key=order)):
            if entry in wanted:
                found.append(entry)
                if len(found) == wanted.limit:
                    break
        return found

    def _backwards(self, down_to: str) -> Iterator[Entry]:
        at = "+"
        while True:
            with self.reaching():
                some = cast("list[tuple[str, dict[str, str]]]", self.client.xrevrange(self._key("history"), at, down_to, count=CHUNK))
            yield from (read_entry(*each) for each in some)
            if len(some) < CHUNK:
                return
            at = before(some[-1][0])

    def undrained(self, most: int = CHUNK) -> list[Entry]:
        """The oldest entries that the database may lack, oldest first."""
        with self.reaching():
            some = cast(
                "list[tuple[str, dict[str, str]]]", self.client.xrange(self._key("history"), self._first_undrained(), "+", count=most)
            )
        return [read_entry(*each) for each in some]

    def _first_undrained(self) -> str:
        """
        From which id on the database may lack entries: "-" for all of them.

        Ids below the last drained one are those of a Redis that has lost its data, and its clock's time.
        """
        with self.reaching():
            drained = cast("str | None", self.client.hget(self._key("history_state"), "drained"))
            newest = cast("list[tuple[str, Any]]", self.client.xrevrange(self._key("history"), count=1))
        return after(drained) if drained and newest and order(newest[0][0]) >= order(drained) else "-"

    def drained_to(self, entry_id: str) -> bool:
        """Note that the database has all up to this entry; False when Redis has lost its data since it was read."""
        return bool(self.run("drained", entry_id)[1] == "1")

    def tend(self, most: int, *, draining: bool, pause_s: float, longest_pause_s: float) -> tuple[int, bool]:
        """
        Have the history bounded to `most` entries, and note whether there is a database.

        Returns how many entries were trimmed undrained since it was asked last, and whether it is time to drain: after `pause_s`,
        doubled with each failure up to `longest_pause_s`.
        """
        reply = self.run("tend_history", most, int(draining), int(pause_s * 1000), int(longest_pause_s * 1000))
        return int(reply[1]), reply[2] == "1"

    def note_success(self) -> bool:
        """A drain has come to its end; returns whether one had failed before it."""
        with self.reaching():
            now_ms = _ms(self.client.time())
            pipeline = self.client.pipeline(transaction=True)
            pipeline.hget(self._key("history_state"), "failures")
            pipeline.hdel(self._key("history_state"), "failures", "why")
            pipeline.hset(self._key("history_state"), "ok", now_ms)
            return bool(pipeline.execute()[0])

    def note_failure(self, reason: str) -> int:
        """A drain has failed; returns how often in a row."""
        with self.reaching():
            pipeline = self.client.pipeline(transaction=True)
            pipeline.hset(self._key("history_state"), "why", reason)
            pipeline.hincrby(self._key("history_state"), "failures", 1)
            return int(pipeline.execute()[1])

    def now_s(self) -> float:
        """Redis' clock, in seconds."""
        with self.reaching():
            return _ms(self.client.time()) / 1000

    def draining(self) -> Draining:
        """How the draining stands."""
        first = self._first_undrained()
        with self.reaching():
            pipeline = self.client.pipeline(transaction=False)
            pipeline.hgetall(self._key("history_state"))
            pipeline.xlen(self._key("history"))
            pipeline.xrange(self._key("history"), first, "+", count=1)
            pipeline.time()
            raw, entries, waiting, now = pipeline.execute()
        oldest = order(waiting[0][0])[0] if waiting else None
        configured = "draining" in raw
        return Draining(
            entries=entries,
            configured=configured,
            waiting_s=None if oldest is None or not configured else max(0.0, (_ms(now) - oldest) / 1000),
            succeeded_s=int(raw["ok"]) / 1000 if raw.get("ok") else None,
            failures=int(raw.get("failures") or 0),
            reason=raw.get("why", ""),
            lost=int(raw.get("lost") or 0),
            lost_at_s=int(raw["lost_at"]) / 1000 if raw.get("lost_at") else None,
        )


def _ms(time: tuple[int, int]) -> int:
    return int(time[0]) * 1000 + int(time[1]) // 1000
