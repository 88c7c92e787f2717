"""
The PostgreSQL room: the history in a schema of its own, `import_tracker`, made and migrated by itself.

Each entry stands there once, however often it is drained: it is told apart by its id in the stream and by its content,
both of which survive a Redis that has lost its data. Every transaction is bounded in time, and no error shows a password.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from tracker.errors import DatabaseUnavailable
from tracker.history.entries import Entry
from tracker.history.stream import Wanted
from tracker.setting_values import MASK, database_secrets

CONNECT_S = 3
"""Seconds that one address may take to accept a connection."""

STATEMENT_S = 5
"""Seconds that a statement, or its wait for a lock, may take: a batch of 1,000 entries takes some tens of milliseconds."""

SESSION_S = 20
"""Seconds after which a session is cut: the server bounds its statements, and one that stands still bounds nothing."""

LOCK = 0x696D_706F_7274
"""The advisory lock of whoever drains; the next number is that of whoever migrates."""

MIGRATIONS: tuple[LiteralString, ...] = (
    """
    CREATE TABLE import_tracker.history (
        ms bigint NOT NULL,
        number bigint NOT NULL,
        digest bytea NOT NULL,
        at timestamptz NOT NULL,
        what text NOT NULL,
        instance_id text,
        job_id text,
        details jsonb NOT NULL,
        PRIMARY KEY (ms, number, digest)
    );
    COMMENT ON TABLE import_tracker.history IS
        'What has happened, by the time of Redis. ms and number: the id in its stream. digest: tells entries of one id apart.';
    """,
    """
    CREATE INDEX history_of_instance ON import_tracker.history (instance_id, ms, number) WHERE instance_id IS NOT NULL;
    CREATE INDEX history_of_job ON import_tracker.history (job_id, ms, number) WHERE job_id IS NOT NULL;
    CREATE INDEX history_of_kind ON import_tracker.history (what, ms, number);
    """,
)
"""One step for each version of the schema. A step that has been released is never changed."""


class HistoryDatabase:
    """The database that `DB_ACCESS` names. Opening it raises DatabaseUnavailable, as does everything done with it."""

    def __init__(self, access: str) -> None:
        """`access` is a libpq keyword string or URL."""
        self._access = access

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """One connection, closed afterwards."""
        with self._reaching():
            # Keep-alives end a connection whose other side is gone without a word, after about 10 s.
            connection = psycopg.connect(
                self._access,
                connect_timeout=CONNECT_S,
                application_name="import-tracker",
                keepalives_idle=5,
                keepalives_interval=2,
                keepalives_count=2,
                tcp_user_timeout=10_000,
                prepare_threshold=None,  # a pooler between us may give each transaction another connection
                autocommit=True,
            )
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # what others commit while we wait for a lock is seen
            with connection:
                watchdog = threading.Timer(SESSION_S, _cut, (connection,))
                watchdog.daemon = True
                watchdog.start()
                try:
                    yield Session(connection)
                finally:
                    watchdog.cancel()
                    watchdog.join()  # the descriptor is not another's before it has ended

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Translate what psycopg raises, on one line and without secrets."""
        try:
            yield
        except psycopg.Error as error:
            text = " ".join(str(error).split()) or type(error).__name__
            for secret in database_secrets(self._access):
                text = text.replace(secret, MASK)
            raise DatabaseUnavailable(f"the database of DB_ACCESS: {text}") from None


def _cut(connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
    """End a connection under whoever waits for it: neither keep-alives nor a user time-out notice a server whose kernel answers."""
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


class Session:
    """What can be done over one connection."""

    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        self._connection = connection

    @contextmanager
    def _transaction(self) -> Iterator["psycopg.Cursor[tuple[Any, ...]]"]:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            bound = str(STATEMENT_S * 1000)
            cursor.execute("SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)", (bound, bound))
            yield cursor

    def migrate(self) -> None:
        """Make the schema, or bring it to this version; of several that do so at once one does it. Refuses a newer one."""
        if self._version() == len(MIGRATIONS):
            return
        with self._transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK + 1,))
            version = self._version()
            # Not "IF NOT EXISTS": that asks for the right to make schemas, also where somebody else has made this one.
            if not cursor.execute("SELECT true FROM pg_namespace WHERE nspname = 'import_tracker'").fetchall():
                cursor.execute("CREATE SCHEMA import_tracker")
            if version == 0:
                cursor.execute(
                    "CREATE TABLE IF NOT EXISTS import_tracker.schema_version "
                    "(version integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"
                )
            for number, step in enumerate(MIGRATIONS[version:], version + 1):
                cursor.execute(step)
                cursor.execute("INSERT INTO import_tracker.schema_version (version) VALUES (%s)", (number,))

    def _version(self) -> int:
        """The schema's version, 0 where there is none. Raises DatabaseUnavailable for a newer one."""
        with self._transaction() as cursor:
            # Not to_regclass: it answers from a cache, which may be older than the wait for another's migration.
            known = "SELECT true FROM pg_tables WHERE schemaname = 'import_tracker' AND tablename = 'schema_version'"
            if not cursor.execute(known).fetchall():
                return 0
            ((version,),) = cursor.execute("SELECT coalesce(max(version), 0) FROM import_tracker.schema_version").fetchall()
        if version > len(MIGRATIONS):
            raise DatabaseUnavailable(
                f"the schema import_tracker in the database of DB_ACCESS has version {version}, this program knows {len(MIGRATIONS)}: "
                "upgrade the tracker"
            )
        return int(version)

    def add(self, entries: Sequence[Entry]) -> int | None:
        """
        Add entries in one transaction, each once; returns how many were new, None while another process is adding some.

        When it returns, they are committed.
        """
        rows = [(*entry.order, entry.digest, entry.at_s, *map(_text, (entry.what, entry.instance_id, entry.job_id))) for entry in entries]
        details = [json.dumps({_text(name): _text(value) for name, value in entry.details.items()}) for entry in entries]
        with self._transaction() as cursor:
            if cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", (LOCK,)).fetchall() == [(False,)]:
                return None
            cursor.execute(
                "INSERT INTO import_tracker.history (ms, number, digest, at, what, instance_id, job_id, details) "
                "SELECT ms, number, digest, to_timestamp(at_s), what, instance_id, job_id, details::jsonb "
                "FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::float8[], %s::text[], %s::text[], %s::text[], %s::text[]) "
                "AS new (ms, number, digest, at_s, what, instance_id, job_id, details) "
                "ON CONFLICT (ms, number, digest) DO NOTHING",
                (*map(list, zip(*rows, strict=True)), details),
            )
            return cursor.rowcount

    def newest(self, wanted: Wanted) -> list[Entry]:
        """The newest entries, newest first; none while nothing has been drained yet."""
        if self._version() == 0:
            return []
        since_ms = None if wanted.since_s is None else int(wanted.since_s * 1000)
        conditions = [
            (sql.SQL("instance_id = {}"), wanted.instance_id),
            (sql.SQL("job_id = {}"), wanted.job_id),
            (sql.SQL("what = ANY({})"), list(wanted.what) or None),
            (sql.SQL("ms >= {}"), since_ms),
        ]
        given = [condition.format(sql.Literal(value)) for condition, value in conditions if value is not None]
        query = sql.SQL(
            "SELECT ms, number, what, instance_id, job_id, details FROM import_tracker.history WHERE {} "
            "ORDER BY ms DESC, number DESC, digest LIMIT {}"
        ).format(sql.SQL(" AND ").join([sql.SQL("true"), *given]), sql.Literal(wanted.limit))
        with self._transaction() as cursor:
            rows = cursor.execute(query).fetchall()
        return [Entry(f"{ms}-{number}", what, instance, job, details) for ms, number, what, instance, job, details in rows]


def _text(text: str | None) -> str | None:
    """PostgreSQL holds every character but one."""
    return None if text is None else text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
