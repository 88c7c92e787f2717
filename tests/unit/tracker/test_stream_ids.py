"""Ids of entries in a stream: which are next to each other."""

import pytest

from tracker.stream_ids import after, before, order


@pytest.mark.parametrize("lower, higher", [("5-0", "5-1"), ("5", "5-1"), ("1795537990400-9", "1795537990400-10")])
def test_the_next_id_has_the_next_serial(lower: str, higher: str) -> None:
    assert after(lower) == higher


@pytest.mark.parametrize("higher, lower", [("5-1", "5-0"), ("5-0", "4"), ("5", "4"), ("0-1", "0-0"), ("1-0", "0")])
def test_the_id_before_may_leave_out_the_serial_for_the_largest(higher: str, lower: str) -> None:
    assert before(higher) == lower


def test_ids_are_ordered_by_number_with_the_beginning_first() -> None:
    assert sorted(["10-0", "9-10", "9-9", "-", "0-1"], key=order) == ["-", "0-1", "9-9", "9-10", "10-0"]
