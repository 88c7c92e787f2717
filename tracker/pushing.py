"""
Use case: send what an instance owes to the Dataset API, each count exactly once.

An increment is not idempotent, so an *intent* is written down before the first copy of a PUT leaves, and kept until
its outcome is known: by the answer 200, by the certainty that nothing left, or by reading back. While it is open no
other count of that instance is sent.

    what came back                                     then
    200                                                applied
    no byte left; 401, 403, 429 to the first copy      not applied, come again later
    400 to the first copy                              not applied, parked
    the instance is published                          not applied, what is owed becomes a dead letter
    anything else                                      unknown: read back
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, Protocol

import structlog

from tracker.errors import LettersFull, NotSent, OutcomeUnknown, Refused, Transient, TurnedAway, UnknownInstance
from tracker.instance import PUBLISHED, Instance
from tracker.ledger_state import Intent, Turn

log = structlog.get_logger(__name__)


class Ledger(Protocol):
    """What pushing needs of the ledger; every step checks the turn's lock and raises LostTurn."""

    def seen(self, turn: Turn, instance: Instance) -> Turn:
        """Note what a GET showed; settle what a birth had set aside."""

    def unknown(self, turn: Turn) -> int:
        """The API knows no such instance; how many times in a row."""

    def open_intent(self, turn: Turn, before: int, etag: str | None) -> Turn:
        """Write down that all that is owed is about to be sent."""

    def copy_intent(self, turn: Turn, intent: Intent) -> Turn:
        """Allow one more copy of the open intent."""

    def close_intent(self, turn: Turn, *, applied: bool, etag: str | None, how: str = "answered", release: bool = False) -> Turn:
        """Close the open intent, and with `release` the turn too; `how` is how the outcome was learnt."""

    def no_answer(self) -> None:
        """Note that what came of a PUT is unknown."""

    def bury_owed(self, turn: Turn, reason: str) -> int:
        """Turn what is owed into a dead letter. Raises LettersFull."""


class DatasetApi(Protocol):
    """What pushing needs of the Dataset API; errors as in `tracker.errors`."""

    async def get_instance(self, instance_id: str) -> Instance:
        """Read one instance."""

    async def add_inserted(self, instance_id: str, delta: int, etag: str | None, *, allowed_at: float) -> str | None:
        """Add to the inserted count; returns the new ETag."""


@dataclass(frozen=True, slots=True)
class Rules:
    """
    How long things can take, in seconds.

    A request can reach the API's database up to `max_request_age_s` after the client has given it up, which it does
    after `timeout_s`; so `quarantine_s` after it was sent no copy of it can take effect any more.
    """

    timeout_s: float = 5.0
    max_request_age_s: float = 10.0
    backoff_s: float = 0.2
    backoff_most_s: float = 15.0
    slow_backoff_s: float = 2.0
    slow_backoff_most_s: float = 30.0
    unknown_s: float = 60.0
    watch_s: float = 2.0
    tasks_watch_s: float = 30.0
    jitter: Callable[[], float] = random.random

    @property
    def quarantine_s(self) -> float:
        """How long after sending a request may still take effect."""
        return self.timeout_s + self.max_request_age_s

    def wait_s(self, tries: int, *, slow: bool = False) -> float:
        """Seconds to wait after so many tries: doubling up to a bound, of which a random half is taken off."""
        base, most = (self.slow_backoff_s, self.slow_backoff_most_s) if slow else (self.backoff_s, self.backoff_most_s)
        return min(most, base * 2.0 ** min(tries, 20)) * (0.5 + 0.5 * self.jitter())


class ComeAgain(Exception):
    """The turn ends here, to be taken up again after `delay_s`; `why` is shown to people until then."""

    def __init__(self, why: str, delay_s: float) -> None:
        super().__init__(why)
        self.why = why
        self.delay_s = delay_s


class Park(Exception):
    """The turn ends here and a person is asked; `kind` is one word, `why` a sentence."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why


TURN_S = 3.0
"""Seconds after which a turn ends though more is owed: an instance with a steady flow must not keep the others waiting."""

REST_S = 5.0
"""
Seconds between two pushes of one instance while its records flow and its total is not in: under a steady flow most calls
would carry a record or two. Shorter than anyone looks for a figure that is still rising; the check ends it where the flow ends.
"""

PARKED_AT = 2
"""How often in a row the API must say that it does not know an instance before it is shown as parked."""

_HOW = {NotSent: "not sent", TurnedAway: "turned away", Refused: "refused"}

READ_BACKS = 3
"""Unknown outcomes that one turn reads back before it leaves the rest to a later one."""


async def push(
    turn: Turn,
    ledger: Ledger,
    api: DatasetApi,
    rules: Rules,
    clock: Callable[[], float],
    *,
    allowed_at: float = -math.inf,
    release: bool = False,
) -> Turn:
    """
    Send what is owed, also what gathers meanwhile. Returns the turn, settled, or still owing after `TURN_S`.

    `allowed_at` is the `clock()` before the turn was taken: a turn that says `opened` has an intent to be sent since
    then. With `release` the lock is given back together with the last answer, where nothing else is left to do.

    Raises ComeAgain or Park when it cannot go on now, LostTurn when the lock has passed on. The intent, if one is
    open then, stays as it is for whoever holds the lock next.
    """
    read_backs = 0
    begun = clock()
    if turn.opened:
        turn = await _send(turn, ledger, api, rules, allowed_at, first_copy=True, release=release)
        read_backs = int(turn.intent is not None)
    while True:
        if turn.intent is not None:
            turn = await _resolve(turn, turn.intent, ledger, api, rules, clock)
        elif turn.aside is not None or (turn.owed > 0 and turn.etag is None):
            turn = await look(turn, ledger, api, rules)
            if turn.owed > 0:
                turn = await _send_what_is_owed(turn, ledger, api, rules, clock)
        elif turn.owed > 0:
            turn = await _send_what_is_owed(turn, ledger, api, rules, clock)
        else:
            return turn
        if turn.intent is None and turn.aside is None and clock() - begun > TURN_S:
            return turn
        if turn.intent is not None:
            read_backs += 1
            if read_backs > READ_BACKS:
                raise ComeAgain("the outcome of a PUT is not known yet", rules.wait_s(turn.tries))


async def look(turn: Turn, ledger: Ledger, api: DatasetApi, rules: Rules) -> Turn:
    """GET the instance and note what it shows. Raises ComeAgain where it cannot be read."""
    return ledger.seen(turn, await read(turn, ledger, api, rules))


async def read(turn: Turn, ledger: Ledger, api: DatasetApi, rules: Rules) -> Instance:
    """GET the instance, or raise ComeAgain. The API's own word, twice, that it is unknown parks it."""
    try:
        return await api.get_instance(turn.instance_id)
    except UnknownInstance as error:
        times = ledger.unknown(turn)
        if times == PARKED_AT:
            log.warning("instance_unknown", instance_id=turn.instance_id, reason=str(error), times=times)
        raise ComeAgain(str(error), rules.unknown_s if times >= PARKED_AT else rules.wait_s(turn.tries, slow=True)) from error
    except Transient as error:
        _come_again(turn, error, rules)


async def _send_what_is_owed(turn: Turn, ledger: Ledger, api: DatasetApi, rules: Rules, clock: Callable[[], float]) -> Turn:
    # Taken before the script that allows the sending: a pause between the two makes the request too old to leave.
    allowed_at = clock()
    turn = ledger.open_intent(turn, turn.inserted, turn.etag)
    return await _send(turn, ledger, api, rules, allowed_at, first_copy=True)


async def _send(
    turn: Turn, ledger: Ledger, api: DatasetApi, rules: Rules, allowed_at: float, *, first_copy: bool, release: bool = False
) -> Turn:
    """Send one copy of the open intent. Returns with the intent closed, or still open when its outcome is unknown."""
    intent = turn.intent
    if intent is None:
        return turn
    try:
        etag = await api.add_inserted(turn.instance_id, intent.delta, intent.etag, allowed_at=allowed_at)
    except (NotSent, TurnedAway, Refused) as error:
        if not first_copy:
            # An earlier copy may be the one that was applied: this answer is only about this one.
            ledger.no_answer()
            raise ComeAgain(str(error), rules.wait_s(turn.tries, slow=not isinstance(error, NotSent))) from error
        turn = ledger.close_intent(turn, applied=False, etag=intent.etag, how=_HOW[type(error)])
        if isinstance(error, Refused):
            if not error.published:
                raise Park("refused", str(error)) from error
            try:
                ledger.bury_owed(turn, str(error))
            except LettersFull as full:
                raise ComeAgain(str(full), rules.slow_backoff_most_s) from full
            return await look(turn, ledger, api, rules)
        _come_again(turn, error, rules)
    except OutcomeUnknown as error:
        ledger.no_answer()
        if error.status is None or error.status >= 500:  # noqa: PLR2004 -- a time-out or a server in trouble: not at once
            raise ComeAgain(str(error), rules.wait_s(turn.tries)) from error
        return turn
    return ledger.close_intent(turn, applied=True, etag=etag, release=release)


async def _resolve(turn: Turn, intent: Intent, ledger: Ledger, api: DatasetApi, rules: Rules, clock: Callable[[], float]) -> Turn:
    """Find out what became of an intent, by reading back; send it again where it can have come to nothing so far."""
    if intent.etag is None and intent.age_s < rules.quarantine_s:
        raise ComeAgain("a PUT without ETag may still be on its way", rules.quarantine_s - intent.age_s)
    instance = await read(turn, ledger, api, rules)
    if instance.etag is None and intent.age_s < rules.quarantine_s:
        # The API has lost its ETags (an older version took its place), so If-Match holds no copy back any more.
        raise ComeAgain("a PUT may still be on its way", rules.quarantine_s - intent.age_s)
    # A published instance takes no copy any more: its inserted count tells, whatever the ETag.
    if intent.etag is not None and instance.etag == intent.etag and instance.state != PUBLISHED:
        allowed_at = clock()
        turn = ledger.copy_intent(turn, intent)
        return await _send(turn, ledger, api, rules, allowed_at, first_copy=False)
    if instance.inserted_observations == intent.before + intent.delta:
        turn = ledger.close_intent(turn, applied=True, etag=instance.etag, how="read back")
    elif instance.inserted_observations == intent.before:
        turn = ledger.close_intent(turn, applied=False, etag=instance.etag, how="read back")
    else:
        expected = f"expected {intent.before} or {intent.before + intent.delta}"
        raise Park("foreign", f"somebody else counts: the API says {instance.inserted_observations}, {expected}")
    return ledger.seen(turn, instance)


def _come_again(turn: Turn, error: Transient, rules: Rules) -> NoReturn:
    raise ComeAgain(str(error), rules.wait_s(turn.tries, slow=isinstance(error, TurnedAway))) from error
