"""A member that joins a group alone is assigned everything at once, not nothing first."""

import time
import uuid

import pytest

from bridge.consumer import GroupConsumer
from sandbox.kafka import Kafka
from tracker.events import Partition


@pytest.mark.parametrize("attempt", range(3))
def test_the_first_assignment_of_a_lone_member_holds_all_partitions(kafka: Kafka, attempt: int) -> None:
    """Joined before the topic's partitions were known, it would get none, and in a race with that knowledge keep none for good."""
    topic = f"joining-{uuid.uuid4().hex[:8]}"
    kafka.create_topic(topic, 4)
    member = GroupConsumer([kafka.address], f"{topic}-{attempt}", [topic], session_timeout_s=6.0, poll_records=10)
    try:
        deadline = time.monotonic() + 20
        heard: list[frozenset[Partition]] = []
        while not heard and time.monotonic() < deadline:
            member.poll(0.1)
            heard = member._listener.heard if member._listener else []
    finally:
        member.close(2.0)
    assert heard[0] == {Partition(topic, number) for number in range(4)}
