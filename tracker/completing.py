"""
Use case: when is an instance done, when is a job; and saying so to the two APIs.

An instance is completed when a fresh GET, under its lock, shows that everything is in and nothing is owed. Its job
is put among those pending *before* the instance's PUT, and the siblings are read *after* it, so that of two workers
that finish two siblings at once at least one sees all. The Import API takes any state from anyone: a job leaves
those pending only after a GET, later than any copy of a PUT can arrive, that shows the right state.
"""

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog

from tracker import pushing
from tracker.errors import LostTurn, NotSent, OutcomeUnknown, Refused, Transient, TurnedAway, UnknownInstance, UnknownJob
from tracker.instance import DONE, FAILED, Instance, Job, Verdict, job_target, judge
from tracker.ledger_state import JobTurn, NotNow, Turn
from tracker.pushing import ComeAgain, Park, Rules

log = structlog.get_logger(__name__)

IMPORT_API_PAUSE_S = 10.0
"""
The longest that jobs are left alone after a call that the Import API did not answer: counts must not wait behind them.
It is 9 times as long as the call was waited for, so that no more than a tenth of the time goes by in waiting.
"""


class Ledger(pushing.Ledger, Protocol):
    """What completing needs of the ledger."""

    def take(self, instance_id: str, *, force: bool = False, by: str = "", push: bool = False) -> Turn:
        """Take the instance's lock; `push` also opens an intent where nothing has to be looked at before."""

    def release(self, turn: Turn, *, delay_s: float = 0.0, reason: str = "", watch_s: float | None = None) -> bool:
        """Give the lock back; whether a push task should be sent now."""

    def park(self, turn: Turn, kind: str, reason: str) -> None:
        """Set the instance aside for a person."""

    def state_put(self, turn: Turn, alive_s: float | None) -> float | None:
        """A PUT of its state is about to be sent, and its job to be looked at; seconds to wait for an older copy instead."""

    def state_not_put(self, turn: Turn) -> None:
        """That PUT never left."""

    def finish(self, turn: Turn, state: str) -> bool:
        """It has ended, and its job is to be looked at; whether it should be pushed all the same."""

    def take_job(self, job_id: str) -> JobTurn:
        """Take the job's lock."""

    def job_put_sent(self, turn: JobTurn) -> None:
        """A PUT of its state is about to be sent."""

    def job_put_answered(self, turn: JobTurn) -> None:
        """No copy of that PUT is on its way any more."""

    def release_job(self, turn: JobTurn, outcome: str, *, state: str = "", reason: str = "", delay_s: float = 0.0) -> bool:
        """Give the lock back; whether a look was asked for again meanwhile."""


class DatasetApi(pushing.DatasetApi, Protocol):
    """What completing needs of the Dataset API."""

    async def put_state(self, instance_id: str, state: str, etag: str | None, *, allowed_at: float) -> str | None:
        """Set the instance's state."""


class ImportApi(Protocol):
    """What completing needs of the Import API."""

    async def get_job(self, job_id: str) -> Job:
        """Read one job."""

    async def put_state(self, job_id: str, state: str, *, allowed_at: float) -> None:
        """Set the job's state."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """
    What one turn of an instance came to.

    `again` says that it owes something already again and a push task should be sent; `job_id` names a job to be
    looked at now, because an instance of it has ended.
    """

    instance_id: str
    outcome: str
    again: bool = False
    job_id: str | None = None


class Advancing:
    """Takes instances and jobs as far as they can go now. Everything it is given may be a stand-in."""

    def __init__(
        self,
        ledger: Ledger,
        dataset_api: DatasetApi,
        import_api: ImportApi,
        rules: Rules,
        clock: Callable[[], float],
        *,
        complete_at_once: bool = True,
        at_a_time: int = 8,
    ) -> None:
        """`at_a_time` instances of one `many` are under way at once, so that none waits for a call with its lock held."""
        self.ledger = ledger
        self.dataset_api = dataset_api
        self.import_api = import_api
        self.rules = rules
        self.clock = clock
        self.complete_at_once = complete_at_once
        self.at_a_time = at_a_time
        self._import_api_away_until = -math.inf

    async def instance(self, instance_id: str, *, check: bool = False, force: bool = False, by: str = "") -> Advanced:
        """
        Push what the instance owes and, when it looks complete or `check` asks for it, see whether it is.

        Raises NotNow when another worker holds it or its time has not come, LedgerUnavailable, LostTurn.
        """
        # Before the script that may allow the first copy.
        allowed_at = self.clock()
        turn = self.ledger.take(instance_id, force=force, by=by, push=True)
        bound = log.bind(instance_id=instance_id, job_id=turn.job_id)
        try:
            turn = await pushing.push(turn, self.ledger, self.dataset_api, self.rules, self.clock, allowed_at=allowed_at, release=not check)
            if turn.released:
                return Advanced(instance_id, "pushed")
            if check or turn.ended or turn.state in DONE | FAILED or (self.complete_at_once and turn.looks_complete):
                return await self._complete(turn)
        except ComeAgain as later:
            bound.info("instance_later", reason=later.why, delay_s=round(later.delay_s, 2))
            # What owes nothing has nothing else to bring it back.
            watch = later.delay_s if check or not turn.owed else None
            self.ledger.release(turn, delay_s=later.delay_s, reason=later.why, watch_s=watch)
            return Advanced(instance_id, "later")
        except Park as park:
            bound.error("instance_parked", kind=park.kind, reason=park.why)
            self.ledger.park(turn, park.kind, park.why)
            return Advanced(instance_id, "parked")
        again = self.ledger.release(turn, watch_s=self._watch_s(turn))
        return Advanced(instance_id, "pushed", again=again)

    def _watch_s(self, turn: Turn) -> float | None:
        """Seconds until the periodic check must look at it: only what can change without an event of ours."""
        if turn.looks_complete or (turn.counted and not turn.total):
            return self.rules.watch_s if turn.state in {"", "submitted"} or not turn.total else self.rules.tasks_watch_s
        return None

    async def _complete(self, turn: Turn) -> Advanced:
        """One fresh GET, and what follows from it; the lock is given back in every case."""
        instance = await pushing.read(turn, self.ledger, self.dataset_api, self.rules)
        turn = self.ledger.seen(turn, instance)
        verdict = judge(instance, owes=turn.owed > 0 or turn.intent is not None)
        if verdict is Verdict.COMPLETE:
            return await self.put_state(turn, instance, "completed")
        if verdict in {Verdict.DONE, Verdict.FAILED}:
            return self.note_end(turn, instance.state)
        if verdict is Verdict.WAITING_FOR_TASKS:
            again = self.ledger.release(turn, watch_s=self.rules.tasks_watch_s)
            return Advanced(turn.instance_id, "waiting for import tasks", again=again)
        again = self.ledger.release(turn, watch_s=self._watch_s(turn))
        return Advanced(turn.instance_id, "not yet", again=again)

    async def put_state(self, turn: Turn, instance: Instance, state: str) -> Advanced:
        """Set the state of an instance that was just read; its end is noted. Raises ComeAgain."""
        allowed_at = self.clock()
        # 2017's API takes `completed` from any state: an old copy could undo what an editor did since.
        wait_s = self.ledger.state_put(turn, self.rules.quarantine_s if instance.etag is None else None)
        if wait_s is not None:
            raise ComeAgain(f"a PUT of {state} may still be on its way", wait_s)
        try:
            await self.dataset_api.put_state(turn.instance_id, state, instance.etag, allowed_at=allowed_at)
        except NotSent as error:
            self.ledger.state_not_put(turn)
            raise ComeAgain(str(error), self.rules.wait_s(turn.tries)) from error
        except (TurnedAway, OutcomeUnknown, Refused) as error:
            again = await pushing.read(turn, self.ledger, self.dataset_api, self.rules)
            turn = self.ledger.seen(turn, again)
            if again.state in DONE | FAILED:
                return self.note_end(turn, again.state)
            raise ComeAgain(str(error), self.rules.wait_s(turn.tries, slow=not isinstance(error, OutcomeUnknown))) from error
        return self.note_end(turn, state)

    def note_end(self, turn: Turn, state: str) -> Advanced:
        """Note that it has ended, and have its job looked at; gives the lock back."""
        again = self.ledger.finish(turn, state)
        event = "instance_failed" if state in FAILED else "instance_completed"
        log.info(event, instance_id=turn.instance_id, job_id=turn.job_id, state=state)
        return Advanced(turn.instance_id, state, again=again, job_id=turn.job_id)

    async def many(self, instance_ids: Iterable[str], *, check: bool = False, force: bool = False, by: str = "") -> list[str]:
        """
        Take many instances as far as they go, each by itself, and the jobs of those that end. Returns those to push again.

        Raises LedgerUnavailable.
        """
        places = asyncio.Semaphore(self.at_a_time)

        async def one(instance_id: str) -> str | None:
            try:
                async with places:
                    advanced = await self.instance(instance_id, check=check, force=force, by=by)
            except NotNow as not_now:
                log.debug("instance_not_now", instance_id=instance_id, reason=not_now.why)
                return None
            except LostTurn as error:
                log.warning("instance_turn_lost", instance_id=instance_id, reason=str(error))
                return None
            if advanced.job_id:
                await self.jobs([advanced.job_id])
            return instance_id if advanced.again else None

        results = await asyncio.gather(*(one(instance_id) for instance_id in dict.fromkeys(instance_ids)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result  # only now: the others have been taken as far as they go
        return [instance_id for instance_id in results if isinstance(instance_id, str)]

    async def jobs(self, job_ids: Iterable[str]) -> None:
        """
        Look at jobs, a few at a time, each until it was not asked for again meanwhile. Raises LedgerUnavailable.

        While the Import API does not answer they are left for later, so that no count waits behind them.
        """
        places = asyncio.Semaphore(self.at_a_time)

        async def one(job_id: str) -> None:
            try:
                async with places:
                    while self.clock() >= self._import_api_away_until and await self.job(job_id) == "again":
                        pass
            except NotNow:
                return  # whoever holds it sees that it was asked for again
            except LostTurn as error:
                log.warning("job_turn_lost", job_id=job_id, reason=str(error))

        results = await asyncio.gather(*(one(job_id) for job_id in job_ids), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result  # only now: the others have been looked at

    async def job(self, job_id: str) -> str:
        """
        See whether all instances of a job are done, and give it the state that follows. Returns the outcome in a word.

        Raises NotNow when another worker holds it, LedgerUnavailable, LostTurn.
        """
        turn = self.ledger.take_job(job_id)
        try:
            outcome, state, put = await self._job_state(turn)
        except UnknownJob as error:
            log.warning("job_parked", job_id=job_id, reason=str(error))
            self.ledger.release_job(turn, "parked", reason=str(error))
            return "parked"
        except UnknownInstance as error:
            self.ledger.release_job(turn, "later", reason=str(error), delay_s=self.rules.unknown_s)
            return "later"
        except LostTurn:
            raise
        except (Transient, OutcomeUnknown, Refused) as error:
            delay_s = self.rules.wait_s(turn.tries, slow=isinstance(error, TurnedAway | Refused))
            log.info("job_later", job_id=job_id, reason=str(error), delay_s=round(delay_s, 2))
            self.ledger.release_job(turn, "later", reason=str(error), delay_s=delay_s)
            return "later"
        except ComeAgain as later:
            self.ledger.release_job(turn, "later", reason=later.why, delay_s=later.delay_s)
            return "later"
        again = self.ledger.release_job(turn, outcome, state=state)
        if outcome == "done" and put:
            log.info("job_failed" if state in FAILED else "job_completed", job_id=job_id, state=state)
        return "again" if again else outcome

    async def _job_state(self, turn: JobTurn) -> tuple[str, str, bool]:
        """Read the job and its siblings, PUT where needed, and read again; returns outcome, state, and whether it PUT."""
        asked_at = self.clock()
        try:
            job = await self.import_api.get_job(turn.job_id)
        except Transient:
            now = self.clock()
            self._import_api_away_until = now + min(IMPORT_API_PAUSE_S, 9 * (now - asked_at))
            raise
        target = job_target(await self._sibling_states(job))
        if target is None:
            return "not ready", job.state, False
        put = not _right(job.state, target)
        if put:
            job = await self._put_job(turn, job, target)
        if turn.open_copies and turn.sent_age_s is not None and turn.sent_age_s < self.rules.quarantine_s:
            raise ComeAgain("an earlier PUT of the job's state may still be on its way", self.rules.quarantine_s - turn.sent_age_s)
        if not _right(job.state, target):
            raise ComeAgain(f"the job is {job.state} after a PUT of {target}", self.rules.wait_s(turn.tries))
        return "done", job.state, put

    async def _sibling_states(self, job: Job) -> list[str]:
        """The states of the job's instances, a few calls at a time, up to the first that is not done."""
        states: list[str] = []
        for at in range(0, len(job.instance_ids), self.at_a_time):
            some = job.instance_ids[at : at + self.at_a_time]
            siblings = await asyncio.gather(*(self.dataset_api.get_instance(sibling) for sibling in some))
            states += [sibling.state for sibling in siblings]
            if job_target(states) is None:
                break
        return states

    async def _put_job(self, turn: JobTurn, job: Job, target: str) -> Job:
        for word in (target, "error") if target == "failed" else (target,):
            allowed_at = self.clock()
            self.ledger.job_put_sent(turn)
            try:
                await self.import_api.put_state(job.id, word, allowed_at=allowed_at)
            except (NotSent, TurnedAway):
                self.ledger.job_put_answered(turn)
                raise
            except Refused:
                self.ledger.job_put_answered(turn)
                if word == "failed":
                    continue  # before 2021 the Import API knew only the word error
                raise
            self.ledger.job_put_answered(turn)
            break
        return await self.import_api.get_job(job.id)


def _right(state: str, target: str) -> bool:
    return state == target or (target == "failed" and state in FAILED)
