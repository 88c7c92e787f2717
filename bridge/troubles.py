"""
What does not work at present: tried again with growing waits, said once when it begins and once when it is over. Pure.

An activity (polling, reading positions, …) fails because of a neighbour, Kafka or the ledger. Each activity waits for
itself; the log speaks of the neighbour.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from tracker.errors import LedgerUnavailable, LostTurn, Transient

log = structlog.get_logger(__name__)

FIRST_WAIT_S = 0.1
LETTERS = "dead letters"

LONGEST_WAIT_S = 5.0
"""The wait after an activity's first failure, doubling up to this: a neighbour that is back is noticed in seconds."""


class Troubles:
    """Keeps who fails why, and who may try again when."""

    def __init__(self) -> None:
        self._waits: dict[str, tuple[float, float]] = {}
        self._failing: dict[str, tuple[str, str]] = {}

    @property
    def words(self) -> dict[str, str]:
        """The last error by neighbour, in words."""
        return dict(self._failing.values())

    def may_try(self, activity: str, now: float) -> bool:
        """Whether the activity's wait is over."""
        return self._waits.get(activity, (0.0, now))[1] <= now

    def healthy(self, activity: str) -> bool:
        """Whether the activity did not fail when it was last tried."""
        return activity not in self._failing

    def letters(self, *, full: bool) -> bool:
        """Note whether no dead letter is taken any more, so that partitions stand still; returns whether there is room again."""
        if full == (LETTERS in self._failing):
            return False
        if full:
            self._failing[LETTERS] = (LETTERS, "no dead letter is taken any more, so partitions may stand still: tracker dead-letters list")
            log.error("dead_letters_full", reason="DEAD_LETTERS_MAX is reached: records that cannot be decoded hold up their partitions")
            return False
        self._failing.pop(LETTERS)
        log.info("dead_letters_have_room")
        return True

    @contextmanager
    def trying(self, activity: str, now: float) -> Iterator[None]:
        """Catch Transient, and note whether the activity failed."""
        try:
            yield
        except Transient as error:
            self.failed(activity, error, now)
        else:
            self.well(activity)

    def failed(self, activity: str, error: Transient, now: float) -> None:
        """Note a failure."""
        neighbour = "ledger" if isinstance(error, LedgerUnavailable | LostTurn) else "kafka"
        if neighbour not in self.words:
            log.warning("neighbour_away", neighbour=neighbour, while_=activity, reason=str(error))
        self._failing[activity] = (neighbour, str(error))
        wait_s = min(self._waits.get(activity, (FIRST_WAIT_S / 2, 0.0))[0] * 2, LONGEST_WAIT_S)
        self._waits[activity] = (wait_s, now + wait_s)

    def well(self, activity: str) -> None:
        """Note a success."""
        self._waits.pop(activity, None)
        neighbour, _ = self._failing.pop(activity, (None, ""))
        if neighbour and neighbour not in self.words:
            log.info("neighbour_back", neighbour=neighbour)
