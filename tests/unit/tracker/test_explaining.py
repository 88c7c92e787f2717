"""An instance in plain sentences, and whether two books agree."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.unit.tracker.test_findings import LEDGER
from tracker.explaining import Told, compare, explain
from tracker.instance import Instance
from tracker.views import DeadLetter, PauseView, read_instance

NOW_S = 10_000.0
FIELDS = {"g": "1", "st": "submitted", "first": "1", "last": "9990000", "total": "900", "ins": "500", "counted": "500", "job": "job-1"}
API = Instance("i-1", "submitted", "job-1", 900, 500, "t1")


def told(instance: Instance | None = API, fields: Mapping[str, str] | None = None) -> Told:
    raw = FIELDS | dict(fields or {})
    view = read_instance("i-1", raw, "1", int(NOW_S * 1000))
    return Told("i-1", view, instance, "" if instance else "The Dataset API could not be asked: GET: time-out.", LEDGER, (), NOW_S)


def test_one_that_gets_on_is_told_in_full() -> None:
    assert explain(told()) == [
        "i-1 of job job-1 is submitted as far as the tracker knows.",
        "This ledger has counted 500 observations of it.",
        "The last thing that happened to it was 10 s ago.",
        "The Dataset API says: submitted, 500 observations inserted, a total of 900.",
        "400 observations are awaited from Kafka.",
        "To do: nothing, it goes on by itself.",
    ]


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"owed": "5"}, "5 observations are owed and wait to be pushed."),
        ({"aside": "40"}, "40 observations read again at the ledger's birth are to be compared with the Dataset API."),
        ({"owed": "5", "dl": "5", "sent": "9970000"}, "A PUT of 5 was sent 30 s ago; what came of it is not known yet."),
        ({"why": "PUT: 503", "nb": "10005000"}, "The last try failed: PUT: 503, the next try is in 5 s."),
        ({"pk": "refused", "pkd": "9000000", "why": "400"}, "It is parked (refused) since 17 min: 400."),
        (
            {"pk": "unknown", "pkd": "9000000", "why": "404", "aside": "5", "owed": "2"},
            "It is parked (unknown) since 17 min: 404. The 7 observations counted for it and not confirmed wait meanwhile.",
        ),
        (
            {"pk": "refused", "pkd": "9000000"},
            "To do: mend the cause at the Dataset API, then tracker parked retry i-1; to give it up, tracker parked drop i-1.",
        ),
        (
            {"pk": "unknown", "pkd": "9000000"},
            "To do: create it at the Dataset API, then tracker parked retry i-1; for a mistyped id, tracker parked drop i-1.",
        ),
        ({"end": "5", "st": "completed"}, "To do: nothing, it has ended."),
        (
            {"end": "5", "st": "completed"},
            "How it ended, and who decided that if a person did, is told by tracker history --instance i-1.",
        ),
        ({"hand": "7"}, "This ledger has counted 500 observations of it. By hand, 7 have ever been added."),
    ],
)
def test_what_is_awaited_and_what_is_to_be_done_is_said(fields: dict[str, str], said: str) -> None:
    assert said in explain(told(fields=fields))


def test_one_that_is_stuck_has_a_way_out_named() -> None:
    fields = {"last": "1000000", "stk": "9000000"}
    assert explain(told(fields=fields))[-1].startswith("To do: it is stuck: 400 of 900 are missing and no record has come for 150 min.")


def test_what_the_api_does_not_answer_or_lacks_is_said() -> None:
    assert "The Dataset API could not be asked: GET: time-out." in explain(told(None))
    assert "That is 5 more than the total." in explain(told(replace(API, inserted_observations=(API.total_observations or 0) + 5)))
    said = explain(told(replace(API, total_observations=None, open_tasks=("hierarchy of age",))))
    assert "The total is awaited; the dimension extractor tells it to the Dataset API." in said
    assert "It is not completed before these are done: hierarchy of age." in said


def test_while_the_api_does_not_answer_nothing_is_advised_that_hangs_on_what_it_says() -> None:
    mend = "To do: mend what keeps the Dataset API from answering, then tracker explain i-1 again."
    away = told(None)
    assert explain(replace(away, view=None))[-1] == mend
    assert explain(told(None, {"pk": "unknown", "pkd": "9000000"}))[-1] == mend
    assert explain(away)[-1] == mend


def test_a_total_of_0_is_told_apart_from_none() -> None:
    """By itself it never completes: 0 may be what the extractor has begun with, or all that there is."""
    said = explain(told(replace(API, total_observations=0), {"total": ""}))
    assert "The Dataset API says: submitted, 500 observations inserted, a total of 0." in said
    assert "A total above 0 is awaited; the dimension extractor tells it to the Dataset API." in said
    assert said[-1] == "To do: nothing, unless the total stays 0: then tracker complete i-1 --force, or tracker fail i-1."


@pytest.mark.parametrize(
    "fields", [{"owed": "5"}, {"pk": "refused", "pkd": "9000000"}, {"end": "5"}, {"stk": "9000000", "last": "1000000"}]
)
def test_a_total_of_0_hides_nothing_else_that_is_to_be_done(fields: dict[str, str]) -> None:
    said = explain(told(replace(API, total_observations=0), {"total": ""} | fields))[-1]
    assert said == explain(told(replace(API, total_observations=None), {"total": ""} | fields))[-1]


def test_a_total_that_the_api_could_not_be_asked_for_may_be_0() -> None:
    assert "A total above 0 is awaited; the dimension extractor tells it to the Dataset API." in explain(told(None, {"total": ""}))


def test_one_that_nobody_knows_is_said() -> None:
    said = explain(replace(told(), view=None))
    assert said[0].startswith("i-1 is not known here")
    assert said[-1] == "To do: if it should be followed, tracker register i-1."


def test_one_that_the_api_does_not_know_does_not_go_on_by_itself() -> None:
    stranger = replace(told(None), unknown=True)
    assert explain(stranger)[-1] == (
        "To do: create it at the Dataset API, then it goes on by itself; a mistyped id is parked soon, then tracker parked drop i-1."
    )
    assert explain(replace(told(None, {"end": "5", "st": "completed"}), unknown=True))[-1] == "To do: nothing, it has ended."
    assert "tracker parked retry i-1" in explain(replace(told(None, {"pk": "unknown", "pkd": "9000000"}), unknown=True))[-1]


def test_what_hinders_everything_comes_first() -> None:
    unready, unverified = replace(LEDGER, ready=False), replace(LEDGER, verified=False)
    halted = replace(LEDGER, ready=False, paused={"pushes": PauseView("ann", "an upgrade", NOW_S - 60)})
    assert "just been born" in explain(replace(told(), ledger=unready))[-1]
    assert "not in use" in explain(replace(told(), ledger=unverified))[-1]
    assert "paused by ann 60 s ago (an upgrade)" in explain(replace(told(), ledger=halted))[-1]


def test_its_dead_letters_are_counted() -> None:
    said = explain(replace(told(), letters=(DeadLetter("1-1", 1.0, "counts", "why", "i-1", None, 40),)))
    assert "1 dead letter of it waits for a decision, 40 observations in all." in said
    assert said[-1] == "To do: decide about its dead letters: tracker dead-letters list --instance i-1."


@pytest.mark.parametrize(
    "fields, instance, remedy",
    [
        ({}, API, ""),
        ({}, None, ""),
        ({}, replace(API, inserted_observations=600), "look again"),
        ({}, replace(API, inserted_observations=400), "look again"),
        ({"owed": "5"}, API, "push what is owed"),
        ({"owed": "5", "dl": "5", "sent": "1"}, replace(API, inserted_observations=505), "read back what has had no answer"),
        ({"aside": "40"}, API, "settle what a birth left open"),
        ({"pk": "refused", "pkd": "5", "owed": "5"}, API, "try what is parked again, push what is owed"),
        ({}, replace(API, state="completed"), "note its end"),
        ({"ins": "901"}, replace(API, inserted_observations=901), ""),
    ],
)
def test_the_two_books_are_compared(fields: dict[str, str], instance: Instance | None, remedy: str) -> None:
    found = compare(told(instance, fields))
    assert found.remedy == remedy
    assert found.agree == (not remedy and instance is not None)
    assert ("They agree." in found.sentences) == found.agree


def test_one_that_the_ledger_has_forgotten_is_to_be_followed_while_it_is_submitted() -> None:
    assert compare(replace(told(), view=None)).remedy == "follow it"
    assert compare(replace(told(replace(API, state="completed")), view=None)).agree
