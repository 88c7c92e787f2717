"""Failures are tried again with growing waits, and said once."""

import pytest
from structlog.testing import capture_logs

from bridge.troubles import Troubles
from tracker.errors import BadInput, LedgerUnavailable, Transient


def test_waits_double_up_to_five_seconds_and_end_with_a_success() -> None:
    troubles = Troubles()
    waits: list[float] = []
    for _ in range(8):
        with troubles.trying("polling", 0.0):
            raise Transient("Kafka: down")
        waits.append(next(w for w in (n / 10 for n in range(100)) if troubles.may_try("polling", w)))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert not troubles.healthy("polling")
    with troubles.trying("polling", 0.0):
        pass
    assert troubles.may_try("polling", 0.0)
    assert troubles.healthy("polling")


def test_a_neighbour_that_is_away_is_said_once_when_it_goes_and_once_when_it_is_back() -> None:
    troubles = Troubles()
    with capture_logs() as logs:
        for _ in range(100):
            for activity in ("polling", "confirming"):
                with troubles.trying(activity, 0.0):
                    raise Transient("Kafka: down")
        with troubles.trying("reading", 0.0):
            raise LedgerUnavailable("Redis: down")
        for activity in ("polling", "confirming", "reading"):
            with troubles.trying(activity, 0.0):
                pass
    assert [(entry["event"], entry["neighbour"]) for entry in logs] == [
        ("neighbour_away", "kafka"),
        ("neighbour_away", "ledger"),
        ("neighbour_back", "kafka"),
        ("neighbour_back", "ledger"),
    ]


def test_the_last_words_of_each_neighbour_are_kept() -> None:
    troubles = Troubles()
    with troubles.trying("reading", 0.0):
        raise LedgerUnavailable("not verified")
    assert troubles.words == {"ledger": "not verified"}


def test_what_no_waiting_heals_is_let_through() -> None:
    with pytest.raises(BadInput), Troubles().trying("reading", 0.0):
        raise BadInput("ours")
