"""The history, from the scripts that write it over Redis' bound into a real PostgreSQL, and what people are told of it."""

import os
import signal
import threading
from typing import Any, cast

import fakeredis
import psycopg
import pytest
from structlog.testing import capture_logs

from tests.contract.batches import P0, counts, take_settled
from tests.postgres import Postgres
from tracker.errors import DatabaseUnavailable, LedgerUnavailable
from tracker.history import database, draining
from tracker.history.database import LOCK, MIGRATIONS, HistoryDatabase
from tracker.history.draining import drain
from tracker.history.reading import History
from tracker.history.stream import HistoryStream, Wanted
from tracker.ledger import Ledger
from tracker.ledger_state import PartitionStart


@pytest.fixture
def stream(ledger: Ledger) -> HistoryStream:
    """The history of the ledger, on each kind of server."""
    return HistoryStream(ledger.client, ledger.prefix)


@pytest.fixture
def empty(postgres: Postgres) -> Postgres:
    """A database that knows no history."""
    postgres.start()
    with postgres.connect() as connection:
        connection.execute("DROP SCHEMA IF EXISTS import_tracker CASCADE")
    return postgres


@pytest.fixture
def kept(empty: Postgres) -> HistoryDatabase:
    return HistoryDatabase(empty.access)


@pytest.fixture
def memory() -> Ledger:
    """A ledger on the in-memory server: what matters here is the database."""
    return a_ledger(fakeredis.FakeRedis(server=fakeredis.FakeServer(), decode_responses=True))


def a_ledger(client: Any) -> Ledger:
    ledger = Ledger(client, "t:")
    ledger.birth(None, 1, [PartitionStart(P0, "e1", 0, 0)], settle_s=0, reason="first start")
    return ledger


def of(ledger: Ledger) -> HistoryStream:
    return HistoryStream(ledger.client, ledger.prefix)


def register(ledger: Ledger, *names: str) -> None:
    for name in names:
        ledger.register(name, None)


def rows(postgres: Postgres) -> list[str]:
    """The instances of all entries in the database, in order."""
    with postgres.connect() as connection:
        found = connection.execute("SELECT coalesce(instance_id, what) FROM import_tracker.history ORDER BY ms, number").fetchall()
    return [cast("str", name) for (name,) in found]


def tend(stream: HistoryStream, most: int = 1000, *, configured: bool = True) -> tuple[int, bool]:
    return stream.tend(most, draining=configured, pause_s=5.0, longest_pause_s=300.0)


# -- in Redis -------------------------------------------------------------------------------------------------------


def test_the_history_is_bounded_in_every_process_once_one_has_said_the_bound(ledger: Ledger, stream: HistoryStream) -> None:
    tend(stream, 20, configured=False)
    register(ledger, *(f"i-{number}" for number in range(250)))
    assert 20 <= stream.draining().entries < 140
    assert stream.newest(Wanted(1))[0].instance_id == "i-249"


def test_entries_trimmed_before_they_were_drained_are_counted_and_told_once(ledger: Ledger, stream: HistoryStream) -> None:
    tend(stream, 20)
    register(ledger, *(f"i-{number}" for number in range(50)))
    stream.drained_to(stream.undrained(11)[-1].id)  # the birth, and 10 registrations
    register(ledger, *(f"j-{number}" for number in range(150)))
    held = stream.draining().entries
    lost = 201 - held - 11
    assert lost > 0
    assert stream.draining().lost == lost
    assert tend(stream, 20)[0] == lost
    assert tend(stream, 20)[0] == 0


def test_without_a_database_nothing_is_lost_by_trimming(ledger: Ledger, stream: HistoryStream) -> None:
    tend(stream, 20, configured=False)
    register(ledger, *(f"i-{number}" for number in range(150)))
    assert stream.draining().entries < 151
    assert (stream.draining().lost, tend(stream, 20, configured=False)) == (0, (0, False))


def test_it_is_drained_when_there_is_something_and_ever_more_seldom_after_failures(ledger: Ledger, stream: HistoryStream) -> None:
    assert [tend(stream)[1] for _ in range(2)] == [True, False]

    def due_after(seconds: float) -> bool:
        ledger.client.hset(f"{ledger.prefix}history_state", "tried", int((stream.now_s() - seconds) * 1000))
        return tend(stream)[1]

    assert due_after(6)
    stream.note_failure("away")
    stream.note_failure("away")
    assert [due_after(seconds) for seconds in (6, 19, 21)] == [False, False, True]
    for _ in range(20):
        stream.note_failure("away")
    assert due_after(301)
    stream.drained_to(stream.newest(Wanted(1))[0].id)
    assert not due_after(301)


def test_what_is_asked_for_is_found_from_the_newest_on(ledger: Ledger, stream: HistoryStream) -> None:
    ledger.register("i-1", "job-1")
    ledger.apply(counts(ledger, 0, ("i-1", 5), ("i-2", 7)))
    assert [entry.what for entry in stream.newest(Wanted())] == ["first", "first", "registered", "birth"]
    assert [entry.what for entry in stream.newest(Wanted(instance_id="i-1"))] == ["first", "registered"]
    assert [entry.instance_id for entry in stream.newest(Wanted(1, what=("first",)))] == ["i-2"]
    assert [entry.what for entry in stream.newest(Wanted(what=("birth", "registered")))] == ["registered", "birth"]
    assert [entry.what for entry in stream.newest(Wanted(job_id="job-1"))] == ["first", "registered"]
    assert stream.newest(Wanted(since_s=stream.now_s() + 10)) == []


# -- into PostgreSQL ------------------------------------------------------------------------------------------------


def test_what_happened_stands_once_in_the_database_and_is_told_from_there(memory: Ledger, kept: HistoryDatabase) -> None:
    stream, history = of(memory), History(of(memory), kept)
    memory.register("i-1", "job-1")
    memory.add_by_hand("i-1", 1500, "ticket-1", "ann@host")
    assert (drain(stream, kept), drain(stream, kept)) == (4, 0)
    turn = take_settled(memory, "i-1", total=1500)
    memory.finish(memory.close_intent(memory.open_intent(turn, 0, "t0"), applied=True, etag="t1"), "completed")
    told = history.newest(Wanted())
    assert told.source == "database"
    assert [entry.what for entry in told.entries] == ["completed", "pushed", "total", "by_hand", "first", "registered", "birth"]
    drain(stream, kept)
    memory.client.delete("t:history")
    again = history.newest(Wanted())
    assert [entry.sentence for entry in again.entries] == [entry.sentence for entry in told.entries]
    assert again.entries[3].sentence == "1,500 added by hand by ann@host with key ticket-1"
    assert [entry.what for entry in history.newest(Wanted(2, job_id="job-1")).entries] == ["completed", "pushed"]
    assert [entry.what for entry in history.newest(Wanted(what=("first",), since_s=0)).entries] == ["first"]
    assert [entry.what for entry in history.newest(Wanted(what=("first", "pushed"))).entries] == ["pushed", "first"]


def test_a_crash_between_commit_and_acknowledgement_adds_nothing_twice(memory: Ledger, empty: Postgres, kept: HistoryDatabase) -> None:
    class Crashing(HistoryStream):
        def drained_to(self, entry_id: str) -> bool:
            raise LedgerUnavailable("killed")

    register(memory, "i-1", "i-2")
    with pytest.raises(LedgerUnavailable):
        drain(Crashing(memory.client, memory.prefix), kept)
    assert rows(empty) == ["birth", "i-1", "i-2"]
    register(memory, "i-3")
    assert drain(of(memory), kept) == 1
    assert rows(empty) == ["birth", "i-1", "i-2", "i-3"]


def test_several_that_drain_at_once_add_each_entry_once_and_make_the_schema_once(
    memory: Ledger, empty: Postgres, kept: HistoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "BATCH", 10)
    register(memory, *(f"i-{number}" for number in range(200)))
    new: list[int] = []
    threads = [threading.Thread(target=lambda: new.append(drain(of(memory), kept))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(new), len(rows(empty))) == (201, 201)
    assert of(memory).undrained() == []
    assert of(memory).draining().failures == 0


def test_one_that_finds_another_at_it_leaves_it_at_that(memory: Ledger, empty: Postgres, kept: HistoryDatabase) -> None:
    drain(of(memory), kept)
    register(memory, "i-1")
    with empty.connect() as other, other.transaction():
        other.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        assert drain(of(memory), kept) == 0
    assert (rows(empty), drain(of(memory), kept)) == (["birth"], 1)


def test_a_database_that_is_away_is_said_once_and_gets_all_when_it_is_back(memory: Ledger, empty: Postgres, kept: HistoryDatabase) -> None:
    stream = of(memory)
    tend(stream)
    drain(stream, kept)
    register(memory, "i-1")
    empty.stop()
    with capture_logs() as logs:
        assert [drain(stream, kept) for _ in range(3)] == [0, 0, 0]
        state = stream.draining()
        told = History(stream, kept).newest(Wanted())
        empty.start()
        assert drain(stream, kept) == 1
    assert [entry["event"] for entry in logs] == ["history_database_away", "history_database_back"]
    assert (state.failures, state.waiting_s is not None, told.source) == (3, True, "redis")
    assert "Connection refused" in state.reason
    assert "\n" not in state.reason
    assert told.trouble == state.reason
    assert (stream.draining().failures, stream.draining().waiting_s) == (0, None)
    assert rows(empty) == ["birth", "i-1"]


@pytest.mark.parametrize("wrong", ["password='other-s3cret'", "dbname=none password='s3cret-\\'word'"])
def test_no_error_shows_the_password(empty: Postgres, wrong: str) -> None:
    with pytest.raises(DatabaseUnavailable) as error, HistoryDatabase(f"user=dp host=127.0.0.1 port={empty.port} {wrong}").session():
        pass
    assert str(error.value).startswith("the database of DB_ACCESS: connection failed: ")
    assert "s3cret" not in str(error.value)


def test_a_url_is_understood_as_well(memory: Ledger, empty: Postgres) -> None:
    kept = HistoryDatabase(f"postgresql://dp:s3cret-%27word@127.0.0.1:{empty.port}/ImportJobs?sslmode=disable")
    assert drain(of(memory), kept) == 1


def test_a_redis_that_lost_everything_is_drained_from_its_new_beginning(empty: Postgres, kept: HistoryDatabase) -> None:
    server = fakeredis.FakeServer()
    client = fakeredis.FakeRedis(server=server, decode_responses=True)
    first = a_ledger(client)
    register(first, "i-1")
    drain(of(first), kept)
    client.flushall()
    second = a_ledger(client)
    register(second, "i-2")
    assert drain(of(second), kept) == 2
    assert rows(empty) == ["birth", "i-1", "birth", "i-2"]


def test_a_redis_that_lost_everything_and_whose_clock_went_back_is_drained_all_the_same(empty: Postgres, kept: HistoryDatabase) -> None:
    """Ids then repeat: entries of one id are told apart by their content, and what was drained before does not hide what is new."""
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer(), decode_responses=True)
    client.xadd("t:history", {"w": "registered", "i": "i-1"}, id="5000-0")
    client.xadd("t:history", {"w": "registered", "i": "i-2"}, id="6000-0")
    stream = HistoryStream(client, "t:")
    assert drain(stream, kept) == 2
    client.delete("t:history")  # and its state is an older one, which knows of 6000
    client.xadd("t:history", {"w": "registered", "i": "i-3"}, id="5000-0")
    assert drain(stream, kept) == 1
    client.xadd("t:history", {"w": "registered", "i": "i-4"}, id="5500-0")
    assert drain(stream, kept) == 1
    assert sorted(rows(empty)) == ["i-1", "i-2", "i-3", "i-4"]


def test_a_redis_that_went_back_to_a_snapshot_is_drained_on_from_there(empty: Postgres, kept: HistoryDatabase) -> None:
    client = fakeredis.FakeRedis(server=fakeredis.FakeServer(), decode_responses=True)
    ledger = a_ledger(client)
    register(ledger, "i-1")
    drain(of(ledger), kept)
    snapshot = client.xrange("t:history"), client.hgetall("t:history_state")
    register(ledger, "i-2")
    drain(of(ledger), kept)
    client.delete("t:history", "t:history_state")
    for entry_id, fields in cast("Any", snapshot[0]):
        client.xadd("t:history", fields, id=entry_id)
    client.hset("t:history_state", mapping=cast("Any", snapshot[1]))
    register(ledger, "i-3")
    assert drain(of(ledger), kept) == 1
    assert rows(empty) == ["birth", "i-1", "i-2", "i-3"]


def test_an_acknowledgement_that_comes_after_redis_lost_its_data_is_passed_over(memory: Ledger, stream: HistoryStream) -> None:
    assert not stream.drained_to("99999999999999-0")
    assert len(stream.undrained()) == 1


def test_a_schema_of_an_older_version_is_migrated_with_what_it_holds(
    memory: Ledger, empty: Postgres, kept: HistoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(database, "MIGRATIONS", MIGRATIONS[:1])
        drain(of(memory), kept)
    register(memory, "i-1")
    drain(of(memory), kept)
    with empty.connect() as connection:
        versions = connection.execute("SELECT version FROM import_tracker.schema_version ORDER BY version").fetchall()
        indexes = connection.execute("SELECT FROM pg_indexes WHERE indexname LIKE 'history_of%'").fetchall()
    assert (versions, len(indexes), rows(empty)) == ([(1,), (2,)], 3, ["birth", "i-1"])


def test_a_schema_of_a_newer_version_is_left_alone(memory: Ledger, empty: Postgres, kept: HistoryDatabase) -> None:
    drain(of(memory), kept)
    with empty.connect() as connection:
        connection.execute("INSERT INTO import_tracker.schema_version (version) VALUES (99)")
    register(memory, "i-1")
    drain(of(memory), kept)
    assert rows(empty) == ["birth"]
    assert of(memory).draining().reason == (
        f"the schema import_tracker in the database of DB_ACCESS has version 99, this program knows {len(MIGRATIONS)}: upgrade the tracker"
    )
    assert History(of(memory), kept).newest(Wanted()).source == "redis"


def test_somebody_may_make_the_schema_for_a_user_who_may_not(memory: Ledger, empty: Postgres) -> None:
    with empty.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS writer")
        connection.execute("CREATE ROLE writer LOGIN PASSWORD 'w'")
        connection.execute("CREATE SCHEMA import_tracker AUTHORIZATION writer")
    kept = HistoryDatabase(f"user=writer password=w dbname=ImportJobs host=127.0.0.1 port={empty.port}")
    assert drain(of(memory), kept) == 1


def test_a_lock_that_somebody_holds_on_the_table_is_not_waited_for_long(
    memory: Ledger, empty: Postgres, kept: HistoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    drain(of(memory), kept)
    register(memory, "i-1")
    monkeypatch.setattr(database, "STATEMENT_S", 0.2)
    with empty.connect() as other, other.transaction():
        other.execute("LOCK TABLE import_tracker.history")
        assert drain(of(memory), kept) == 0
    assert "timeout" in of(memory).draining().reason
    assert drain(of(memory), kept) == 1


def ask_stopped(session: database.Session) -> None:
    """Ask while the process at the other end stands still."""
    backend = session._connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    try:
        session.newest(Wanted())
    finally:
        os.kill(backend, signal.SIGCONT)


def test_a_database_that_stands_still_under_a_session_holds_nobody_up(
    memory: Ledger, kept: HistoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel still answers, so that neither the statement's bound nor the connection's is of any use."""
    drain(of(memory), kept)
    monkeypatch.setattr(database, "SESSION_S", 0.3)
    with pytest.raises(DatabaseUnavailable), kept.session() as session:
        ask_stopped(session)


def test_a_drain_leaves_the_rest_to_the_next_after_a_while(memory: Ledger, kept: HistoryDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "BATCH", 10)
    register(memory, *(f"i-{number}" for number in range(24)))
    clock = iter([0.0, 3.0, draining.MOST_S + 1])
    assert drain(of(memory), kept, lambda: next(clock)) == 20
    assert drain(of(memory), kept) == 5


def test_characters_that_postgresql_does_not_hold_do_not_stop_it(memory: Ledger, empty: Postgres, kept: HistoryDatabase) -> None:
    memory.register("i-1", "a\x00b")
    assert drain(of(memory), kept) == 2
    with empty.connect() as connection:
        assert connection.execute("SELECT job_id FROM import_tracker.history WHERE what = 'registered'").fetchall() == [("a\ufffdb",)]


def test_a_psycopg_error_is_never_raised_as_such(kept: HistoryDatabase, empty: Postgres) -> None:
    with pytest.raises(DatabaseUnavailable), kept.session():
        raise psycopg.OperationalError("gone")
