"""Why an instance stands still, in words."""

import pytest

from tracker.views import read_instance

NOW_MS = 10_000_000
SINCE = NOW_MS - 25 * 60_000


@pytest.mark.parametrize(
    "fields, said",
    [
        ({}, "the Dataset API has no total above 0 yet, and nothing has happened for 25 min"),
        (
            {"why": "GET /instances/i: 503", "tr": "3"},
            "the Dataset API has no total above 0 yet, and nothing has happened for 25 min: GET /instances/i: 503",
        ),
        ({"total": "900", "ins": "888"}, "12 of 900 are missing and no record has come for 25 min"),
        ({"total": "900", "ins": "888", "owed": "12"}, "12 are owed and not pushed for 25 min: no push worker has tried"),
        ({"total": "9", "owed": "9", "why": "PUT: 403"}, "9 are owed and not pushed for 25 min: PUT: 403"),
        ({"owed": "9", "dl": "9", "sent": "1", "why": "PUT: time-out"}, "the outcome of a PUT is not known for 25 min: PUT: time-out"),
        ({"aside": "40"}, "40 counted before the ledger's birth are not compared with the Dataset API yet for 25 min"),
        (
            {"total": "9", "ins": "9", "tasks": "hierarchy of geography"},
            "all 9 are in; the Dataset API waits for 25 min for hierarchy of geography",
        ),
        ({"total": "9", "ins": "9", "why": "PUT: 409"}, "all 9 are in and it is not completed for 25 min: PUT: 409"),
    ],
)
def test_it_is_said_what_is_missing_and_for_how_long(fields: dict[str, str], said: str) -> None:
    raw = {"g": "1", "st": "submitted", "first": "1", "last": str(SINCE), "stk": str(NOW_MS - 1000)} | fields
    assert read_instance("i", raw, "1", NOW_MS).stuck == said


@pytest.mark.parametrize("fields", [{"end": "5"}, {"pk": "refused", "pkd": "5"}, {"last": str(NOW_MS)}, {"mv": str(NOW_MS)}, {"stk": ""}])
def test_one_that_has_ended_is_parked_or_moves_is_not_stuck(fields: dict[str, str]) -> None:
    raw = {"g": "1", "st": "submitted", "last": str(SINCE), "stk": str(NOW_MS - 1000)} | fields
    assert read_instance("i", raw, "1", NOW_MS).stuck == ""
