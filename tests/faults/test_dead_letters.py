"""What cannot be decoded: replayed before and after a ledger's birth it counts exactly once, and without room nothing is lost."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Build, end
from tests.system import System

MOST = 3


@pytest.fixture(scope="module")
def whole(builder: Build) -> Iterator[System]:
    system = builder(env={"DEAD_LETTERS_MAX": str(MOST)})
    yield system
    end(system)


def run(system: System, *arguments: str) -> str:
    done = system.stack.command(*arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def garbage(system: System, *values: bytes) -> None:
    for value in values:
        system.stack.publish(system.stack.inserted_topic, value, key=b"any", partition=0)
    system.stack.flush()


def letters(system: System) -> list[dict[str, Any]]:
    return system.dead_letters(what="undecodable")


def bear(system: System) -> None:
    """Have the ledger born anew, and wait until it is in use."""
    before = system.ledger()
    run(system, "recover", "--yes")
    system.stack.wait_until(lambda: system.ledger() != before and system.shown("/figures")["ledger"]["ready"], 30)


def test_a_replay_before_and_after_a_birth_counts_exactly_once(whole: System) -> None:
    job = early, late = whole.new_job("lettered", 2)
    garbage(whole, b"\xff\x01", b"\xff\x02")
    for name in job:
        whole.count(name, 100, 10)
    whole.stack.wait_until(lambda: len(letters(whole)) == 2)
    first, second = letters(whole)
    run(whole, "dead-letters", "replay", first["id"], "--as", early, "40", "--yes")
    whole.expected[early] += 40
    whole.wait_counted(job)

    bear(whole)
    whole.wait_counted(job)
    assert [letter["id"] for letter in letters(whole)] == [second["id"]]
    run(whole, "dead-letters", "replay", second["id"], "--as", late, "60", "--yes")
    whole.expected[late] += 60
    bear(whole)
    for name in job:
        whole.count(name, 5)
    whole.tell_totals(*job)
    whole.wait_ended(job)
    assert letters(whole) == []


def test_without_room_a_partition_stands_still_and_goes_on_after_a_drop(whole: System) -> None:
    (instance,) = job = whole.new_job("no-room")
    garbage(whole, *[b"\xff\x03"] * MOST)
    whole.stack.wait_until(lambda: len(letters(whole)) == MOST)
    garbage(whole, b"\xff\x04")
    datum = bytes([2 * len(instance)]) + instance.encode() + b"\x0e"
    for partition in range(whole.stack.partitions):
        whole.stack.publish(whole.stack.inserted_topic, datum, key=b"any", partition=partition)
    whole.stack.flush()
    whole.expected[instance] = 7 * whole.stack.partitions
    whole.stack.wait_until(lambda: whole.counts(job)[instance] >= 7 * (whole.stack.partitions - 1))
    held = f"{whole.stack.inserted_topic}:0"
    whole.stack.wait_until(lambda: json.loads(run(whole, "status", "--json"))["lag"].get(held))
    assert json.loads(run(whole, "status", "--json"))["checks"]["Parked and dead letters"]["status"] == "CRITICAL"
    assert len(letters(whole)) == MOST

    run(whole, "dead-letters", "drop", "--all", "--yes", "--reason", "a test")
    whole.tell_totals(instance)
    whole.wait_ended(job)
    assert len(letters(whole)) == 1
    run(whole, "dead-letters", "drop", "--all", "--yes")
