"""
One round: a storm of faults that overlap, then some faults alone, and in the end every count and state must be exactly right.

    storm    records flow and faults happen, several at once; then all are undone and everything must come right by itself
    alone    some faults one by one, each between two moments in which everything is right: its recovery time
    end      all jobs come to their end; everything is looked at, and again when nothing can be on its way any more
"""

import contextlib
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import redis
from kafka.errors import KafkaError

from sandbox.kafka import KafkaFailed
from tests.chaos import api_faults, neighbour_faults, process_faults
from tests.chaos.book import Book, Findings, Job, plan_jobs
from tests.chaos.faults import KINDS, Disruption, Fault, NotNow, World, drawn
from tests.system import QUICK, System

__all__ = ["KINDS", "SETTINGS", "Round", "Storm", "Wrong", "api_faults", "neighbour_faults", "process_faults"]

SETTINGS = QUICK | {
    "API_MAX_REQUEST_AGE": "2s",  # a stand-in on a busy machine may be slow to take what lies in its socket
    "FINISHED_INSTANCE_TTL": "1m",  # so that what a ledger holds comes to rest within minutes
}
"""What the tracker runs with."""

QUARANTINE_S = 3.0
"""Of these settings: how long a PUT can take effect after it was sent."""

LOOK_S = 0.1
"""How often it is looked whether everything is right: the error of a recovery time."""

ALONE_RATE = 200
"""Records a second around a fault that comes alone."""

NOTE_S = 3.0
"""How often the log is told what is not right yet."""

NOT_DONE = (NotNow, redis.RedisError, httpx.HTTPError, KafkaError, KafkaFailed, ProcessLookupError)
"""What a fault raises that could not be done because of another one; it is not counted then."""


class Wrong(Exception):
    """A state that must never be, or that was not right in time. The text has one line for each thing that is wrong."""


@dataclass
class Outcome:
    """What a round was, as its JSON line."""

    faults: Counter[str] = field(default_factory=Counter)
    not_done: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    recovery_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    storm_s: list[float] = field(default_factory=list)
    settle_s: list[float] = field(default_factory=list)
    written_off: int = 0
    wrong: list[str] = field(default_factory=list)


class Storm:
    """Does faults that overlap where they use different parts. The same seed has the same faults, in about the same order."""

    def __init__(self, outcome: Outcome, note: Callable[[str], None]) -> None:
        self._outcome, self._note = outcome, note
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.done: list[Fault] = []
        self.error: BaseException | None = None

    def run(self, faults: list[Fault], random_numbers: random.Random, gap_s: float, meanwhile: Callable[[], None]) -> None:
        """Begin one fault after the other, `gap_s` apart on average; returns when all are undone."""
        waiting = list(faults)
        while waiting or any(thread.is_alive() for thread in self._threads):
            free = next((fault for fault in waiting if not fault.uses & self._busy), None)
            if free is not None:
                waiting.remove(free)
                with self._lock:
                    self._busy |= free.uses
                thread = threading.Thread(target=self._run, args=(free,), daemon=True)
                self._threads.append(thread)
                thread.start()
                time.sleep(random_numbers.expovariate(1 / gap_s))
            else:
                time.sleep(0.02)
            meanwhile()
            if self.error is not None:
                raise self.error

    def alone(self, fault: Fault) -> float | None:
        """Do one fault. Returns when it was undone; None when it could not be done."""
        self._busy |= fault.uses
        self._run(fault)
        if self.error is not None:
            raise self.error
        return time.monotonic() if fault in self.done else None

    def _run(self, fault: Fault) -> None:
        try:
            try:
                fault.inject()
            except NOT_DONE as reason:
                self._note(f"not done: {fault.told()}: {type(reason).__name__}: {reason}")
                if fault.begun:
                    fault.undo()
                self._outcome.not_done[fault.name] += 1
                return
            self._note(f"done: {fault.told()}")
            time.sleep(fault.hold_s)
            fault.undo()
            self._note(f"undone: {fault.told()}")
            with self._lock:
                self._outcome.faults[fault.name] += 1
                self._outcome.hits[fault.name] += getattr(fault, "hits", 0)
                self.done.append(fault)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that can stop everything
            self.error = error
        finally:
            with self._lock:
                self._busy -= fault.uses


class Round:
    """One round on a system that is up and at rest. `note` is told what happens, with the time."""

    def __init__(
        self, world: World, system: System, *, seed: int, number: int, settle_timeout_s: float, note: Callable[[str], None]
    ) -> None:
        self.world, self.stack, self.traffic = world, world.stack, world.traffic
        self.system, self.note, self.settle_timeout_s = system, note, settle_timeout_s
        self.random = random.Random(f"{seed}:{number}")
        self.disrupts: Disruption = ("birth", "records")[number % 2]
        self.book = Book()
        self.outcome = Outcome()
        self.number, self.prefix = number, f"r{number}"
        self._starts: dict[int, int] = {}
        self._looked = 0.0

    def kinds(self, only: Iterable[str] = ()) -> list[str]:
        """The faults that this round may have."""
        return [name for name, kind in KINDS.items() if kind.disrupts in ("none", self.disrupts) and (not only or name in only)]

    def open(self, jobs: Iterable[Job] | None = None) -> None:
        """Take up the book, let records flow."""
        self._starts = self.traffic.ends()
        last: Any = self.world.redis.xrevrange(f"{self.world.prefix}losses", count=1)
        self.world.losses_from = last[0][0] if last else "0"
        self.world.deleted, self.world.lives_ended, self.world.births = {}, {}, 0
        self.traffic.open(self.book, iter(jobs) if jobs is not None else plan_jobs(self.random, self.prefix))
        self.traffic.paused = False

    def storm(self, faults: int, gap_s: float, only: Iterable[str] = ()) -> None:
        """So many faults at random, then a rest until everything is right."""
        source = drawn(self.world, self.random, self.kinds(only))
        self.storm_of([next(source) for _ in range(faults)], gap_s)

    def storm_of(self, faults: list[Fault], gap_s: float) -> None:
        """These faults, then a rest until everything is right."""
        storm = Storm(self.outcome, self.note)
        storm.run(faults, self.random, gap_s, self.look)
        self.outcome.storm_s.append(round(self.rest("the storm", storm.done), 3))

    def alone(self, kinds: Iterable[str], lead_s: float = 0.6) -> None:
        """These faults, one by one, at a rate that leaves the machine idle: a backlog of the load's own is no recovery."""
        self.traffic.rate, rate = min(self.traffic.rate, ALONE_RATE), self.traffic.rate
        for name in kinds:
            storm = Storm(self.outcome, self.note)
            self.traffic.paused = False
            time.sleep(lead_s)
            undone = storm.alone(KINDS[name](self.world, self.random))
            if undone is not None:
                self.outcome.recovery_s[name].append(round(self.rest(name, storm.done, since=undone), 3))
        self.traffic.rate = rate
        self.look()

    def rest(self, what: str, faults: Iterable[Fault], *, since: float | None = None) -> float:
        """Send nothing more, and wait until all is right. Returns how long that took, in seconds."""
        since = time.monotonic() if since is None else since
        with self.traffic.gate:
            self.traffic.paused = True
        self.traffic.flush()
        took = self._settle(what, since)
        self.outcome.wrong += [line for fault in faults for line in fault.after()]
        if self.outcome.wrong:
            raise Wrong("\n".join(self.outcome.wrong))
        return took

    def close(self) -> None:
        """Let all jobs end, and look at everything twice: when it is right, and when nothing can be on its way any more."""
        self.traffic.wind_up()
        self.outcome.settle_s.append(round(self._settle("the round", time.monotonic()), 3))
        time.sleep(QUARANTINE_S + 0.2)
        if self.disrupts == "records":  # what was on its way when its topic ended may have come since
            self.outcome.written_off = self.world.write_off()
        counts, states, jobs = self._said()
        changed = self.book.check(counts, states, jobs)
        if changed:
            raise Wrong("\n".join(["after it was right:", *changed.lines()]))
        self._settle("the last look", time.monotonic())
        ends = self.traffic.ends()
        first = 0 if self.world.lives_ended else sum(self._starts.values())
        written = sum(len(log) for (life, _), log in self.book.log.items() if life == self.traffic.life)
        if sum(ends.values()) - first != written:
            raise Wrong(f"Kafka took {sum(ends.values()) - first} records, the book has {written}: no statement about the tracker")

    def clear(self) -> None:
        """
        Let Kafka delete what is read, so that a birth does not read it again, and the stand-ins forget the round before this one.

        This one's jobs may still be looked at: a listing that had begun before they ended comes back to them. Instances of which Kafka
        has left nothing are ended as a person would end them, since the tracker follows them until then.
        """
        for each in self.book.instances.values():
            if each.told == 0 and not each.failed:
                self.stack.dataset_api.set_state(each.id, "failed")
        for partition, end in self.traffic.ends().items():
            self.stack.kafka.delete_records(self.stack.inserted_topic, partition, end)
        for api in (self.stack.dataset_api, self.stack.import_api):
            api.forget(f"r{self.number - 1}-")

    # -- looking --------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """While records flow: nothing may be counted that was not published, nothing completed that is not wholly sent."""
        self.traffic.check()
        if time.monotonic() < self._looked + 0.5:
            return
        self._looked = time.monotonic()
        try:
            counts, states = self.stack.dataset_api.counts(), self.stack.dataset_api.states()
        except httpx.HTTPError:
            return
        found = self.book.too_much(counts) + self.book.too_early(states)
        if found:
            self.outcome.wrong += found
            raise Wrong("\n".join(found))

    def found(self, *, explain: bool = False) -> Findings:
        """What is not right at this moment."""
        if self.disrupts == "records":
            self.outcome.written_off = self.world.write_off()
            self.traffic.tell_totals_again()
        found = self.book.check(*self._said(), explain=explain)
        return found or Findings(missing=tuple(self._left_over()))

    def _said(self) -> tuple[dict[str, int], dict[str, str], dict[str, str]]:
        """What the two APIs say: counts, states of instances, states of jobs."""
        return self.stack.dataset_api.counts(), self.stack.dataset_api.states(), self.stack.import_api.states()

    def _left_over(self) -> list[str]:
        figures = self.system.shown("/figures")
        names = ("owed", "owing", "parked", "parked_jobs", "dead_letters", "jobs_pending", "settling")
        found = [f"{name}: {figures[name]}" for name in names if figures[name]]
        given_up = [line for line in _text(self.stack.folder / "supervisor.log").splitlines() if "given up" in line]
        return found + given_up

    def _settle(self, what: str, since: float) -> float:
        """Wait until everything is right. What can never become right ends the wait at once."""
        deadline = time.monotonic() + self.settle_timeout_s
        noted = time.monotonic() + NOTE_S
        found: Findings | str = "never looked"
        while True:
            self.traffic.check()
            try:
                found = self.found()
            except NOT_DONE as error:
                found = f"{type(error).__name__}: {error}"
            else:
                if not found:
                    self.note(f"right {time.monotonic() - since:.2f} s after {what}")
                    return time.monotonic() - since
                if found.doubled and self.disrupts != "records":
                    break
            if time.monotonic() > deadline:
                break
            if time.monotonic() > noted:
                noted += NOTE_S
                lines = found.lines() if isinstance(found, Findings) else [found]
                self.note(f"not yet right: {len(lines)} things, such as {'; '.join(lines[:4])}")
            time.sleep(LOOK_S)
        with contextlib.suppress(*NOT_DONE):
            found = self.found(explain=True)
        self.outcome.wrong += found.lines() if isinstance(found, Findings) else [found]
        raise Wrong("\n".join([f"not right {time.monotonic() - since:.1f} s after {what}:", *self.outcome.wrong]))


def _text(path: Any) -> str:
    return path.read_text() if path.exists() else ""
