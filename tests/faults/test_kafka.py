"""Kafka that restarts, deletes, forgets how far we were or tells it wrongly: what was published counts once, whoever read it before."""

import time
from collections.abc import Iterator, Mapping

import pytest

from sandbox.publishers import encode_inserted
from tests.conftest import Build, end
from tests.system import System


@pytest.fixture(scope="module")
def system(builder: Build) -> Iterator[System]:
    """A system of this file's own: what happens here concerns all that was ever published on it."""
    system = builder()
    yield system
    end(system)


def publish_to(system: System, partition: int, instance_id: str, records: int, observations: int = 100) -> None:
    for _ in range(records):
        value = encode_inserted(instance_id, observations)
        system.stack.publish(system.stack.inserted_topic, value, partition=partition, flush=False)
    system.stack.flush()


def commit(system: System, offsets: Mapping[int, int]) -> None:
    """As somebody else: by partition, with nothing of ours beside the offset."""
    system.stack.kafka.commit(system.stack.group, system.stack.inserted_topic, offsets)


def committed(system: System, partition: int) -> int:
    commits = system.stack.kafka.committed(system.stack.group)
    return next(offset for each, (offset, _) in commits.items() if (each.topic, each.partition) == (system.stack.inserted_topic, partition))


def test_a_group_rewound_to_the_start_changes_nothing(system: System) -> None:
    job = before, after = system.new_job("rewound", 2)
    system.count(before, 2510, 10)
    system.wait_counted([before])
    ledger = system.ledger()
    system.stack.stop("bridge")
    commit(system, dict.fromkeys(range(system.stack.partitions), 0))
    system.stack.start("bridge")
    system.count(after, 310, 10)
    system.tell_totals(*job)
    system.wait_ended(job)
    assert system.ledger() == ledger


def test_records_that_somebody_else_has_read_and_counted_are_not_counted_again(system: System) -> None:
    """As when the tracker from before takes over for a while: its commits say so, and carry nothing of ours."""
    job = theirs, ours = system.new_job("read-by-others", 2)
    system.count(ours, 300, 100)
    system.wait_counted([ours])
    system.stack.stop("bridge")
    ledger = system.ledger()
    read = committed(system, 0)
    publish_to(system, 0, theirs, records=10)
    system.stack.dataset_api.insert(theirs, 1000)
    system.expected[theirs] = 1000
    commit(system, {0: read + 10})
    system.stack.start("bridge")
    system.count(ours, 55)
    system.tell_totals(*job)
    system.wait_ended(job)
    assert system.ledger() != ledger


def test_a_topic_deleted_and_made_anew_counts_in_full(system: System) -> None:
    job = before, after = system.new_job("topic-anew", 2)
    system.count(before, 1000, 10)
    system.wait_counted([before])
    system.stack.kafka.delete_topic(system.stack.inserted_topic)
    system.stack.kafka.create_topic(system.stack.inserted_topic, system.stack.partitions)
    system.stack.renew_publisher()
    system.count(after, 3000, 10)
    system.count(before, 10)
    system.tell_totals(*job)
    system.wait_ended(job)


def test_records_deleted_before_they_were_read_are_a_loss_that_is_shown_and_the_rest_goes_on(system: System) -> None:
    job = lost, kept = system.new_job("deleted", 2)
    system.stack.stop("bridge")
    publish_to(system, 1, lost, records=5)
    system.stack.kafka.delete_records(system.stack.inserted_topic, 1, before=-1)
    publish_to(system, 1, kept, records=3)
    system.expected[kept] = 300
    system.losses += 1
    system.stack.start("bridge")
    system.tell_totals(kept)
    system.stack.dataset_api.set_state(lost, "failed")
    system.wait_ended(job, "failed", states={lost: "failed"})
    assert system.shown("/figures")["losses"] == 1


def test_taking_over_from_another_tracker(build: Build) -> None:
    """
    Part of the topic has been counted and committed without a word of ours, one record counted and not committed.

    The Dataset API's totals tell what is still owed; records that come meanwhile are counted as ever.
    """
    system = build(generation="2017", held_back=("bridge",))
    (half,), (done,), (untouched,) = (system.new_job(f"taken-over-{name}") for name in ("half", "done", "untouched"))
    publish_to(system, 0, half, records=10)
    publish_to(system, 1, done, records=10)
    publish_to(system, 2, untouched, records=5)
    system.expected |= {half: 1000, done: 1000, untouched: 500}
    system.stack.dataset_api.insert(half, 700)
    system.stack.dataset_api.insert(done, 1000)
    system.tell_totals(done)
    system.stack.dataset_api.set_state(done, "completed")
    system.stack.import_api.add_job("taken-over-done", [done], state="completed")
    commit(system, {0: 6, 1: 10})
    system.stack.dataset_api.forget_calls()

    system.stack.start("bridge")
    system.count(half, 310, 10)
    system.count(untouched, 7)
    system.tell_totals(half, untouched)
    for instance_id in (half, untouched, done):
        system.wait_ended([instance_id])
    assert not system.stack.dataset_api.calls(method="PUT", path=f"^/instances/{done}")


def test_the_broker_killed_and_restarted_while_records_flow(build: Build) -> None:
    system = build(own_kafka=True)
    job = system.new_job("broker-restarted", 6)
    system.announce(*job)
    with system.flowing(*job):
        time.sleep(1)
        system.stack.kill("kafka")
        time.sleep(1)
        system.stack.start("kafka")
        time.sleep(1)
    system.wait_ended(job)
