"""The Kafka room over a real broker: single records, brokers that go away, are of 2017, or are not there."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.consumer import Cluster, GroupConsumer
from sandbox.kafka import Kafka
from tests.contract.members import EARLY, NEWER, answers, assigned, place, publish, read, until
from tracker.errors import Transient
from tracker.events import Partition, checksum

# -- single records --


def test_a_records_checksum_is_that_of_its_offset_and_value(broker: Kafka, topic: str, cluster: Cluster) -> None:
    p0, p1 = Partition(topic, 0), Partition(topic, 1)
    publish(broker, topic, b"a", b"b", b"c")
    publish(broker, topic, b"d", partition=1)
    assert cluster.checksums({p0: 1, p1: 0}) == {p0: checksum(1, b"b"), p1: checksum(0, b"d")}
    assert cluster.checksums({p0: 2}) == {p0: checksum(2, b"c")}


@NEWER
def test_a_deleted_record_is_left_out(broker: Kafka, topic: str, cluster: Cluster) -> None:
    p0, p1 = Partition(topic, 0), Partition(topic, 1)
    publish(broker, topic, b"a", b"b", b"c")
    publish(broker, topic, b"d", partition=1)
    broker.delete_records(topic, 0, 2)
    assert cluster.checksums({p0: 1, p1: 0}) == {p1: checksum(0, b"d")}
    assert cluster.checksums({p0: 2, p1: 0}) == {p0: checksum(2, b"c"), p1: checksum(0, b"d")}


# -- a broker that goes away --


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Kafka]:
    with Kafka(tmp_path / "kafka") as kafka:
        kafka.create_topic("t", 1)
        yield kafka


def test_a_broker_that_went_away_and_came_back_is_read_on(own_kafka: Kafka) -> None:
    p0 = Partition("t", 0)
    cluster = Cluster([own_kafka.address])
    member = GroupConsumer([own_kafka.address], "g", ["t"], session_timeout_s=6.0, poll_records=10)
    publish(own_kafka, "t", b"a")
    until(lambda: answers(lambda: member.poll(0.1)), "joined")
    assigned(member, partitions=1)
    place(member, {p0: 0})
    read(member, 1)
    own_kafka.kill()
    with pytest.raises(Transient, match="Kafka"):
        cluster.ends([p0], 1.0)
    for _ in range(10):
        answers(lambda: member.poll(0.1))
    own_kafka.start()
    until(lambda: answers(lambda: cluster.ends([p0], 1.0)), "the cluster answers again")
    publish(own_kafka, "t", b"b")
    got: list[bytes | None] = []

    def there() -> bool:
        if answers(lambda: got.extend(value for each in member.poll(0.1) for _, value in each.records)):
            changes = member.changes()
            if changes.assigned:
                place(member, {p0: 1})
        return bool(got)

    until(there, "the next record is read")
    assert got == [b"b"]
    member.close(2.0)
    cluster.close()


@EARLY
def test_a_broker_of_2017_tells_no_topic_ids_and_everything_else(
    broker: Kafka, topic: str, join: Callable[..., GroupConsumer], cluster: Cluster
) -> None:
    """The rest of this file and of `test_consumer.py` runs on it, too, except for what is marked."""
    p0, p1 = Partition(topic, 0), Partition(topic, 1)
    publish(broker, topic, b"a", b"b")
    assert cluster.topics([topic, "missing"]) == {topic: ("", 2)}
    assert cluster.bounds([p0, p1]) == {p0: (0, 2), p1: (0, 0)}
    assert cluster.checksums({p0: 1}) == {p0: checksum(1, b"b")}
    member = join("g-early", topic, instance_id="bridge-1")  # an id that such a broker never hears of
    assigned(member)
    place(member, {p0: 0})
    assert read(member, 2) == [(p0, [(0, b"a"), (1, b"b")], 2)]
    member.commit_now({p0: (2, "import-tracker:1:1-a:5")}, 5.0)
    assert cluster.commits("g-early", [p0, p1]) == {p0: (2, "import-tracker:1:1-a:5")}


def test_nobody_there_is_said_in_words_and_leaves_no_threads_behind() -> None:
    member = GroupConsumer(["127.0.0.1:1"], "g", ["t"], session_timeout_s=6.0, poll_records=10)
    cluster = Cluster(["127.0.0.1:1"])
    before = threading.active_count()
    for ask in (lambda: member.poll(0.1), lambda: cluster.topics(["t"])):
        with pytest.raises(Transient, match=r"127\.0\.0\.1"):
            ask()
    until(lambda: threading.active_count() == before, "threads ended")
    assert member.assignment() == frozenset()
    member.close(1.0)
