"""The Kafka room over a real broker: what the bridge builds on, seen rather than believed."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewPartitions

from bridge.consumer import Cluster, Fenced, GroupConsumer
from bridge.neighbours import Changes
from sandbox.kafka import Kafka
from tests.contract.members import DEADLINE_S, NEWER, assigned, changed, place, polled, publish, read, until
from tracker.events import Partition, checksum

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")  # kafka-python's, of members that have left

# -- positions --


def test_an_assigned_partition_is_held_until_it_is_sought(broker: Kafka, topic: str, join: Callable[..., GroupConsumer]) -> None:
    publish(broker, topic, b"a", b"b", b"c")
    member = join("g-held", topic)
    assigned(member)
    for _ in range(5):
        assert member.poll(0.05) == []
    p0 = Partition(topic, 0)
    place(member, {p0: 1})
    assert read(member, 2) == [(p0, [(1, b"b"), (2, b"c")], 3)]
    assert member.position(p0) == 3


def test_the_commit_decides_nothing(broker: Kafka, topic: str, join: Callable[..., GroupConsumer], cluster: Cluster) -> None:
    publish(broker, topic, b"a", b"b", b"c")
    p0 = Partition(topic, 0)
    first = join("g-commit", topic)
    assigned(first)
    first.commit_now({p0: (2, "ours")}, 5.0)
    first.close(2.0)
    second = join("g-commit", topic)
    assigned(second)
    place(second, {p0: 0})
    assert read(second, 3)[0][1][0] == (0, b"a")


def test_nothing_is_committed_but_by_us(broker: Kafka, topic: str, join: Callable[..., GroupConsumer]) -> None:
    publish(broker, topic, b"a")
    member = join("g-none", topic)
    place(member, dict.fromkeys(assigned(member), 0))
    assert len(read(member, 1)) == 1
    ends = time.monotonic() + 6.0  # the client's own interval is 5 s
    while time.monotonic() < ends:
        member.poll(0.2)
    assert broker.committed("g-none") == {}


def test_held_partitions_stay_in_the_group_while_polling_goes_on(broker: Kafka, topic: str, join: Callable[..., GroupConsumer]) -> None:
    member = join("g-pause", topic, session_s=1.5)
    partitions = assigned(member)
    place(member, dict.fromkeys(partitions, 0))
    member.flow([])
    publish(broker, topic, b"a")
    started = time.monotonic()
    while time.monotonic() - started < 3.5:
        assert member.poll(0.1) == []
        assert member.changes() == Changes(None, frozenset())
    member.flow(partitions)
    assert read(member, 1)[0][1] == [(0, b"a")]


def test_a_poll_brings_no_more_records_than_asked_for(broker: Kafka, topic: str, join: Callable[..., GroupConsumer]) -> None:
    publish(broker, topic, *[b"x"] * 10)
    member = join("g-few", topic, poll_records=4)
    assigned(member)
    place(member, {Partition(topic, 0): 0})
    assert [len(records) for _, records, _ in read(member, 10)] == [4, 4, 2]


def test_what_was_fetched_before_a_seek_does_not_come_after_it(broker: Kafka, topic: str, join: Callable[..., GroupConsumer]) -> None:
    publish(broker, topic, *[b"x"] * 10)
    p0 = Partition(topic, 0)
    member = join("g-stale", topic, poll_records=2)
    assigned(member)
    place(member, {p0: 0})
    read(member, 4)
    member.flow([])
    member.seek(p0, 1)
    member.flow([p0])
    assert read(member, 1)[0][1][0][0] == 1


def test_a_partition_held_with_records_in_hand_goes_on_after_another_was_read(
    broker: Kafka, topic: str, join: Callable[..., GroupConsumer]
) -> None:
    """The client set the records by and never took them out again: the partition stood still for ever."""
    p0, p1 = Partition(topic, 0), Partition(topic, 1)
    publish(broker, topic, *[b"x"] * 10)
    member = join("g-parked", topic, poll_records=2)
    assigned(member)
    place(member, {p0: 0, p1: 0})
    read(member, 2)
    member.flow([p1])
    assert member.poll(0.05) == []
    publish(broker, topic, b"y", b"z", partition=1)
    read(member, 2)
    member.flow([p0, p1])
    assert [records[0][0] for _, records, _ in read(member, 8)] == [2, 4, 6, 8]


# -- rejoining --


@NEWER
def test_a_join_that_outlasts_many_short_polls_is_completed(broker: Kafka, topic: str, join: Callable[..., GroupConsumer]) -> None:
    """A member that has no metadata when it joins joins again when it has; a poll that ended meanwhile made it forget that."""
    for number in range(10):
        member = join(f"g-short-{number}", topic)
        deadline = time.monotonic() + DEADLINE_S
        while len(member.assignment()) < 2:
            assert time.monotonic() < deadline
            member.poll(0.005)
        member.close(2.0)


def test_a_new_member_takes_partitions_and_a_leaving_one_gives_them_back(
    broker: Kafka, topic: str, join: Callable[..., GroupConsumer]
) -> None:
    first, second = join("g-two", topic), join("g-two", topic)
    assigned(first)
    with polled(first):
        mine = assigned(second, partitions=1)
    with polled(second):  # an answer to the first that came between two polls is asked for again, and needs the second too
        assert changed(first).assigned == frozenset({Partition(topic, 0), Partition(topic, 1)}) - mine
    second.close(2.0)
    assert len(assigned(first)) == 2


SLEEPER = """
import sys
from bridge.consumer import GroupConsumer
from tracker.events import Partition
address, topic = sys.argv[1:]
member = GroupConsumer([address], "g-sleep", [topic], session_timeout_s=1.5, poll_records=10)
at = {}
while True:
    stretches = member.poll(0.1)
    changes = member.changes()
    if changes.assigned is not None:
        print("assigned", len(changes.assigned), "with", len(stretches), "stretches", flush=True)
        for partition in changes.assigned:
            member.seek(partition, at.get(partition, 0))
        member.flow(changes.assigned)
        continue
    for stretch in stretches:
        print("read", stretch.records[0][0], stretch.end, flush=True)
        at[stretch.partition] = stretch.end
"""


@NEWER
def test_a_member_that_slept_past_its_session_is_assigned_anew_and_never_reads_from_the_commit(broker: Kafka, topic: str) -> None:
    """It had its partitions back, and records from the commit, inside one poll; here they are held until they are sought."""
    publish(broker, topic, b"a", b"b")
    arguments = [sys.executable, "-W", "ignore", "-c", SLEEPER, broker.address, topic]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=root, env=os.environ | {"PYTHONPATH": str(root)})
    assert process.stdout
    try:
        line = ""
        while line != "read 0 2\n":
            line = process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        time.sleep(3.5)
        publish(broker, topic, b"c")
        process.send_signal(signal.SIGCONT)
        lines = [process.stdout.readline()]
        while not lines[-1].startswith("assigned"):  # until its next heartbeat it reads on as if nothing had happened
            lines.append(process.stdout.readline())
        assert lines.pop() == "assigned 2 with 0 stretches\n"
        publish(broker, topic, b"d")
        while not lines or not lines[-1].endswith(" 4\n"):
            lines.append(process.stdout.readline())
        assert lines in (["read 2 3\n", "read 3 4\n"], ["read 2 4\n"])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@NEWER
def test_a_static_members_twin_fences_it_at_its_next_commit(broker: Kafka, topic: str, join: Callable[..., GroupConsumer]) -> None:
    first = join("g-static", topic, instance_id="bridge-1")
    assigned(first)
    assigned(join("g-static", topic, instance_id="bridge-1"))

    def fenced() -> bool:
        try:
            first.commit({Partition(topic, 0): (0, "")})
            first.poll(0.1)
        except Fenced:
            return True
        return False

    until(fenced, "the first is fenced")


# -- commits --


def test_commits_carry_their_metadata_and_anybody_may_read_them(topic: str, join: Callable[..., GroupConsumer], cluster: Cluster) -> None:
    p0, p1 = Partition(topic, 0), Partition(topic, 1)
    member = join("g-meta", topic)
    assigned(member)
    assert cluster.commits("g-meta", [p0, p1]) == {}
    member.commit({p0: (7, "import-tracker:1:1-a:5")})
    until(lambda: cluster.commits("g-meta", [p0, p1]) == {p0: (7, "import-tracker:1:1-a:5")}, "the commit is there")
    member.commit_now({p0: (3, "lower"), p1: (0, "")}, 5.0)
    assert cluster.commits("g-meta", [p0, p1]) == {p0: (3, "lower"), p1: (0, "")}
    member.poll(0.05)
    assert member.commit_error is None


def test_a_commit_of_a_partition_that_is_not_ours_is_not_sent(topic: str, join: Callable[..., GroupConsumer], cluster: Cluster) -> None:
    member = join("g-other", topic)
    assigned(member)
    gone = Partition(topic, 9)
    member.commit_now({gone: (1, "")}, 5.0)
    assert cluster.commits("g-other", [gone]) == {}


def test_a_group_rewound_or_moved_by_others_shows_in_its_commits(
    broker: Kafka, topic: str, join: Callable[..., GroupConsumer], cluster: Cluster
) -> None:
    p0 = Partition(topic, 0)
    member = join("g-foreign", topic)
    assigned(member)
    member.commit_now({p0: (7, "import-tracker:1:1-a:5")}, 5.0)
    member.close(2.0)
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    from kafka import OffsetAndMetadata, TopicPartition  # noqa: PLC0415

    admin.alter_group_offsets("g-foreign", {TopicPartition(topic, 0): OffsetAndMetadata(2, "", -1)})
    admin.close()
    assert cluster.commits("g-foreign", [p0]) == {p0: (2, "")}


# -- logs that change --


@NEWER
def test_a_position_that_retention_deleted_is_astray_until_it_is_sought_again(
    broker: Kafka, topic: str, join: Callable[..., GroupConsumer], cluster: Cluster
) -> None:
    p0, p1 = Partition(topic, 0), Partition(topic, 1)
    publish(broker, topic, *[b"x"] * 6)
    publish(broker, topic, b"other", partition=1)
    member = join("g-gap", topic)
    assigned(member)
    broker.delete_records(topic, 0, 4)
    place(member, {p0: 1})
    assert changed(member).astray == {p0}
    assert cluster.bounds([p0]) == {p0: (4, 6)}
    place(member, {p0: 4, p1: 0})
    assert sorted(read(member, 3), key=lambda each: each[0]) == [(p0, [(4, b"x"), (5, b"x")], 6), (p1, [(0, b"other")], 1)]


def test_a_position_beyond_the_end_is_astray(broker: Kafka, topic: str, join: Callable[..., GroupConsumer]) -> None:
    member = join("g-beyond", topic)
    assigned(member)
    place(member, {Partition(topic, 0): 1000})
    assert changed(member).astray == {Partition(topic, 0)}


@NEWER
def test_a_topic_made_anew_has_another_id_and_no_commits(
    broker: Kafka, topic: str, join: Callable[..., GroupConsumer], cluster: Cluster
) -> None:
    p0 = Partition(topic, 0)
    publish(broker, topic, *[b"old"] * 3)
    member = join("g-anew", topic)
    assigned(member)
    place(member, {p0: 0})
    read(member, 3)
    member.commit_now({p0: (3, "ours")}, 5.0)
    before, _ = cluster.topics([topic])[topic]
    broker.delete_topic(topic)
    assert cluster.topics([topic]) == {}
    broker.create_topic(topic, 2)
    after, partitions = cluster.topics([topic])[topic]
    assert after != before
    assert partitions == 2
    until(lambda: cluster.commits("g-anew", [p0]) == {}, "the commits went with the topic")
    publish(broker, topic, b"new")
    changed(member)
    member.flow([])
    until(lambda: member.poll(0.05) == [] and p0 in member.assignment(), "the new topic is assigned")
    member.changes()
    place(member, {p0: 0})
    assert read(member, 1) == [(p0, [(0, b"new")], 1)]


@NEWER
def test_an_added_partition_is_assigned_within_seconds(
    broker: Kafka, topic: str, join: Callable[..., GroupConsumer], cluster: Cluster
) -> None:
    member = join("g-added", topic)
    assigned(member)
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    admin.create_partitions({topic: NewPartitions(3)})
    admin.close()
    assert len(assigned(member, partitions=3)) == 3
    assert cluster.topics([topic])[topic][1] == 3


def test_a_topic_that_appears_later_is_assigned_within_seconds(broker: Kafka, join: Callable[..., GroupConsumer], cluster: Cluster) -> None:
    name = f"late-{uuid.uuid4().hex[:8]}"
    member = join("g-late", name)
    for _ in range(5):
        assert member.poll(0.1) == []
    assert cluster.topics([name]) == {}  # asking for it and waiting for it have not made it
    broker.create_topic(name, 1)
    assigned(member, partitions=1)


@NEWER
def test_transaction_markers_and_aborted_records_are_holes_that_the_position_passes(
    broker: Kafka, topic: str, join: Callable[..., GroupConsumer], cluster: Cluster
) -> None:
    p0 = Partition(topic, 0)
    producer = KafkaProducer(bootstrap_servers=broker.address, transactional_id=f"tx-{topic}")
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(topic, b"committed", partition=0)
    producer.commit_transaction()  # offset 0, marker 1
    producer.begin_transaction()
    producer.send(topic, b"aborted", partition=0)
    producer.flush()
    producer.abort_transaction()  # offset 2, marker 3
    member = join("g-tx", topic)
    assigned(member)
    place(member, {p0: 0})
    seen = read(member, 1)
    assert [record for _, records, _ in seen for record in records] == [(0, b"committed")]
    until(lambda: member.poll(0.05) == [] and member.position(p0) == 4, "the position passes the markers")
    assert cluster.bounds([p0]) == {p0: (0, 4)}
    assert cluster.checksums({p0: 3}) == {}
    assert cluster.checksums({p0: 0}) == {p0: checksum(0, b"committed")}
    producer.begin_transaction()
    producer.send(topic, b"open", partition=0)
    producer.flush()
    publish(broker, topic, b"behind it")
    assert cluster.bounds([p0]) == {p0: (0, 4)}  # what is not decided yet lies behind the end
    producer.commit_transaction()
    producer.close()
    assert next(records for _, records, _ in read(member, 2))[0] == (4, b"open")
