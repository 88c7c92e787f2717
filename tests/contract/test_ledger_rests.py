"""The ledger's suite, over the in-memory fake and over real servers: who rests between two pushes, and who goes first after it."""

import time

import pytest

from tests.contract.batches import counts, take_settled, woken
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.ledger_state import Woken


@pytest.fixture
def resting(ledger: Ledger) -> Ledger:
    """The same ledger to a worker that lets instances rest, and "i-1" in it, just pushed, at 5 of 9."""
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    worker = Ledger(ledger.client, ledger.prefix, rest_s=5.0)
    assert worker.close_intent(
        worker.open_intent(take_settled(worker, "i-1", total=9), 0, "t0"), applied=True, etag="t1", release=True
    ).released
    return worker


def test_what_was_pushed_a_moment_ago_gathers_for_a_while(resting: Ledger) -> None:
    assert woken(resting, counts(resting, 1, ("i-1", 1), ("i-2", 1))) == ["i-2"], "a first count does not wait"
    assert woken(resting, counts(resting, 3, ("i-1", 1))) == []
    resting.client.hset(f"{resting.prefix}i:i-1", "rs", "1")
    assert woken(resting, counts(resting, 4, ("i-1", 1))) == ["i-1"], "the rest is over"


def test_the_count_that_brings_the_total_ends_the_rest_and_waits_for_no_task_that_is_expected(resting: Ledger) -> None:
    assert woken(resting, counts(resting, 1, ("i-1", 3))) == []
    assert woken(resting, counts(resting, 2, ("i-1", 1))) == ["i-1"]
    assert woken(resting, counts(resting, 3, ("i-1", 0), ("i-1", 1))) == ["i-1"], "however many tasks of it are on their way"


def test_the_check_ends_a_rest_once_nothing_is_applied_any_more(resting: Ledger) -> None:
    resting.apply(counts(resting, 1, ("i-1", 3)))
    assert resting.due(10, 1, 10).push == ()
    resting.client.hset(f"{resting.prefix}ledger", "flow", "1")
    due = resting.due(10, 1, 10)
    assert (due.push, due.in_passing) == ((), ("i-1",))


def test_what_has_just_rested_is_for_the_check_and_for_the_next_batch_only_when_that_is_late(resting: Ledger) -> None:
    key, now = f"{resting.prefix}i:i-1", int(resting.now_s() * 1000)
    resting.client.hset(key, "rs", str(now - 1000))
    assert woken(resting, counts(resting, 1, ("i-1", 1))) == []
    resting.client.hset(key, "rs", str(now - 61_000))
    assert woken(resting, counts(resting, 2, ("i-1", 1))) == ["i-1"]
    resting.client.hset(key, mapping={"rs": str(now - 1000), "k": "0"})
    due = resting.due(10, 1, 10)
    assert (due.push, due.in_passing) == ((), ("i-1",))


def test_while_records_flow_a_check_pushes_no_more_than_so_many_in_passing_and_the_others_next_time(resting: Ledger) -> None:
    now, names = int(resting.now_s() * 1000), ["i-1", "i-2", "i-3"]
    for name in names:
        resting.follow("submitted", [Instance(name, "submitted", "j-1", 10, 0)])
        resting.client.hset(f"{resting.prefix}i:{name}", "rs", str(now - 1000))
    assert woken(resting, counts(resting, 1, *((name, 1) for name in names))) == []
    assert [resting.due(10, 1, 10, in_passing=2).in_passing for _ in range(3)] == [("i-1", "i-2"), ("i-3",), ()]
    resting.client.hset(f"{resting.prefix}ledger", "flow", "1")
    for name in names:
        resting.client.hset(f"{resting.prefix}i:{name}", "k", "0")
    assert sorted(resting.due(10, 1, 10, in_passing=2).in_passing) == names, "all of them once no more is to come"


def rested(ledger: Ledger, names: list[str]) -> None:
    """Have these rested one after the other, and owing one count each."""
    now = int(ledger.now_s() * 1000)
    for name in names:
        ledger.follow("submitted", [Instance(name, "submitted", "j-1", 10, 0)])
        ledger.client.hset(f"{ledger.prefix}i:{name}", "rs", str(now - 1000))
    assert woken(ledger, counts(ledger, 1, *((name, 1) for name in names))) == []
    for at, name in enumerate(names):
        ledger.client.hset(f"{ledger.prefix}i:{name}", "rs", str(now - 1000 + at))
        ledger.client.zadd(f"{ledger.prefix}owing", {name: now - 1000 + at})


def test_those_left_for_the_next_check_keep_their_order_whatever_their_names(resting: Ledger) -> None:
    names = ["i-9", "i-8", "i-7", "i-6", "i-5", "i-4"]
    rested(resting, names)
    assert [resting.due(10, 1, 10, in_passing=2).in_passing for _ in range(3)] == [("i-9", "i-8"), ("i-7", "i-6"), ("i-5", "i-4")]


def test_when_more_have_rested_than_a_check_takes_in_each_has_its_turn(resting: Ledger) -> None:
    names = [f"i-{number}" for number in range(10, 33)]
    rested(resting, names)
    pushed = []
    for _ in range(3 * len(names)):
        # One at a time, unless this process stood still for so long that nothing seems to flow any more.
        for name in resting.due(20, 1, 10, in_passing=1).in_passing:
            pushed.append(name)
            now = int(resting.now_s() * 1000)  # it owes again, and has rested again
            resting.client.hset(f"{resting.prefix}i:{name}", mapping={"rs": now - 1, "k": 0})
            resting.client.zadd(f"{resting.prefix}owing", {name: now - 1})
            resting.client.hset(f"{resting.prefix}ledger", "flow", now)
        time.sleep(0.002)
    assert set(pushed) == set(names)


def test_a_check_without_room_holds_nobody_back_whom_it_does_not_push(resting: Ledger) -> None:
    rested(resting, ["i-1", "i-2"])
    resting.client.hset(f"{resting.prefix}i:i-2", "rs", str(int(resting.now_s() * 1000) + 4000))
    resting.client.hset(f"{resting.prefix}ledger", "flow", "1")
    assert resting.due(10, 1, 10, in_passing=0).in_passing == ()
    assert sorted(resting.due(10, 1, 10).in_passing) == ["i-1", "i-2"], "the next one finds them"


def test_nothing_flows_after_redis_clock_was_set_back(resting: Ledger) -> None:
    resting.apply(counts(resting, 1, ("i-1", 3)))
    resting.client.hset(f"{resting.prefix}ledger", "flow", str(int(resting.now_s() * 1000) + 3_600_000))
    assert resting.due(10, 1, 10).in_passing == ("i-1",), "or its rest would not end before the clock is there again"


def test_the_first_counts_of_a_listed_instance_are_waited_for(resting: Ledger) -> None:
    resting.follow("submitted", [Instance("i-3", "submitted", "j-1", 10, 0)])
    found = resting.apply(counts(resting, 1, ("i-3", 1)))
    assert found is not None
    assert (found.urgent, found.others) == (("i-3",), ())


def test_the_check_lets_those_go_first_whom_somebody_waits_for(resting: Ledger) -> None:
    key, now = f"{resting.prefix}i:i-1", int(resting.now_s() * 1000)
    resting.client.hset(key, "rs", str(now - 1000))
    assert woken(resting, counts(resting, 1, ("i-1", 4), ("i-2", 1))) == ["i-1", "i-2"], "one has its total in, one was never asked for"
    resting.client.hset(key, "k", "0")
    resting.client.hset(f"{resting.prefix}i:i-2", "k", "0")
    due = resting.due(10, 1, 10)
    assert (sorted(due.push), due.in_passing) == (["i-1", "i-2"], ())


def test_a_back_off_is_no_rest(resting: Ledger) -> None:
    resting.apply(counts(resting, 1, ("i-1", 3)))
    resting.release(resting.take("i-1"), delay_s=4.0, reason="the API is away")
    resting.client.hset(f"{resting.prefix}ledger", "flow", "1")
    assert resting.due(10, 1, 10).push == ()


def test_what_gathered_during_a_turn_rests_too(resting: Ledger) -> None:
    resting.apply(counts(resting, 1, ("i-1", 1)))
    turn = resting.take("i-1", push=True)
    resting.apply(counts(resting, 2, ("i-1", 1)))
    turn = resting.close_intent(turn, applied=True, etag="t2", release=True)
    assert (turn.released, turn.owed) == (True, 1)
    assert resting.due(10, 1, 10).push == ()
    assert resting.release(resting.take("i-1")) is False, "nothing is sent for it now"


def test_who_has_the_total_in_or_was_never_asked_for_goes_first(resting: Ledger) -> None:
    resting.client.hset(f"{resting.prefix}i:i-1", "rs", "1")
    assert resting.apply(counts(resting, 1, ("i-1", 1), ("i-2", 1))) == Woken(urgent=("i-2",), others=("i-1",))
    assert resting.apply(counts(resting, 3, ("i-1", 3))) == Woken(urgent=("i-1",))
