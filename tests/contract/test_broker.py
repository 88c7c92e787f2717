"""The Kafka room over a real broker: single records, brokers that go away, are of 2017, or are not there."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import bridge.consumer as consumer_room
from bridge.consumer import Cluster, GroupConsumer
from sandbox.kafka import OLD_VERSION, Kafka
from tests.contract.members import answers, assigned, place, publish, read, until
from tracker.errors import Transient
from tracker.events import Partition, checksum

# -- single records --


def test_a_records_checksum_is_that_of_its_offset_and_value(kafka: Kafka, topic: str, cluster: Cluster) -> None:
    p0, p1 = Partition(topic, 0), Partition(topic, 1)
    publish(kafka, topic, b"a", b"b", b"c")
    publish(kafka, topic, b"d", partition=1)
    assert cluster.checksums({p0: 1, p1: 0}) == {p0: checksum(1, b"b"), p1: checksum(0, b"d")}
    assert cluster.checksums({p0: 2}) == {p0: checksum(2, b"c")}


def test_a_deleted_record_is_left_out(kafka: Kafka, topic: str, cluster: Cluster) -> None:
    p0, p1 = Partition(topic, 0), Partition(topic, 1)
    publish(kafka, topic, b"a", b"b", b"c")
    publish(kafka, topic, b"d", partition=1)
    kafka.delete_records(topic, 0, 2)
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
        if answers(lambda: got.extend(r.value for s in member.poll(0.1) for r in s.records)):
            changes = member.changes()
            if changes.assigned:
                place(member, {p0: 1})
        return bool(got)

    until(there, "the next record is read")
    assert got == [b"b"]
    member.close(2.0)
    cluster.close()


def test_a_broker_as_old_as_2017_is_read_and_committed_to_without_topic_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older line of brokers still speaks the protocol of 0.10.2, which knows neither topic ids nor transactions."""
    monkeypatch.setitem(consumer_room._COMMON, "api_version", (0, 10, 2))
    p0 = Partition("t", 0)
    with Kafka(tmp_path / "kafka", version=OLD_VERSION) as kafka:
        kafka.create_topic("t", 1)
        cluster = Cluster([kafka.address])
        publish(kafka, "t", b"a", b"b")
        assert cluster.topics(["t", "missing"]) == {"t": ("", 1)}
        until(lambda: answers(lambda: cluster.commits("g", [p0])), "the coordinator is up")
        assert cluster.bounds([p0]) == {p0: (0, 2)}
        assert cluster.checksums({p0: 1}) == {p0: checksum(1, b"b")}
        member = GroupConsumer([kafka.address], "g", ["t"], session_timeout_s=6.0, poll_records=10)
        assigned(member, partitions=1)
        place(member, {p0: 0})
        assert read(member, 2) == [(p0, [(0, b"a"), (1, b"b")], 2)]
        member.commit_now({p0: (2, "ours")}, 5.0)
        assert cluster.commits("g", [p0]) == {p0: (2, "ours")}
        member.close(2.0)
        cluster.close()


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
