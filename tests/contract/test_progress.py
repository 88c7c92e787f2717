"""What stands still, over the in-memory fake and real servers."""

import pytest

from tests.contract.batches import counts, position, take_settled
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.overview import Overview
from tracker.progress import Progress, Standstills
from tracker.steering import Steering

AFTER_S = 1200.0
LONG_AGO_MS = 2_000_000


@pytest.fixture
def progress(ledger: Ledger) -> Progress:
    return Progress(ledger.client, ledger.prefix)


def let_time_pass(ledger: Ledger, *names: str) -> None:
    """As if all that is known of these had happened long ago."""
    for name in names:
        key = f"{ledger.prefix}i:{name}"
        for field in ("first", "last", "mv", "stk"):
            at = ledger.client.hget(key, field)
            if at:
                ledger.client.hset(key, field, int(at) - LONG_AGO_MS)
        at_ms = ledger.client.zscore(f"{ledger.prefix}progress", name)
        if at_ms:
            ledger.client.zadd(f"{ledger.prefix}progress", {name: at_ms - LONG_AGO_MS})


def look(progress: Progress, most: int = 10) -> tuple[list[str], list[str]]:
    found = progress.look(AFTER_S, most)
    return [view.id for view in found.stuck], list(found.moving)


def follow(ledger: Ledger, *names: str, total: int | None = 900, inserted: int = 888) -> None:
    ledger.follow("submitted", [Instance(name, "submitted", "job-1", total, inserted) for name in names])


def test_an_instance_that_stands_still_is_told_once_with_the_reason(ledger: Ledger, progress: Progress) -> None:
    follow(ledger, "i-1")
    assert progress.look(AFTER_S) == Standstills()
    let_time_pass(ledger, "i-1")
    (view,) = progress.look(AFTER_S).stuck
    assert view.id == "i-1"
    assert view.stuck == "12 of 900 are missing and no record has come for 33 min"
    let_time_pass(ledger, "i-1")
    assert look(progress) == ([], [])
    assert progress.number() == 1
    assert Overview(ledger).figures().stuck == 1
    assert [shown.stuck for shown in Overview(ledger).instances("stuck").items] == [
        "12 of 900 are missing and no record has come for 67 min"
    ]


@pytest.mark.parametrize("event", ["record", "push", "total", "listed total", "state", "end"])
def test_whatever_happens_to_it_is_progress_and_told_once(ledger: Ledger, progress: Progress, event: str) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    ledger.release(take_settled(ledger, "i-1", total=9))
    let_time_pass(ledger, "i-1")
    assert look(progress) == (["i-1"], [])
    if event == "record":
        ledger.apply(counts(ledger, position(ledger), ("i-1", 1)))
    elif event == "push":
        turn = ledger.take("i-1")
        ledger.release(ledger.close_intent(ledger.open_intent(turn, 0, "t0"), applied=True, etag="t1"))
    elif event == "total":
        ledger.release(take_settled(ledger, "i-1", total=10))
    elif event == "listed total":
        follow(ledger, "i-1", total=11)
    elif event == "state":
        ledger.release(ledger.seen(ledger.take("i-1"), Instance("i-1", "created", "job-1", 9, 0, "t0")))
    else:
        ledger.finish(ledger.take("i-1"), "failed")
    ledger.client.zadd(f"{ledger.prefix}progress", {"i-1": 1})
    assert look(progress) == ([], ["i-1"])
    assert look(progress) == ([], [])
    assert progress.number() == 0


def test_a_get_that_shows_nothing_new_is_no_progress(ledger: Ledger, progress: Progress) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    ledger.release(take_settled(ledger, "i-1", total=9))
    let_time_pass(ledger, "i-1")
    ledger.release(take_settled(ledger, "i-1", total=9))
    follow(ledger, "i-1", total=9)
    assert look(progress) == (["i-1"], [])


def test_what_is_parked_or_not_submitted_is_not_stuck(ledger: Ledger, progress: Progress) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5), ("i-2", 5)))
    ledger.park(take_settled(ledger, "i-1"), "refused", "a reason")
    ledger.release(ledger.seen(ledger.take("i-2"), Instance("i-2", "created", "job-1", 9, 0, "t0")))
    let_time_pass(ledger, "i-1", "i-2")
    assert look(progress) == ([], [])
    Steering(ledger.client, ledger.prefix).retry_parked("i-1", who="ann", why="mended")
    let_time_pass(ledger, "i-1")
    assert look(progress) == (["i-1"], [])


def test_one_that_gets_on_is_not_looked_at_before_its_time(ledger: Ledger, progress: Progress) -> None:
    follow(ledger, "i-1")
    ledger.client.zadd(f"{ledger.prefix}progress", {"i-1": 1})
    assert look(progress) == ([], [])
    assert (ledger.client.zscore(f"{ledger.prefix}progress", "i-1") or 0) > 1


def test_a_look_takes_no_more_than_it_may_and_the_next_takes_the_rest(ledger: Ledger, progress: Progress) -> None:
    names = [f"i-{n}" for n in range(5)]
    follow(ledger, *names)
    let_time_pass(ledger, *names)
    found = [look(progress, 2)[0] for _ in range(4)]
    assert [len(some) for some in found] == [2, 2, 1, 0]
    assert sorted(name for some in found for name in some) == names
