"""Rates and expected ends from samples."""

import pytest

from tracker.web.sampling import MOST_PACED, SLOT_S, SLOTS, Curve, Paces


def test_a_rate_needs_two_samples_and_is_that_of_the_last_ten_seconds() -> None:
    curve = Curve()
    assert (curve.rate, curve.rates(), curve.covers_s) == (None, [], 0.0)
    curve.take(100.0, {"t:0:e": 1000})
    assert curve.rate is None
    for second in range(1, 21):
        curve.take(100.0 + second, {"t:0:e": 1000 + (50 * second if second <= 10 else 500 + 8 * (second - 10))})
    assert curve.rate == pytest.approx(8.0)
    assert [round(rate) for _, rate in curve.rates()] == [50, 50, 8, 8]
    assert curve.covers_s == 20.0


def test_a_partition_that_is_new_or_went_back_moves_nothing() -> None:
    curve = Curve()
    curve.take(0.0, {"t:0:e": 500})
    curve.take(1.0, {"t:0:e": 510, "t:1:e": 99_999})
    curve.take(2.0, {"t:0:f": 3, "t:1:e": 10})
    curve.take(3.0, {"t:0:f": 13, "t:1:e": 10})
    assert curve.rate == pytest.approx(20 / 3)


def test_the_curve_keeps_five_minutes() -> None:
    curve = Curve()
    for second in range(1000):
        curve.take(float(second), {"p": second})
    assert len(curve.rates()) <= SLOTS + 1
    assert curve.covers_s <= SLOTS * SLOT_S + SLOT_S
    assert {round(rate) for _, rate in curve.rates()} == {1}


def test_an_instance_ends_when_its_pace_says() -> None:
    paces = Paces()
    paces.take("i", 0.0, 0)
    assert (paces.of("i"), paces.left_s("i", 1000, 0)) == (None, None)
    for second in range(1, 11):
        paces.take("i", float(second), 50 * second)
    assert paces.of("i") == pytest.approx(50.0)
    assert paces.left_s("i", 1000, 500) == pytest.approx(10.0)
    assert paces.left_s("i", None, 500) is None
    assert paces.left_s("i", 400, 500) is None, "all of it is in"
    assert paces.left_s("nobody", 10, 5) is None


def test_what_stands_still_has_no_end_after_a_minute() -> None:
    paces = Paces()
    paces.take("i", 0.0, 0)
    for second in range(2, 70, 2):
        paces.take("i", float(second), 100)
    assert paces.of("i") == 0.0
    assert paces.left_s("i", 1000, 100) is None


def test_the_paces_of_those_that_moved_last_are_kept() -> None:
    paces = Paces()
    paces.take("first", 0.0, 0)
    for number in range(MOST_PACED - 1):
        paces.take(str(number), 0.0, 0)
    paces.take("first", 5.0, 7)
    paces.take("one more", 5.0, 0)
    assert paces.of("first") is not None
    assert len(paces.names()) == MOST_PACED
    assert "0" not in paces.names()
