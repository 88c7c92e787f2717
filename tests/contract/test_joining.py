"""A bridge that joins its group alone is assigned everything at once, not nothing first."""

import json
from pathlib import Path

from sandbox.kafka import Kafka
from sandbox.stack import Stack


def test_the_first_assignment_of_a_lone_bridge_holds_all_partitions(kafka: Kafka, tmp_path: Path) -> None:
    """Joined before the topics' partitions were known, it would get none, and in a race with that knowledge keep none for good."""
    with Stack(processes=("bridge",), kafka=kafka, folder=tmp_path) as stack:
        lines = [json.loads(line) for line in stack.logs("bridge").splitlines() if line.startswith("{")]
    first = next(line["partitions"] for line in lines if line["event"] == "partitions_assigned")
    assert first == sorted(f"{topic}:{number}" for topic in (stack.file_topic, stack.inserted_topic) for number in range(4))
