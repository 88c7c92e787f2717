"""Ids of entries in a stream: which are ones, and which are next to each other."""

import pytest

from tracker.stream_ids import LARGEST, after, before, is_id, order


@pytest.mark.parametrize("text", ["1795537990400-0", "0-1", "1", "5-007", f"{LARGEST}-{LARGEST}", f"{LARGEST}"])
def test_what_an_entry_can_be_called_is_an_id(text: str) -> None:
    assert is_id(text)


BELOW, BEYOND = ["0", "0-0", "00-0"], ["9" * 30, f"1-{LARGEST + 1}", "0" * 30 + "1"]
OF_NO_NUMBERS = ["", "-", "+", "1-", "-1", "1-2-3", "x", "1-x", " 1", "1.0", "²", "٣"]


@pytest.mark.parametrize("text", [*BELOW, *BEYOND, *OF_NO_NUMBERS])
def test_what_no_entry_is_called_is_no_id(text: str) -> None:
    assert not is_id(text)


@pytest.mark.parametrize("lower, higher", [("5-0", "5-1"), ("5", "5-1"), ("1795537990400-9", "1795537990400-10")])
def test_the_next_id_has_the_next_serial(lower: str, higher: str) -> None:
    assert after(lower) == higher


@pytest.mark.parametrize("higher, lower", [("5-1", "5-0"), ("5-0", "4"), ("5", "4"), ("0-1", "0-0"), ("1-0", "0")])
def test_the_id_before_may_leave_out_the_serial_for_the_largest(higher: str, lower: str) -> None:
    assert before(higher) == lower


def test_ids_are_ordered_by_number_with_the_beginning_first() -> None:
    assert sorted(["10-0", "9-10", "9-9", "-", "0-1"], key=order) == ["-", "0-1", "9-9", "9-10", "10-0"]
