"""What is published and not yet applied."""

from bridge.window import MAX_REPUBLISH_S, Window
from tracker.events import Batch, Partition

P0, P1 = Partition("t", 0), Partition("t", 1)


def batch(start: int, end: int, partition: int = 0) -> Batch:
    return Batch("1-a", "t", partition, "e", start, end, "counts", end - start, "{}")


def overdue(window: Window, now: float) -> list[int]:
    return [each.batch.start for each in window.overdue(now)]


def test_batches_are_forgotten_once_the_ledger_is_past_them() -> None:
    window = Window(100, 5.0)
    for start in (0, 10, 20):
        window.add(P0, batch(start, start + 10), 0.0)
    window.drop_applied(P0, 15)
    assert (window.records, window.batches) == (20, 2)
    window.drop_applied(P0, 30)
    assert (window.records, window.batches) == (0, 0)
    assert P0 not in window


def test_the_window_is_bounded_in_records_over_all_partitions() -> None:
    window = Window(20, 5.0)
    window.add(P0, batch(0, 10), 0.0)
    assert window.has_room(P0, 0.0)
    window.add(P1, batch(0, 10, 1), 0.0)
    assert not window.has_room(P0, 0.0)
    assert not window.has_room(P1, 0.0)
    window.drop(P1)
    assert window.has_room(P0, 0.0)


def test_a_stuck_partition_gets_no_room_and_takes_none_from_the_others() -> None:
    window = Window(20, 5.0)
    window.add(P0, batch(0, 20), 0.0)
    assert not window.has_room(P1, 4.9)
    assert window.has_room(P1, 5.0)
    assert not window.has_room(P0, 5.0)


def test_only_the_batch_that_is_waited_for_becomes_overdue() -> None:
    window = Window(100, 5.0)
    window.add(P0, batch(0, 10), 0.0)
    window.add(P0, batch(10, 20), 0.0)
    window.add(P1, batch(5, 7, 1), 1.0)
    assert overdue(window, 4.9) == []
    assert overdue(window, 5.0) == [0]
    assert overdue(window, 6.0) == [0, 5]
    window.drop_applied(P0, 10)
    assert overdue(window, 6.0) == [10, 5]


def test_the_wait_doubles_with_each_copy_up_to_a_minute() -> None:
    window = Window(100, 5.0)
    window.add(P0, batch(0, 10), 0.0)
    now, waits = 0.0, []
    for _ in range(7):
        (outstanding,) = window.overdue(1e9)
        waits.append(outstanding.due - now)
        now = outstanding.due
        window.publish_again(outstanding, now)
    assert waits == [5, 10, 20, 40, 60, 60, 60]
    assert waits[-1] == MAX_REPUBLISH_S


def test_a_first_wait_above_a_minute_stays_as_it_is() -> None:
    window = Window(100, 90.0)
    window.add(P0, batch(0, 10), 0.0)
    (outstanding,) = window.overdue(90.0)
    window.publish_again(outstanding, 90.0)
    assert outstanding.due == 180.0


def test_a_batch_is_named_to_people_from_its_third_copy_on() -> None:
    window = Window(100, 5.0)
    window.add(P0, batch(3, 10), 0.0)
    for copies in (2, 3):
        assert not list(window.stubborn())
        (outstanding,) = window.overdue(1e9)
        window.publish_again(outstanding, 1.0)
        assert outstanding.attempts == copies
    assert [(each.batch.start, each.attempts) for each in window.stubborn()] == [(3, 3)]


def test_batches_without_records_take_no_room_and_are_waited_for_like_others() -> None:
    window = Window(1, 5.0)
    window.add(P0, Batch("1-a", "t", 0, "e", 0, 4, "counts", 0, "{}"), 0.0)
    assert window.has_room(P0, 0.0)
    assert overdue(window, 5.0) == [0]


def test_a_partition_has_as_many_batches_on_their_way_as_may_be_and_the_others_theirs() -> None:
    window = Window(100, 5.0, max_batches=2)
    window.add(P0, batch(0, 1), 0.0)
    assert window.has_room(P0, 0.0)
    window.add(P0, batch(1, 2), 0.0)
    assert not window.has_room(P0, 0.0)
    assert window.has_room(P1, 0.0)
    window.drop_applied(P0, 1)
    assert window.has_room(P0, 0.0)
