"""What tests of the Kafka room do with a member of a group, and how long they wait for it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaProducer

from bridge.consumer import GroupConsumer
from bridge.neighbours import Changes
from sandbox.kafka import EARLY_VERSION, OLD_VERSION, VERSION, Kafka
from tracker.errors import Transient
from tracker.events import Partition

DEADLINE_S = 20.0

NEWER = pytest.mark.parametrize("broker", [VERSION, OLD_VERSION], indirect=True)
"""For a test of what the brokers of 2017 do not know, or of what takes seconds and is of the client's making."""

EARLY = pytest.mark.parametrize("broker", [EARLY_VERSION], indirect=True)
"""For a test of the brokers of 2017 alone."""


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except Transient:
        return False
    return True


def publish(kafka: Kafka, topic: str, *values: bytes, partition: int = 0) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.address, acks="all")
    for value in values:
        producer.send(topic, value, partition=partition)
    producer.flush()
    producer.close()


def assigned(member: GroupConsumer, *, partitions: int = 2) -> frozenset[Partition]:
    """Poll until the group has given so many partitions to this member."""
    found: list[frozenset[Partition]] = []

    def there() -> bool:
        assert member.poll(0.05) == []
        changes = member.changes()
        if changes.assigned is not None:
            found.append(changes.assigned)
        return bool(found) and len(found[-1]) == partitions

    until(there, f"{partitions} partitions are assigned")
    return found[-1]


@contextmanager
def polled(member: GroupConsumer) -> Iterator[None]:
    """Poll the member meanwhile, as every member of a group must be: the others wait for it when the group is formed anew."""
    enough = threading.Event()

    def poll() -> None:
        while not enough.is_set():
            member.poll(0.05)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def place(member: GroupConsumer, positions: dict[Partition, int]) -> None:
    for partition, offset in positions.items():
        member.seek(partition, offset)
    member.flow(positions)


def read(member: GroupConsumer, records: int) -> list[tuple[Partition, list[tuple[int, bytes | None]], int]]:
    """Poll until so many records have come, of the partitions that flow."""
    out: list[tuple[Partition, list[tuple[int, bytes | None]], int]] = []

    def there() -> bool:
        out.extend((each.partition, list(each.records), each.end) for each in member.poll(0.05))
        return sum(len(each) for _, each, _ in out) >= records

    until(there, f"{records} records are read, found {out}")
    return out


def changed(member: GroupConsumer) -> Changes:
    """Poll until something has happened to the assignment."""
    found = []

    def there() -> bool:
        member.poll(0.05)
        changes = member.changes()
        if changes.assigned is not None or changes.astray:
            found.append(changes)
        return bool(found)

    until(there, "the assignment or a position changed")
    return found[0]
