"""
Use case: a person wants an instance ended whatever is missing, or compared and taken as far as it goes.

It is the workers' own code, under the same lock and with the same If-Match. What an ended instance owes becomes a dead
letter; its job follows by the ordinary rules.
"""

from typing import Protocol

import structlog

from tracker import pushing
from tracker.completing import Advanced, Advancing
from tracker.errors import LettersFull, Transient
from tracker.instance import DONE, FAILED
from tracker.ledger_state import NotNow, Turn
from tracker.pushing import ComeAgain

log = structlog.get_logger(__name__)

NOT_NOW = {
    "BUSY": "a worker holds it",
    "NOT_READY": "nothing is pushed or completed now: the pushes are paused, or the ledger has just been born; see tracker health",
    "NONE": "it is not followed: tracker register it first",
}


class Steering(Protocol):
    """Where it is written down what a person wants."""

    def note_forced(self, instance_id: str, job_id: str | None, state: str, *, who: str, why: str) -> None:
        """Write it down before it is done."""


class _Burying(Advancing):
    """Advances one instance whose owed counts become a dead letter as it ends, with `reason`."""

    reason = ""

    def note_end(self, turn: Turn, state: str) -> Advanced:
        try:
            count = self.ledger.bury_owed(turn, self.reason)
        except LettersFull as full:
            # The API has taken the state already. What is owed stays owed: it is pushed, which loses nothing.
            log.warning("letters_full_at_the_end", instance_id=turn.instance_id, reason=str(full))
        else:
            log.warning("instance_ended_by_force", instance_id=turn.instance_id, state=state, buried=count, reason=self.reason)
        return super().note_end(turn, state)


async def end(advancing: Advancing, instance_id: str, state: str, steering: Steering, *, who: str, why: str) -> Advanced:
    """
    Set an instance's state, whatever it owes or lacks; one that has ended already stays as it is.

    Returns what came of it. Raises Transient when it cannot be done now: nothing has been given up then.
    """
    forced = _Burying(advancing.ledger, advancing.dataset_api, advancing.import_api, advancing.rules, advancing.clock)
    forced.reason = f"{state} by force by {who}{f': {why}' if why else ''}"
    turn = _take(advancing, instance_id, who)
    try:
        instance = await pushing.read(turn, forced.ledger, forced.dataset_api, forced.rules)
        turn = forced.ledger.seen(turn, instance)
        if instance.state in DONE | FAILED:
            ended = advancing.note_end(turn, instance.state)
        else:
            steering.note_forced(instance_id, turn.job_id, state, who=who, why=why)
            ended = await forced.put_state(turn, instance, state)
    except ComeAgain as later:
        advancing.ledger.release(turn, delay_s=later.delay_s, reason=later.why, watch_s=later.delay_s)
        raise Transient(f"{instance_id} has not ended here: {later.why}. To say it again is safe") from later
    if ended.job_id:
        await advancing.jobs([ended.job_id])
    return ended


async def settle(advancing: Advancing, instance_id: str, *, who: str) -> str:
    """
    Take an instance as far as the rules go: read an open intent back, retry what is parked, push, complete.

    Returns the outcome in a word. Raises Transient when it cannot be taken now.
    """
    try:
        advanced = await advancing.instance(instance_id, check=True, force=True, by=who)
    except NotNow as error:
        raise Transient(f"{instance_id}: {NOT_NOW.get(error.why, error.why)}") from error
    if advanced.job_id:
        await advancing.jobs([advanced.job_id])
    return advanced.outcome


def _take(advancing: Advancing, instance_id: str, who: str) -> Turn:
    try:
        return advancing.ledger.take(instance_id, force=True, by=who)
    except NotNow as error:
        raise Transient(f"{instance_id}: {NOT_NOW.get(error.why, error.why)}") from error
