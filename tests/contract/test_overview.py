"""What people see, over the in-memory fake and over real servers: the fake must not be all that the views are true of."""

import os
import uuid

import pytest
import redis

from tests.contract.batches import counts, take_settled
from tracker.errors import LedgerUnavailable, LostTurn
from tracker.findings import unusable
from tracker.ledger import Ledger
from tracker.overview import Overview


def test_figures_and_views_agree_with_the_ledger(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5), ("i-2", 7)))
    turn = ledger.open_intent(take_settled(ledger, "i-1", total=9), 0, "t0")
    ledger.expect_job("job-1")
    overview = Overview(ledger)
    figures = overview.figures()
    assert (figures.followed, figures.owing, figures.owed, figures.jobs_pending) == (2, 2, 12, 1)
    assert (figures.ledger.verified, figures.ledger.ready, figures.unacked) == (True, True, 0)
    assert [(view.id, view.owed) for view in overview.instances("owing").items] == [("i-1", 5), ("i-2", 7)]
    view = overview.instance("i-1")
    assert view is not None
    assert view.intent is not None
    assert (view.total, view.intent.delta) == (9, 5)
    ledger.release(ledger.close_intent(turn, applied=True, etag="t1"))
    job = overview.job("job-1")
    assert job is not None
    assert (job.pending, job.instances) == (True, ("i-1",))
    assert [birth.reason for birth in overview.births()] == ["first start"]


def test_a_void_ledger_is_refused_until_the_next_birth(ledger: Ledger) -> None:
    void = ledger.void("a person asked for it")
    with pytest.raises(LedgerUnavailable, match="void"):
        ledger.register("i-1", None)
    assert ledger.state([]).id == void
    assert not ledger.verify(ledger.state([]))
    assert (ledger.state(()).void, ledger.state(()).verified) == ("a person asked for it", False)
    ledger.birth(void, 2, [], settle_s=0, reason="test")
    assert (ledger.state(()).void, ledger.state(()).verified) == ("", True)


def test_only_the_ledger_that_is_meant_is_made_void(ledger: Ledger) -> None:
    before = ledger.state(()).id
    assert before
    ledger.birth(before, 2, [], settle_s=0, reason="test")
    with pytest.raises(LostTurn, match=f"ledger {ledger.state(()).id} is in force now"):
        ledger.void("a person asked for it", ledger=before)
    assert ledger.state(()).verified


def test_a_server_that_may_not_be_asked_for_its_run_id_is_told_as_such(servers: dict[str, str]) -> None:
    """Not as one that has restarted."""
    address = servers["valkey"].removeprefix("redis://")
    admin = redis.Redis.from_url(servers["valkey"], decode_responses=True)
    ledger = Ledger(admin, f"{uuid.uuid4().hex}:")
    ledger.birth(None, 1, [], settle_s=0, reason="test")
    admin.acl_setuser("hushed", enabled=True, passwords=["+word"], keys=["*"], categories=["+@all"], commands=["-info"])
    client = redis.Redis.from_url(f"redis://hushed:word@{address}", decode_responses=True)
    view = Overview(Ledger(client, ledger.prefix)).ledger_view()
    found = unusable(view)
    assert found is not None
    assert (found.status, "INFO" in found.message, "restarted" in found.message) == ("CRITICAL", True, False)
    client.close()
    admin.close()


def test_where_there_is_no_ledger_there_is_nothing_to_void(client: "redis.Redis") -> None:
    with pytest.raises(LedgerUnavailable, match="nothing to recover"):
        Ledger(client, f"{uuid.uuid4().hex}:").void("a person asked for it")


def test_the_server_tells_how_durable_it_is(servers: dict[str, str]) -> None:
    client = redis.Redis.from_url(servers["valkey"], decode_responses=True)
    overview = Overview(Ledger(client, "p:"))
    assert overview.durability() == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    client.close()


def test_a_server_that_forbids_config_still_tells_what_info_knows(servers: dict[str, str]) -> None:
    admin = redis.Redis.from_url(servers["valkey"], decode_responses=True)
    password = os.urandom(8).hex()
    admin.acl_setuser("hosted", enabled=True, passwords=[f"+{password}"], keys=["*"], categories=["+@all"], commands=["-config"])
    client = redis.Redis.from_url(servers["valkey"], decode_responses=True, username="hosted", password=password)
    overview = Overview(Ledger(client, "p:"))
    assert overview.durability() == {"appendonly": "yes", "appendfsync": None, "maxmemory-policy": "noeviction"}
    client.close()
    admin.acl_deluser("hosted")
    admin.close()
