"""The book knows what must be so, and names the records that make a wrong count."""

import random

import pytest

from tests.chaos.book import Book, Instance, Job, in_ranges, plan_jobs


@pytest.fixture
def book() -> Book:
    """One job with an instance of four records, all of them in Kafka: one at each offset of partition 0."""
    book = Book()
    job = Job("j-1", [Instance("j-1-1", "j-1", [1_000, 20_000, 300_000, 4_000_000], told_early=True, fails=False, told=4_321_000)])
    book.add(job)
    for offset in range(4):
        book.acknowledge(0, 0, offset, job.instances[0], job.instances[0].take())
    return book


def test_all_is_right(book: Book):
    assert not book.check({"j-1-1": 4_321_000}, {"j-1-1": "completed"}, {"j-1": "completed"})


@pytest.mark.parametrize(
    "count, said",
    [
        (4_301_000, "j-1-1: 4,301,000 instead of 4,321,000, lost: 0:0:1"),
        (4_622_000, "j-1-1: 4,622,000 instead of 4,321,000, doubled: 0:0:0, 0:0:2"),
        (4_321_007, "j-1-1: 4,321,007 instead of 4,321,000, off by 7 of 4 records"),
    ],
)
def test_the_difference_names_the_records(book: Book, count, said):
    found = book.check({"j-1-1": count}, {"j-1-1": "completed"}, {"j-1": "completed"})
    assert found.lines() == [said]
    assert bool(found.doubled) is (count > 4_321_000)


def test_what_is_written_off_is_not_expected_and_may_come_back(book: Book):
    assert book.write_off({(0, 0): in_ranges([(1, 3)])}) == 2
    assert book.check({"j-1-1": 4_001_000}, {"j-1-1": "submitted"}, {"j-1": "submitted"}).lines() == []
    assert book.write_off({(0, 0): in_ranges([(1, 2)])}) == 1
    assert book.instances["j-1-1"].expected == 4_301_000


def test_states_that_are_late_and_states_that_are_wrong(book: Book):
    late = book.check({"j-1-1": 4_321_000}, {"j-1-1": "submitted"}, {"j-1": "submitted"})
    assert (len(late.missing), late.wrong) == (2, ())
    wrong = book.check({"j-1-1": 4_321_000}, {"j-1-1": "failed"}, {"j-1": "completed"})
    assert wrong.wrong == ("j-1-1 is failed, not completed",)


def test_completed_before_all_is_sent_is_too_early_and_more_than_was_sent_is_too_much(book: Book):
    assert book.too_early({"j-1-1": "completed"}) == []
    assert book.too_much({"j-1-1": 4_321_000}) == []
    book.instances["j-1-1"].plan.append(9)
    assert book.too_early({"j-1-1": "completed"}) == ["j-1-1 is completed after 4 of 5 records"]
    assert book.too_much({"j-1-1": 4_322_000}) == ["j-1-1: 4,322,000 instead of 4,321,000, doubled: 0:0:0"]


def test_the_same_seed_plans_the_same_jobs():
    first, second = (plan_jobs(random.Random(7), "r1") for _ in range(2))
    assert [next(first) for _ in range(20)] == [next(second) for _ in range(20)]


def test_an_instance_that_is_cut_short_before_it_fails_does_not_fail():
    instance = Instance("i-1", "j-1", [1] * 10, told_early=False, fails=True)
    instance.take()
    instance.cut_short()
    assert (instance.plan, instance.fails, instance.closed) == ([1], False, True)


def test_a_job_whose_only_instance_has_failed_ends_before_the_last_record(book: Book):
    instance = book.instances["j-1-1"]
    instance.plan.append(9)
    instance.failed = True
    assert not book.check({"j-1-1": 4_321_000}, {"j-1-1": "failed"}, {"j-1": "failed"})


def test_an_instance_of_which_nothing_is_left_stays_open_and_its_job_too(book: Book):
    """Kafka deleted all its records unread: its file is not empty, but nobody can say that it is complete."""
    book.write_off({(0, 0): in_ranges([(0, 4)])})
    book.instances["j-1-1"].told = 0
    assert not book.check({"j-1-1": 0}, {"j-1-1": "submitted"}, {"j-1": "submitted"})
