"""The ledger's suite, over the in-memory fake and over real servers: turns, jobs, the listing and signs of life."""

import socketserver
import threading
import time

import pytest
import redis

from tests.contract.batches import P0, TOPIC, counts, owed, stream, take_settled, woken
from tracker.errors import BadInput, LedgerUnavailable, LostTurn
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.ledger_scripts import connect
from tracker.ledger_state import NotNow, PartitionStart

# -- turns --------------------------------------------------------------------------------------------------------


def test_one_worker_at_a_time_holds_an_instance(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.take("i-1")
    with pytest.raises(NotNow, match="BUSY"):
        ledger.take("i-1")
    assert ledger.release(turn) is True, "it still owes something"
    assert ledger.take("i-1").owed == 5


def test_a_lock_that_ran_out_passes_on_and_its_holder_can_change_nothing_any_more(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    late = take_settled(ledger, "i-1")
    ledger.client.hset(f"{ledger.prefix}i:i-1", "lu", "1")
    turn = ledger.take("i-1")
    for call in (lambda: ledger.open_intent(late, 0, "t0"), lambda: ledger.release(late), lambda: ledger.finish(late, "completed")):
        with pytest.raises(LostTurn):
            call()
    assert ledger.open_intent(turn, 0, "t0").intent is not None


def test_a_lock_that_ran_out_is_over_though_nobody_has_taken_it(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    late = take_settled(ledger, "i-1")
    ledger.client.hset(f"{ledger.prefix}i:i-1", "lu", "1")
    with pytest.raises(LostTurn):
        ledger.open_intent(late, 0, "t0")


def test_a_lock_in_the_far_future_is_a_clock_that_ran_ahead(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    ledger.take("i-1")
    ledger.client.hset(f"{ledger.prefix}i:i-1", "lu", str(10**15))
    assert ledger.take("i-1").owed == 5


def test_an_intent_takes_all_that_is_owed_and_what_gathers_meanwhile_stays_owed(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1", inserted=100), 100, "t0")
    assert woken(ledger, counts(ledger, 1, ("i-1", 7))) == [], "the holder goes on by itself"
    assert turn.intent is not None
    assert (turn.intent.delta, turn.intent.before, turn.intent.etag) == (5, 100, "t0")
    turn = ledger.close_intent(turn, applied=True, etag="t1")
    assert (turn.owed, turn.inserted, turn.etag, turn.intent) == (7, 105, "t1", None)


def test_an_intent_not_applied_stays_owed(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0")
    turn = ledger.close_intent(turn, applied=False, etag="t9")
    assert (turn.owed, turn.inserted, turn.etag, turn.intent) == (5, 0, "t9", None)


def test_only_one_intent_is_open_at_a_time_and_none_for_nothing(ledger: Ledger) -> None:
    ledger.register("i-0", None)
    with pytest.raises(BadInput):
        ledger.open_intent(take_settled(ledger, "i-0"), 0, "t0")
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0")
    with pytest.raises(BadInput):
        ledger.open_intent(turn, 0, "t0")
    closed = ledger.close_intent(turn, applied=True, etag="t1")
    with pytest.raises(BadInput):
        ledger.close_intent(closed, applied=True, etag="t1")
    with pytest.raises(BadInput):
        ledger.copy_intent(closed, turn.intent)  # type: ignore[arg-type]


def test_an_intent_sent_in_the_future_was_sent_now(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1"), 0, None)
    ledger.client.hset(f"{ledger.prefix}i:i-1", mapping={"sent": str(10**15), "lu": "1"})
    again = ledger.take("i-1")
    assert again.intent is not None
    assert 0 <= again.intent.age_s < 60
    assert turn.intent is not None


def test_a_back_off_is_kept_and_force_passes_over_it(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    assert ledger.release(ledger.take("i-1"), delay_s=60, reason="the API is away") is False
    assert woken(ledger, counts(ledger, 1, ("i-1", 5))) == [], "no push task while it backs off"
    with pytest.raises(NotNow, match="LATER"):
        ledger.take("i-1")
    assert ledger.take("i-1", force=True).tries == 1


def test_one_push_task_is_outstanding_per_instance_and_a_lost_one_is_replaced(client: "redis.Redis", prefix: str) -> None:
    ledger = Ledger(client, prefix, kick_s=60)
    ledger.birth(None, 1, [PartitionStart(P0, "e1", 0, 0)], settle_s=0, reason="test")
    assert woken(ledger, counts(ledger, 0, ("i-1", 5))) == ["i-1"]
    assert woken(ledger, counts(ledger, 1, ("i-1", 5))) == []
    client.hset(f"{prefix}i:i-1", "k", "1")
    assert ledger.due(10, 10, 0).push == ("i-1",)


def test_an_unknown_instance_is_parked_at_the_second_no_and_goes_on_at_the_next_yes(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.take("i-1")
    assert ledger.unknown(turn) == 1
    assert ledger.unknown(turn) == 2
    assert [name for name, _ in ledger.due(1, 1, 0).parked] == ["i-1"]
    ledger.release(turn, delay_s=0, reason="unknown")
    ledger.apply(counts(ledger, 1, ("i-1", 6)))
    turn = ledger.take("i-1")
    assert (turn.parked, turn.owed) == ("unknown", 11)
    turn = ledger.seen(turn, Instance("i-1", "submitted", None, None, 0, "t0"))
    assert (turn.parked, ledger.due(1, 1, 0).parked) == (None, ())


def test_an_unknown_instance_goes_on_at_once_when_the_listing_has_it(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = take_settled(ledger, "i-1")
    ledger.unknown(turn)
    ledger.unknown(turn)
    ledger.release(turn, delay_s=60, reason="unknown")
    assert ledger.due(10, 10, 0).push == ()
    ledger.follow("submitted", [Instance("i-1", "submitted", "j-1", 10, 0)])
    due = ledger.due(10, 10, 0)
    assert (due.push, due.parked) == (("i-1",), ())
    assert ledger.take("i-1").parked is None


def test_a_parked_instance_gathers_waits_for_a_person_and_is_given_up_as_a_dead_letter(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0")
    ledger.park(turn, "foreign", "somebody else counts")
    ledger.apply(counts(ledger, 1, ("i-1", 6)))
    with pytest.raises(NotNow, match="PARKED"):
        ledger.take("i-1")
    ledger.client.hdel(f"{ledger.prefix}i:i-1", "k")
    assert woken(ledger, counts(ledger, 2, ("i-1", 1))) == []
    assert ledger.due(10, 10, 0).push == ()
    assert ledger.bury_parked("i-1", "too long", 3600) == 0
    assert ledger.bury_parked("i-1", "too long", -1) == 12
    letters = stream(ledger, "dead")
    assert (letters[0]["count"], letters[0]["perhaps"]) == ("12", "5")
    assert "perhaps counted" in letters[0]["reason"]
    assert ledger.client.pttl(f"{ledger.prefix}i:i-1") > 0


def test_what_was_given_up_is_not_looked_at_again_and_a_parked_one_that_is_gone_is_forgotten(ledger: Ledger) -> None:
    ledger.register("i-1", None)
    turn = ledger.take("i-1")
    ledger.unknown(turn)
    ledger.unknown(turn)
    ledger.release(turn, delay_s=60, reason="unknown", watch_s=0)
    ledger.bury_parked("i-1", "too long", -1)
    due = ledger.due(10, 10, 0)
    assert (due.look, due.totals, due.parked) == ((), (), ())
    turn = ledger.take("i-1", force=True)
    ledger.unknown(turn)
    ledger.unknown(turn)
    assert ledger.due(10, 10, 0).parked == (), "given up already"
    ledger.client.zadd(f"{ledger.prefix}parked", {"ghost": 1})
    assert ledger.bury_parked("ghost", "too long", 3600) == 0
    assert ledger.due(10, 10, 0).parked == ()


def test_a_person_s_retry_unparks(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    ledger.park(take_settled(ledger, "i-1"), "refused", "400")
    assert ledger.take("i-1", force=True).parked is None


def test_what_a_person_s_retry_left_when_it_was_cut_short_is_due_again(ledger: Ledger) -> None:
    """Parked no more, the instance is found by the check: nothing else looks at what it owes."""
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    ledger.park(take_settled(ledger, "i-1"), "refused", "a reason")
    ledger.take("i-1", force=True)
    ledger.client.hset(f"{ledger.prefix}i:i-1", "lu", "1")
    assert ledger.due(10, 1, 10).push == ("i-1",)


def test_a_finished_instance_expires_and_a_late_count_cancels_that(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0")
    turn = ledger.close_intent(turn, applied=True, etag="t1")
    assert ledger.finish(turn, "completed") is False
    key = f"{ledger.prefix}i:i-1"
    assert ledger.client.pttl(key) > 0
    assert ledger.followed() == set()
    assert woken(ledger, counts(ledger, 1, ("i-1", 6))) == ["i-1"]
    assert ledger.client.pttl(key) == -1
    assert ledger.take("i-1").owed == 6


def test_an_instance_that_owes_does_not_expire(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    assert ledger.finish(take_settled(ledger, "i-1"), "failed") is True
    assert ledger.client.pttl(f"{ledger.prefix}i:i-1") == -1


# -- by hand, jobs, listing, leases -------------------------------------------------------------------------------


def test_a_count_by_hand_counts_once_per_key(ledger: Ledger) -> None:
    assert ledger.add_by_hand("i-1", 7, "k") == (True, True)
    assert ledger.add_by_hand("i-1", 7, "k") == (False, False)
    assert ledger.add_by_hand("i-1", 7, "k2")[0]
    assert owed(ledger, "i-1") == 14
    with pytest.raises(BadInput):
        ledger.add_by_hand("i-1", -1, "k3")
    assert owed(ledger, "i-1") == 14


def test_a_state_about_to_be_put_and_an_end_each_have_the_job_looked_at(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = take_settled(ledger, "i-1")
    ledger.state_not_put(turn)
    assert ledger.due(10, 10, 0).jobs == ()
    ledger.state_put(turn, None)
    assert ledger.release_job(ledger.take_job("job-1"), "not ready") is False
    ledger.finish(turn, "completed")
    assert ledger.due(10, 10, 0).jobs == ("job-1",)


@pytest.mark.parametrize("before", [None, "job-1"])
def test_a_job_named_while_the_state_is_put_is_looked_at_as_well(ledger: Ledger, before: str | None) -> None:
    """Whoever names it then, does not know that the instance ends; and an instance that has ended is asked about no more."""
    ledger.register("i-1", before)
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.seen(ledger.take("i-1", force=True), Instance("i-1", "submitted", before, 5, 5))
    ledger.state_put(turn, None)
    ledger.register("i-1", "job-2")
    ledger.finish(turn, "completed")
    assert sorted(ledger.due(10, 10, 0).jobs) == sorted(filter(None, (before, "job-2")))


def test_a_job_asked_for_again_while_it_is_looked_at_stays_pending(ledger: Ledger) -> None:
    ledger.expect_job("job-1")
    turn = ledger.take_job("job-1")
    with pytest.raises(NotNow, match="BUSY"):
        ledger.take_job("job-1")
    ledger.expect_job("job-1")
    assert ledger.release_job(turn, "not ready") is True
    assert ledger.release_job(ledger.take_job("job-1"), "done", state="completed") is False
    assert ledger.due(10, 10, 0).jobs == ()
    with pytest.raises(NotNow, match="NONE"):
        ledger.take_job("job-2")


def test_a_job_that_is_held_is_due_when_its_lock_ends(ledger: Ledger) -> None:
    """Its holder may have died."""
    ledger.expect_job("job-1")
    Ledger(ledger.client, ledger.prefix, lease_s=0.1).take_job("job-1")
    assert ledger.due(10, 3600, 0).jobs == ()
    time.sleep(0.4)
    assert ledger.due(10, 3600, 0).jobs == ("job-1",)


def test_a_put_of_a_job_without_an_answer_is_remembered(ledger: Ledger) -> None:
    ledger.expect_job("job-1")
    turn = ledger.take_job("job-1")
    ledger.job_put_sent(turn)
    ledger.release_job(turn, "later", reason="time-out")
    again = ledger.take_job("job-1")
    assert again.open_copies == 1
    assert again.sent_age_s is not None
    ledger.job_put_sent(again)
    ledger.job_put_answered(again)
    ledger.release_job(again, "later", reason="x")
    assert ledger.take_job("job-1").open_copies == 1


def test_a_job_whose_looks_fail_is_told_by_since_when_until_one_succeeds(ledger: Ledger) -> None:
    failing = f"{ledger.prefix}failing_jobs"
    ledger.expect_job("job-1")
    ledger.release_job(ledger.take_job("job-1"), "later", reason="time-out")
    since = ledger.client.zscore(failing, "job-1")
    assert since is not None
    assert abs(since / 1000 - ledger.now_s()) < 5
    time.sleep(0.01)
    ledger.release_job(ledger.take_job("job-1"), "later", reason="time-out")
    ledger.expect_job("job-1")
    assert ledger.client.zscore(failing, "job-1") == since, "the first of them in a row counts"
    ledger.release_job(ledger.take_job("job-1"), "not ready")
    assert ledger.client.zcard(failing) == 0


def test_a_job_that_fails_is_remembered_until_it_does_not(ledger: Ledger) -> None:
    """A second task looks at one that is done: its hash was to be forgotten in a while."""
    short = Ledger(ledger.client, ledger.prefix, finished_ttl_s=60.0)
    short.expect_job("job-1")
    short.release_job(short.take_job("job-1"), "not ready")
    assert ledger.client.pttl(f"{ledger.prefix}j:job-1") > 0
    short.release_job(short.take_job("job-1"), "later", reason="time-out")
    assert ledger.client.pttl(f"{ledger.prefix}j:job-1") == -1


def test_a_job_of_which_nothing_is_known_any_more_is_looked_at_no_more(ledger: Ledger) -> None:
    ledger.expect_job("job-1")
    ledger.release_job(ledger.take_job("job-1"), "later", reason="time-out")
    ledger.client.delete(f"{ledger.prefix}j:job-1")
    assert ledger.due(10, 10, 0).jobs == ()
    assert [ledger.client.zcard(f"{ledger.prefix}{name}") for name in ("jobs", "failing_jobs")] == [0, 0]


def test_a_job_whose_looks_never_come_to_an_end_is_a_failing_one(ledger: Ledger) -> None:
    ledger.expect_job("job-1")
    Ledger(ledger.client, ledger.prefix, lease_s=0.05).take_job("job-1")
    time.sleep(0.3)
    assert ledger.client.zcard(f"{ledger.prefix}failing_jobs") == 0
    turn = ledger.take_job("job-1")
    assert ledger.client.zrange(f"{ledger.prefix}failing_jobs", 0, -1) == ["job-1"]
    assert ledger.client.hget(f"{ledger.prefix}j:job-1", "why") == "the last look at it did not come to an end"
    ledger.release_job(turn, "not ready")
    assert ledger.client.zcard(f"{ledger.prefix}failing_jobs") == 0


def test_a_job_that_failed_by_a_clock_that_ran_ahead_fails_from_now_on(ledger: Ledger) -> None:
    ledger.expect_job("job-1")
    ledger.client.zadd(f"{ledger.prefix}failing_jobs", {"job-1": 1000 * (ledger.now_s() + 86_400)})
    ledger.release_job(ledger.take_job("job-1"), "later", reason="time-out")
    assert (ledger.client.zscore(f"{ledger.prefix}failing_jobs", "job-1") or 0) / 1000 <= ledger.now_s()


@pytest.mark.parametrize("outcome", ["done", "parked"])
def test_a_failing_job_that_is_done_or_waits_for_a_person_fails_no_longer(ledger: Ledger, outcome: str) -> None:
    ledger.expect_job("job-1")
    ledger.release_job(ledger.take_job("job-1"), "later", reason="time-out")
    ledger.release_job(ledger.take_job("job-1"), outcome, state="completed", reason="x")
    assert ledger.client.zcard(f"{ledger.prefix}failing_jobs") == 0


def test_the_listing_follows_new_instances_and_never_touches_what_goes_with_an_etag(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0")
    turn = ledger.close_intent(turn, applied=True, etag="t1")
    ledger.release(turn)
    listed = [
        Instance("i-1", "submitted", "job-1", 5, 3),
        Instance("i-2", "submitted", "job-1", 10, 10),
        Instance("i-3", "submitted", None, None, 0),
    ]
    assert ledger.follow("submitted", listed) == 2
    assert set(ledger.due(10, 10, 0).look) == {"i-1", "i-2"}, "complete by what is known: a GET decides"
    turn = ledger.take("i-1")
    assert (turn.inserted, turn.etag, turn.total) == (5, "t1", 5)
    assert ledger.followed() == {"i-1", "i-2", "i-3"}


def test_a_lease_is_held_by_one_until_it_ends(ledger: Ledger) -> None:
    assert ledger.lease("tick", 60)
    assert not ledger.lease("tick", 60)
    ledger.end_lease("tick")
    assert ledger.lease("tick", 60)


def test_signs_of_life_expire(ledger: Ledger) -> None:
    ledger.beat("bridge", "b-1", {"lag": 3}, 60)
    ledger.beat("worker", "w-1", {}, 60)
    assert ledger.heartbeats("bridge")["b-1"]["lag"] == 3
    assert list(ledger.heartbeats("worker")) == ["w-1"]
    ledger.client.delete(f"{ledger.prefix}heartbeat:bridge:b-1")
    assert ledger.heartbeats("bridge") == {}


def test_a_server_that_is_away_is_said_so() -> None:
    away = Ledger(connect("redis://127.0.0.1:1/0", timeout_s=0.2), "x:")
    with pytest.raises(LedgerUnavailable, match="does not answer"):
        away.state([TOPIC])


def test_a_script_without_an_answer_is_not_sent_again() -> None:
    asked: list[bytes] = []

    class Silent(socketserver.BaseRequestHandler):
        """Greets a client, and answers no script."""

        def handle(self) -> None:
            while data := self.request.recv(65536):
                asked.append(data)
                self.request.sendall(b"%1\r\n+proto\r\n:3\r\n" * data.count(b"HELLO") + b"+OK\r\n" * data.count(b"CLIENT"))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        url = f"redis://127.0.0.1:{server.server_address[1]}/0"
        with connect(url, timeout_s=0.2) as client, pytest.raises(LedgerUnavailable, match="does not answer"):
            Ledger(client, "x:").state([TOPIC])
        server.shutdown()
    assert b"".join(asked).count(b"EVALSHA") == 1


def test_another_copy_of_an_intent_carries_what_the_first_did_whatever_has_gathered(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0")
    ledger.apply(counts(ledger, 1, ("i-1", 7)))
    assert turn.intent is not None
    copied = ledger.copy_intent(turn, turn.intent)
    assert copied.intent is not None
    assert (copied.intent.delta, copied.intent.etag, copied.owed) == (5, "t0", 12)


def test_taking_an_instance_to_push_it_opens_its_intent(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    ledger.release(take_settled(ledger, "i-1", inserted=2, total=9))
    turn = ledger.take("i-1", push=True)
    assert turn.opened
    assert turn.intent is not None
    assert (turn.intent.delta, turn.intent.before, turn.intent.etag) == (5, 2, "t0")
    with pytest.raises(BadInput, match="open already"):
        ledger.open_intent(turn, 2, "t0")


def test_no_intent_is_opened_before_a_look_nor_over_an_open_one(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("unseen", 5), ("without-etag", 5), ("open", 5)))
    assert not ledger.take("unseen", push=True).opened
    ledger.release(take_settled(ledger, "without-etag", etag=None))
    turn = ledger.take("without-etag", push=True)
    assert (turn.opened, turn.intent) == (False, None)
    ledger.release(ledger.open_intent(take_settled(ledger, "open"), 0, "t0"))
    ledger.apply(counts(ledger, 3, ("open", 1)))
    turn = ledger.take("open", push=True)
    assert turn.intent is not None
    assert (turn.opened, turn.intent.delta) == (False, 5)
    ledger.release(ledger.close_intent(turn, applied=True, etag="t1"))
    ledger.release(ledger.close_intent(ledger.take("open", push=True), applied=True, etag="t2"))
    assert not ledger.take("open", push=True).opened, "it owes nothing"


def test_the_last_answer_gives_the_lock_back_where_nothing_else_is_to_be_done(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.close_intent(ledger.open_intent(take_settled(ledger, "i-1", total=9), 0, "t0"), applied=True, etag="t1", release=True)
    assert turn.released
    with pytest.raises(LostTurn):
        ledger.release(turn)
    assert owed(ledger, "i-1") == 0
    assert ledger.due(10, 1, 10).push == ()
    assert woken(ledger, counts(ledger, 1, ("i-1", 1))) == ["i-1"], "the next count wakes it at once"


@pytest.mark.parametrize("more, total", [(1, 9), (0, 5), (0, None)], ids=["more is owed", "it looks complete", "no total yet"])
def test_the_lock_stays_where_something_is_left_to_do(ledger: Ledger, more: int, total: int | None) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1", total=total), 0, "t0")
    ledger.apply(counts(ledger, 1, ("i-1", more)))
    after = ledger.close_intent(turn, applied=True, etag="t1", release=True)
    assert (after.released, after.owed) == (False, more)
    ledger.release(after)


def test_a_total_of_0_is_awaited_like_none(ledger: Ledger) -> None:
    """Else a check would ask for each such instance by itself, however many there are."""
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1", total=0), 0, "t0")
    ledger.release(ledger.close_intent(turn, applied=True, etag="t1"), watch_s=0)
    ledger.follow("submitted", [Instance("i-1", "submitted", "job-1", 0, 5)])
    due = ledger.due(10, 1, 10)
    assert (due.look, due.totals) == ((), ("i-1",))


def test_an_intent_that_was_not_applied_keeps_the_lock(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.open_intent(take_settled(ledger, "i-1", total=9), 0, "t0")
    assert not ledger.close_intent(turn, applied=False, etag="t0", release=True).released
