"""What people ask of the history: the database has it where there is one, Redis what is not in there yet, or all it still holds."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr

from tracker.errors import BadInput, DatabaseUnavailable
from tracker.history import draining
from tracker.history.entries import SENTENCES, Entry
from tracker.history.stream import HistoryStream, Wanted
from tracker.setting_values import duration

NO_PSYCOPG = "DB_ACCESS is set, and Python's package psycopg is not installed: pip install import-tracker[history]"


@dataclass(frozen=True, slots=True)
class Told:
    """
    Entries, newest first, and where they come from: `database` or `redis`.

    `trouble` says why the database was not asked though there is one: then older entries may be missing.
    """

    entries: tuple[Entry, ...]
    source: str
    trouble: str = ""


class Session(draining.Session, Protocol):
    """What reading needs of a connection."""

    def newest(self, wanted: Wanted) -> list[Entry]:
        """The newest entries."""


class Database(Protocol):
    """The database, or what stands in for it."""

    def session(self) -> AbstractContextManager[Session]:
        """Open one connection."""


class _NoDriver:
    """Stands in where psycopg is not installed."""

    def session(self) -> AbstractContextManager[Session]:
        """Say so."""
        raise DatabaseUnavailable(NO_PSYCOPG)


def make_database(access: SecretStr | None) -> Database | None:
    """The database that `DB_ACCESS` names, None where it names none. psycopg is imported only here."""
    if access is None:
        return None
    try:
        from tracker.history.database import HistoryDatabase  # noqa: PLC0415 -- an extra that only some have
    except ImportError:
        return _NoDriver()
    return HistoryDatabase(access.get_secret_value())


class History:
    """The history for people."""

    def __init__(self, stream: HistoryStream, database: Database | None) -> None:
        self.stream = stream
        self._database = database

    def ask(
        self, *, limit: int, instance_id: str | None = None, job_id: str | None = None, what: Sequence[str] = (), since: str = ""
    ) -> Told:
        """
        The newest entries that agree with all that is given; `since` is a duration up to now, such as `2h`.

        A database that does not answer is said, and what Redis holds is told. Raises BadInput, LedgerUnavailable.
        """
        for word in what:
            if word not in SENTENCES:
                raise BadInput(f"what={word[:40]!r}: expected one of {', '.join(SENTENCES)}")
        since_s = None
        if since:
            try:
                since_s = self.stream.now_s() - duration(since)
            except ValueError as error:
                raise BadInput(f"since={since[:40]!r}: expected {error}") from None
        return self.newest(Wanted(limit, instance_id, job_id, tuple(what), since_s))

    def newest(self, wanted: Wanted) -> Told:
        """The newest entries, from the database and from what it may lack of Redis'."""
        if self._database is None:
            return Told(tuple(self.stream.newest(wanted)), "redis")
        # First Redis: what is drained between the two readings is then seen twice, not missed.
        fresh = self.stream.newest(wanted, undrained=True)
        try:
            with self._database.session() as session:
                kept = session.newest(wanted)
        except DatabaseUnavailable as error:
            return Told(tuple(self.stream.newest(wanted)), "redis", str(error))
        entries = {(entry.id, entry.what, entry.instance_id): entry for entry in (*fresh, *kept)}
        newest = sorted(entries.values(), key=lambda entry: entry.order, reverse=True)
        return Told(tuple(newest[: wanted.limit]), "database")
