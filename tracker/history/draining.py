"""
Use case: drain the history into the database.

An entry is acknowledged after the transaction that adds it: a crash between the two has it added again, which the
database notices by itself. Whoever finds another process at it leaves it at that.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import structlog

from tracker.errors import DatabaseUnavailable
from tracker.history.entries import Entry

log = structlog.get_logger(__name__)

PAUSE_S = 5.0
"""Seconds between two drains while there is something to drain: what an importer's people wait for is in Redis meanwhile."""

LONGEST_PAUSE_S = 300.0
"""Seconds between two tries after many failures."""

MOST_S = 5.0
"""Seconds after which a drain leaves the rest to the next one: the worker has other things to do."""

LEASE_S = 30.0
"""Seconds after which a drain that never ended no longer keeps others from starting one; the database's own lock still does."""

BATCH = 1000
"""Entries to a transaction."""


class Stream(Protocol):
    """What draining needs of Redis."""

    def undrained(self, most: int) -> list[Entry]:
        """The oldest entries that the database may lack."""

    def drained_to(self, entry_id: str) -> bool:
        """Note that it has all up to this one."""

    def note_success(self) -> bool:
        """It came to its end; whether it had failed before."""

    def note_failure(self, reason: str) -> int:
        """It failed; how often in a row."""


class Session(Protocol):
    """What draining needs of a connection."""

    def migrate(self) -> None:
        """Make or migrate the schema."""

    def add(self, entries: Sequence[Entry]) -> int | None:
        """Add entries, each once; None while another process does so."""


class Database(Protocol):
    """What draining needs of the database."""

    def session(self) -> AbstractContextManager[Session]:
        """Open one connection."""


def drain(stream: Stream, database: Database, clock: Callable[[], float] = time.monotonic) -> int:
    """
    Drain what the database lacks; returns how many entries were new to it.

    A database that is away is noted and logged once, never raised. Raises LedgerUnavailable.
    """
    until, new = clock() + MOST_S, 0
    try:
        with database.session() as session:
            session.migrate()
            while entries := stream.undrained(BATCH):
                added = session.add(entries)
                if added is None:
                    return new
                new += added
                if not stream.drained_to(entries[-1].id) or clock() > until:
                    break
    except DatabaseUnavailable as error:
        if stream.note_failure(str(error)) == 1:
            log.warning("history_database_away", reason=str(error))
        return new
    if stream.note_success():
        log.info("history_database_back")
    return new
