"""What people decide, over the in-memory fake and real servers."""

import pytest

from tests.contract.batches import P0, counts, owed, position, stream, take_settled, woken
from tests.contract.test_letters import bear
from tracker.errors import BadInput, LettersFull
from tracker.ledger import Ledger
from tracker.ledger_state import NotNow
from tracker.steering import Steering

WHO = {"who": "ann", "why": "a test"}


@pytest.fixture
def steering(ledger: Ledger) -> Steering:
    return Steering(ledger.client, ledger.prefix)


def park(ledger: Ledger, kind: str = "refused", count: int = 5) -> None:
    ledger.apply(counts(ledger, position(ledger), ("i-1", count)))
    ledger.park(take_settled(ledger, "i-1"), kind, "a reason")


def park_as_unknown(ledger: Ledger) -> None:
    for _ in range(2):
        turn = ledger.take("i-1", force=True)
        ledger.unknown(turn)
        ledger.release(turn, delay_s=60, reason="there is no such instance")


def give_up(steering: Steering, instance_id: str = "i-1", most: int = 10) -> int | None:
    return steering.give_up(instance_id, remember_s=60.0, dead_letters_max=most, **WHO)


def last_history(ledger: Ledger) -> dict[str, str]:
    return stream(ledger, "history")[-1]


def test_a_parked_instance_is_looked_at_by_the_next_check_and_who_asked_is_kept(ledger: Ledger, steering: Steering) -> None:
    park(ledger)
    assert ledger.due(10, 1, 0).push == ()
    assert steering.retry_parked("i-1", **WHO)
    assert not steering.retry_parked("i-1", **WHO)
    entry = last_history(ledger)
    assert (entry["w"], entry["i"], entry["u"], entry["y"]) == ("unparked", "i-1", "ann", "a test")
    assert ledger.due(10, 1, 0).push == ("i-1",)
    assert ledger.take("i-1").owed == 5


def test_an_unknown_instance_is_tried_at_once_and_stays_parked(ledger: Ledger, steering: Steering) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    park_as_unknown(ledger)
    assert steering.retry_parked("i-1", **WHO)
    assert ledger.due(10, 1, 0).push == ("i-1",)
    assert ledger.take("i-1").parked == "unknown"


def test_a_parked_instance_that_is_given_up_leaves_a_letter(ledger: Ledger, steering: Steering) -> None:
    park(ledger)
    assert give_up(steering) == 5
    assert give_up(steering) is None
    (letter,) = stream(ledger, "dead")
    assert (letter["count"], letter["reason"], ledger.followed(), owed(ledger, "i-1")) == ("5", "given up by ann: a test", set(), 0)


def test_what_a_birth_set_aside_is_in_the_letter_of_an_instance_given_up(ledger: Ledger, steering: Steering) -> None:
    """No GET could compare it with the API, so it may be there already: nothing of it may vanish."""
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    bear(ledger, end=1)
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    park_as_unknown(ledger)
    assert ledger.bury_parked("i-1", "parked longer than PARKED_TTL", -1.0) == 5
    (letter,) = stream(ledger, "dead")
    assert (letter["count"], letter["perhaps"]) == ("5", "5")
    assert "could not be compared" in letter["reason"]


def test_one_that_owes_is_not_given_up_while_there_is_no_room(ledger: Ledger, steering: Steering) -> None:
    park(ledger)
    ledger.client.xadd(f"{ledger.prefix}dead", {"what": "counts"})
    with pytest.raises(LettersFull):
        give_up(steering, most=1)
    assert owed(ledger, "i-1") == 5


def test_one_that_is_not_parked_or_held_is_not_given_up(ledger: Ledger, steering: Steering) -> None:
    assert give_up(steering) is None
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    park_as_unknown(ledger)
    ledger.take("i-1", force=True)
    assert give_up(steering) is None
    assert owed(ledger, "i-1") == 5


def test_a_parked_job_is_looked_at_again_or_given_up(ledger: Ledger, steering: Steering) -> None:
    for job_id in ("job-1", "job-2"):
        ledger.expect_job(job_id)
        ledger.release_job(ledger.take_job(job_id), "parked", reason="there is no such job")
    assert ledger.due(10, 0, 0).jobs == ()
    assert steering.retry_job("job-1", **WHO)
    assert steering.drop_job("job-2", **WHO)
    assert not steering.drop_job("job-2", **WHO)
    assert ledger.due(10, 0, 0).jobs == ("job-1",)
    assert (last_history(ledger)["j"], last_history(ledger)["w"], last_history(ledger)["u"]) == ("job-2", "given_up", "ann")


def test_a_failing_job_that_was_parked_and_is_given_up_fails_no_longer(ledger: Ledger, steering: Steering) -> None:
    ledger.expect_job("job-1")
    ledger.release_job(ledger.take_job("job-1"), "parked", reason="there is no such job")
    ledger.expect_job("job-1")
    ledger.release_job(ledger.take_job("job-1"), "later", reason="time-out")
    assert steering.drop_job("job-1", **WHO)
    assert ledger.client.zcard(f"{ledger.prefix}failing_jobs") == 0


def test_paused_pushes_let_nothing_be_taken_and_counts_gather_over_a_birth(ledger: Ledger, steering: Steering) -> None:
    assert steering.pause("pushes", **WHO)
    assert not steering.pause("pushes", **WHO)
    assert woken(ledger, counts(ledger, 0, ("i-1", 5))) == []
    assert ledger.due(10, 1, 0).push == ()
    with pytest.raises(NotNow, match="NOT_READY"):
        ledger.take("i-1", force=True)
    bear(ledger, end=1)
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    assert ledger.due(10, 1, 10).push == ()
    assert steering.resume("pushes", **WHO)
    assert not steering.resume("pushes", **WHO)
    assert ledger.due(10, 1, 10).push == ("i-1",)
    assert [entry["w"] for entry in stream(ledger, "history")][-1] == "resumed"


def test_a_paused_bridge_is_told_so_with_the_positions(ledger: Ledger, steering: Steering) -> None:
    assert not ledger.positions([P0]).paused
    steering.pause("bridge", **WHO)
    assert ledger.positions([P0]).paused
    assert woken(ledger, counts(ledger, 0, ("i-1", 5))) == ["i-1"]
    steering.resume("bridge", **WHO)
    assert not ledger.positions([P0]).paused


def test_a_pause_does_not_make_a_ledger_that_has_gone_back_look_newer(ledger: Ledger, steering: Steering) -> None:
    """It works unverified: were the version raised, that of a ledger that lost writes could reach the commits' again."""
    before = ledger.positions([P0]).version
    ledger.client.hset(f"{ledger.prefix}ledger", "run", "another")
    steering.pause("bridge", **WHO)
    steering.resume("bridge", **WHO)
    assert ledger.positions([P0]).version == before


def test_only_what_can_be_paused_is(steering: Steering) -> None:
    with pytest.raises(BadInput, match="pushes or bridge"):
        steering.pause("everything", **WHO)
