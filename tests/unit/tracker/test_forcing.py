"""What a person ends by force: through the workers' code, with nothing that is owed lost."""

import asyncio

import pytest

from tests.contract.batches import stream
from tests.unit.tracker.test_completing import Import
from tracker import forcing
from tracker.completing import Advanced
from tracker.errors import Transient
from tracker.steering import Steering

WHO = {"who": "ann", "why": "a damaged file"}


def end(run: Import, instance_id: str, state: str) -> Advanced:
    steering = Steering(run.ledger.client, run.ledger.prefix)
    return asyncio.run(forcing.end(run.advancing, instance_id, state, steering, **WHO))


def settle(run: Import, instance_id: str) -> str:
    return asyncio.run(forcing.settle(run.advancing, instance_id, who="ann"))


def test_an_instance_completed_by_force_leaves_what_it_owes_as_a_letter_and_its_job_follows() -> None:
    run = Import()
    run.count("a", 1000)
    run.push("a")
    run.count("a", 7)
    run.count("b", 900)
    run.push("b")
    assert end(run, "a", "completed").outcome == "completed"
    assert run.states == ("completed", "completed", "completed")
    (letter,) = stream(run.ledger, "dead")
    assert (letter["instance"], letter["count"], letter["reason"]) == ("a", "7", "completed by force by ann: a damaged file")
    assert run.dataset_api.instances["a"].inserted == 1000
    (entry,) = [entry for entry in stream(run.ledger, "history") if entry["w"] == "forced"]
    assert (entry["i"], entry["s"], entry["u"], entry["y"]) == ("a", "completed", "ann", "a damaged file")


def test_an_instance_failed_by_a_person_fails_its_job_when_the_others_have_ended() -> None:
    run = Import()
    run.count("a", 5)
    assert end(run, "a", "failed").outcome == "failed"
    assert run.states == ("failed", "submitted", "submitted")
    assert [letter["count"] for letter in stream(run.ledger, "dead")] == ["5"]
    run.count("b", 900)
    run.push("b")
    assert run.states == ("failed", "completed", "failed")


def test_one_that_has_ended_stays_as_it_is_and_what_it_owes_is_pushed() -> None:
    run = Import()
    run.count("a", 5)
    run.dataset_api.instances["a"].state = "completed"
    ended = end(run, "a", "failed")
    assert (ended.outcome, ended.again) == ("completed", True)
    run.push("a")
    assert (run.dataset_api.instances["a"].inserted, stream(run.ledger, "dead")) == (5, [])


def test_a_put_of_a_state_that_cannot_be_sent_gives_nothing_up() -> None:
    run = Import()
    run.count("a", 5)
    run.dataset_api.fate = lambda: "not sent"
    with pytest.raises(Transient, match=r"a has not ended here: .*To say it again is safe"):
        end(run, "a", "completed")
    assert stream(run.ledger, "dead") == []
    run.dataset_api.fate = lambda: "fine"
    run.push("a")
    assert run.dataset_api.instances["a"].inserted == 5


def test_a_lost_answer_is_read_back() -> None:
    run = Import()
    run.count("a", 5)
    run.dataset_api.fate = lambda: "answer lost"
    assert end(run, "a", "completed").outcome == "completed"
    assert [letter["count"] for letter in stream(run.ledger, "dead")] == ["5"]


def test_without_room_for_a_letter_what_is_owed_is_pushed_all_the_same() -> None:
    run = Import()
    run.ledger.dead_letters_max = 1
    run.ledger.client.xadd(f"{run.ledger.prefix}dead", {"what": "counts"})
    run.count("a", 5)
    assert end(run, "a", "completed").again
    run.push("a")
    assert run.dataset_api.instances["a"].inserted == 5


def test_one_that_is_held_or_not_followed_or_paused_is_told_why() -> None:
    run = Import()
    with pytest.raises(Transient, match="it is not followed"):
        end(run, "a", "completed")
    run.count("a", 5)
    turn = run.ledger.take("a")
    with pytest.raises(Transient, match="a worker holds it"):
        end(run, "a", "completed")
    with pytest.raises(Transient, match="a worker holds it"):
        settle(run, "a")
    run.ledger.release(turn)
    Steering(run.ledger.client, run.ledger.prefix).pause("pushes", **WHO)
    with pytest.raises(Transient, match="the pushes are paused"):
        end(run, "a", "completed")


def test_settling_goes_as_far_as_the_rules_go() -> None:
    run = Import()
    run.count("a", 1510)
    run.count("b", 900)
    run.push("b")
    run.ledger.park(run.ledger.take("a"), "refused", "400")
    assert settle(run, "a") == "completed"
    assert run.states == ("completed", "completed", "completed")
