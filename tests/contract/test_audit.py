"""What the scripts write down beside what they do: the history, the counters, and the index of what is owed. On every kind of server."""

import time
from typing import Any, cast

import pytest

from tests.contract.batches import P0, TOPIC, batch, counts, owed, stream, take_settled
from tracker.events import InputFileAvailable, ObservationsInserted, Undecodable
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.ledger_state import PartitionStart


def history(ledger: Ledger) -> list[dict[str, Any]]:
    return stream(ledger, "history")


def said(ledger: Ledger, *fields: str) -> list[tuple[Any, ...]]:
    """What has happened, in order, with some of the fields."""
    return [(entry["w"], *(entry.get(field) for field in fields)) for entry in history(ledger)]


def counter(ledger: Ledger, name: str) -> int:
    return int(ledger.client.hget(f"{ledger.prefix}counters", name) or 0)


def books(ledger: Ledger) -> tuple[int, set[str], set[str]]:
    """The sum of what is owed, and who owes and who has an open intent by the indexes."""
    owing, intents = (set(cast("list[str]", ledger.client.zrange(f"{ledger.prefix}{name}", 0, -1))) for name in ("owed", "intents"))
    return int(ledger.client.hget(f"{ledger.prefix}ledger", "owed") or 0), owing, intents


def test_an_import_is_written_down_from_its_registration_to_its_end(ledger: Ledger) -> None:
    ledger.apply(batch(ledger, 0, 1, [(0, InputFileAvailable("i-1", "job-1", "s3://file"))], kind="registrations"))
    ledger.apply(counts(ledger, 1, ("i-1", 4)))
    ledger.apply(counts(ledger, 2, ("i-1", 6)))
    turn = take_settled(ledger, "i-1", total=10)
    turn = ledger.close_intent(ledger.open_intent(turn, 0, "t0"), applied=True, etag="t1")
    ledger.finish(turn, "completed")
    ledger.release_job(ledger.take_job("job-1"), "done", state="completed")
    assert said(ledger, "i", "j", "n", "a") == [
        ("birth", None, None, None, None),
        ("registered", "i-1", "job-1", None, None),
        ("first", "i-1", "job-1", "4", None),
        ("total", "i-1", "job-1", "10", None),
        ("pushed", "i-1", "job-1", "10", "10"),
        ("completed", "i-1", "job-1", None, None),
        ("job_completed", None, "job-1", None, None),
    ]
    ended = history(ledger)[-2]
    assert (ended["c"], ended["l"]) == ("10", ledger.client.hget(f"{ledger.prefix}i:i-1", "last"))


def test_a_batch_that_comes_twice_adds_nothing_to_the_history(ledger: Ledger) -> None:
    first = counts(ledger, 0, ("i-1", 4), ("i-2", 1))
    ledger.apply(first)
    before = history(ledger)
    ledger.apply(first)
    ledger.apply(counts(ledger, 2, ("i-1", 4), ("i-2", 1)))
    assert history(ledger) == before
    assert counter(ledger, "records") == 4


@pytest.mark.parametrize("by_hand", [False, True])
def test_an_import_that_is_completed_right_after_a_birth_is_written_down(ledger: Ledger, by_hand: bool) -> None:  # noqa: FBT001 -- a case
    """All of it was in before. Of an import of long ago, which had ended then, nothing is written and nothing kept."""
    ledger = Ledger(ledger.client, ledger.prefix, kick_s=0.0)  # no push task is waited for
    if by_hand:
        ledger.add_by_hand("i-1", 4, "key-1")
    else:
        ledger.apply(counts(ledger, 0, ("i-1", 4)))
    ledger.birth(ledger.state([TOPIC]).id, 2, [PartitionStart(P0, "e1", 0, 1)], settle_s=0, reason="test")
    ledger.apply(counts(ledger, 0, ("i-1", 4)) if not by_hand else counts(ledger, 0, ("i-2", 1)))
    assert "i-1" in ledger.due(10, 10, 10).push
    turn = ledger.seen(ledger.take("i-1", force=True), Instance("i-1", "submitted", "job-1", 4, 4, "t0"))
    assert turn.owed == 0
    ledger.state_put(turn, None)
    ledger.finish(turn, "completed")
    assert [word for (word,) in said(ledger)].count("completed") == 1
    assert counter(ledger, "instances:completed") == 1
    assert ledger.client.zrange(f"{ledger.prefix}finished", 0, -1) == ["i-1"]
    assert ledger.client.hget(f"{ledger.prefix}i:i-1", "st") == "completed"


def test_looking_again_at_what_has_ended_is_no_second_end(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 4)))
    turn = take_settled(ledger, "i-1", total=4)
    ledger.finish(ledger.close_intent(ledger.open_intent(turn, 0, "t0"), applied=True, etag="t1"), "completed")
    ended = ledger.client.hget(f"{ledger.prefix}i:i-1", "end")
    time.sleep(0.01)
    again = ledger.seen(ledger.take("i-1"), Instance("i-1", "completed", "job-1", 4, 4, "t1"))
    ledger.finish(again, "completed")
    ledger.release_job(ledger.take_job("job-1"), "done", state="completed")
    ledger.expect_job("job-1")
    ledger.release_job(ledger.take_job("job-1"), "done", state="completed")
    assert [word for (word,) in said(ledger)][-3:] == ["pushed", "completed", "job_completed"]
    assert (counter(ledger, "instances:completed"), counter(ledger, "jobs:completed")) == (1, 1)
    assert ledger.client.hget(f"{ledger.prefix}i:i-1", "end") == ended, "it has not ended again"


def test_what_people_do_is_written_down_with_who_and_why(ledger: Ledger) -> None:
    ledger.register("i-1", None, "ann@host")
    ledger.add_by_hand("i-1", 5, "ticket-1", "ann@host")
    ledger.add_by_hand("i-1", 5, "ticket-1", "ann@host")
    turn = ledger.take("i-1")
    ledger.park(turn, "foreign", "somebody else counts")
    ledger.release(ledger.take("i-1", force=True, by="bob@host"))
    ledger.void("restored a backup", "bob@host")
    assert said(ledger, "i", "n", "u", "y")[1:] == [
        ("registered", "i-1", None, "ann@host", None),
        ("first", "i-1", "5", None, None),
        ("by_hand", "i-1", "5", "ann@host", None),
        ("parked", "i-1", None, None, "somebody else counts"),
        ("unparked", "i-1", None, "bob@host", None),
        ("void", None, None, "bob@host", "restored a backup"),
    ]


def test_losses_epochs_and_dead_letters_are_written_down(ledger: Ledger) -> None:
    state = ledger.state([TOPIC])
    ledger.record_loss(state.id or "", P0, "e1", 0, 3, "retention was faster")
    ledger.apply(batch(ledger, 3, 4, [(3, Undecodable("no instance id", b"\x00"))]))
    ledger.start_partition(state.id or "", PartitionStart(P0, "e2", 0, None, replaces="e1"))
    ((letter, _),) = cast("list[tuple[str, Any]]", ledger.client.xrange(f"{ledger.prefix}dead"))
    assert said(ledger, "p", "b", "a", "d")[1:] == [
        ("loss", str(P0), "0", "3", None),
        ("buried", str(P0), None, "3", letter),
        ("epoch", str(P0), "e1", "0", None),
    ]
    assert [counter(ledger, name) for name in ("losses", "records_lost", "dead_letters", "births")] == [1, 3, 1, 1]


def test_a_total_is_written_down_when_it_is_known_and_when_it_changes(ledger: Ledger) -> None:
    page = [Instance("i-1", "submitted", "job-1", 10, 0)]
    ledger.follow("submitted", page)
    ledger.follow("submitted", page)
    ledger.follow("submitted", [Instance("i-1", "submitted", "job-1", 12, 0)])
    assert said(ledger, "n", "b", "f")[1:] == [
        ("registered", None, None, "listing"),
        ("total", "10", None, None),
        ("total", "12", "10", None),
    ]


@pytest.mark.parametrize(
    "outcome, how, name",
    [
        ("applied", "answered", "push:applied"),
        ("applied", "read back", "push:read back applied"),
        ("not applied", "read back", "push:read back not applied"),
        ("not applied", "not sent", "push:not sent"),
        ("not applied", "turned away", "push:turned away"),
        ("not applied", "refused", "push:refused"),
    ],
)
def test_every_outcome_of_a_push_has_its_counter(ledger: Ledger, outcome: str, how: str, name: str) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 4)))
    applied = outcome == "applied"
    ledger.close_intent(ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0"), applied=applied, etag="t1", how=how)
    assert (counter(ledger, name), counter(ledger, "pushed")) == (1, 4 if applied else 0)


def test_batches_refused_and_records_below_the_horizon_are_counted(ledger: Ledger) -> None:
    stale = counts(ledger, 0, ("i-1", 4))
    ledger.birth(ledger.state([TOPIC]).id, 2, [PartitionStart(P0, "e1", 0, 2)], settle_s=0, reason="void")
    assert ledger.apply(stale) is None
    ledger.apply(counts(ledger, 0, ("i-1", 4), ("i-1", 4), ("i-1", 5)))
    assert [counter(ledger, name) for name in ("batches_refused", "records", "records_below_horizon")] == [1, 3, 2]


def test_the_time_from_the_last_record_to_completion_falls_into_one_bucket(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 4), ("i-2", 4)))
    for name, ago_ms in (("i-1", 1_700), ("i-2", 400_000)):
        turn = take_settled(ledger, name, total=4)
        turn = ledger.close_intent(ledger.open_intent(turn, 0, "t0"), applied=True, etag="t1")
        ledger.client.hincrby(f"{ledger.prefix}i:{name}", "last", -ago_ms)
        ledger.finish(turn, "completed")
    assert (counter(ledger, "latency:2.5"), counter(ledger, "latency:+Inf")) == (1, 1)
    assert 401_700 <= counter(ledger, "latency_ms") < 411_700


# -- what is owed --------------------------------------------------------------------------------------------------


def test_the_books_follow_what_is_owed_from_the_count_to_its_push(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 4), ("i-2", 3), ("i-3", 0)))
    ledger.apply(counts(ledger, 3, ("i-1", 1)))
    assert books(ledger) == (8, {"i-1", "i-2"}, set())
    turn = ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0")
    ledger.apply(counts(ledger, 4, ("i-1", 2)))
    assert books(ledger) == (10, {"i-1", "i-2"}, {"i-1"})
    ledger.close_intent(turn, applied=True, etag="t1")
    assert books(ledger) == (5, {"i-1", "i-2"}, set())
    ledger.bury_owed(take_settled(ledger, "i-2"), "it is published")
    assert books(ledger) == (2, {"i-1"}, set())


def test_a_birth_begins_the_books_anew_and_what_it_settles_is_in_them(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 4), ("i-2", 3)))
    ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0")
    ledger.birth(ledger.state([TOPIC]).id, 2, [PartitionStart(P0, "e1", 0, 2)], settle_s=0, reason="void")
    assert books(ledger) == (0, set(), set())
    ledger.apply(counts(ledger, 0, ("i-1", 4), ("i-2", 3), ("i-2", 1)))
    assert books(ledger) == (1, {"i-2"}, set())
    take_settled(ledger, "i-1", inserted=1)
    take_settled(ledger, "i-2", inserted=3)
    assert books(ledger) == (4, {"i-1", "i-2"}, set())
    assert owed(ledger, "i-1") == 3


def test_a_parked_instance_that_is_given_up_leaves_the_books(ledger: Ledger) -> None:
    ledger.apply(batch(ledger, 0, 1, [(0, ObservationsInserted("i-1", 4))]))
    turn = ledger.open_intent(take_settled(ledger, "i-1"), 0, "t0")
    ledger.park(turn, "foreign", "somebody else counts")
    assert books(ledger) == (4, {"i-1"}, {"i-1"})
    ledger.bury_parked("i-1", "parked longer than PARKED_TTL", -1)
    assert books(ledger) == (0, set(), set())
    assert said(ledger, "i", "n")[-1] == ("buried", "i-1", "4")


def test_a_parked_instance_that_owes_nothing_and_is_given_up_is_written_down(ledger: Ledger) -> None:
    ledger.register("i-1", "job-1")
    ledger.park(take_settled(ledger, "i-1"), "foreign", "somebody else counts")
    ledger.bury_parked("i-1", "a typo", -1)
    assert said(ledger, "i", "j", "y")[-1] == ("given_up", "i-1", "job-1", "a typo")


def test_a_count_by_hand_is_among_what_happened_to_its_job(ledger: Ledger) -> None:
    ledger.register("i-1", "job-1")
    ledger.add_by_hand("i-1", 4, "key")
    assert ("by_hand", "job-1") in said(ledger, "j")
