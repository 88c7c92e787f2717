"""Records that cannot be counted, or not yet: nothing of them is lost in silence, and nothing waits behind them."""

import base64
import time

import pytest

from tests.system import System

NEGATIVE = bytes([22]) + b"negative-of" + b"\x01"
"""An `import-observations-inserted` datum of −1."""


def publish_everywhere(system: System, topic: str, value: bytes | None) -> None:
    for partition in range(system.stack.partitions):
        system.stack.publish(topic, value, key=b"any", partition=partition, flush=False)
    system.stack.flush()


@pytest.mark.parametrize("value", [b"\xff\xff\xff", b"", None, NEGATIVE], ids=["garbage", "empty", "null", "negative"])
def test_an_undecodable_count_becomes_a_dead_letter_and_the_rest_goes_on(
    today: System, request: pytest.FixtureRequest, value: bytes | None
) -> None:
    (instance,) = job = today.new_job(f"behind-{request.node.callspec.id}")
    before = len(today.dead_letters(topic=today.stack.inserted_topic))
    today.count(instance, 100, 10)
    publish_everywhere(today, today.stack.inserted_topic, value)
    today.count(instance, 100, 10)
    today.tell_totals(instance)
    today.wait_ended(job)
    today.stack.wait_until(lambda: len(today.dead_letters(topic=today.stack.inserted_topic)) == before + today.stack.partitions)
    new = today.dead_letters(topic=today.stack.inserted_topic)[before:]
    assert {letter["partition"] for letter in new} == set(range(today.stack.partitions))
    assert {base64.b64decode(letter["raw"]) for letter in new} == {value or b""}
    assert all(letter["reason"] and letter["offset"] >= 0 for letter in new)


@pytest.mark.parametrize("value", [b"\xff\xff\xff", None], ids=["garbage", "null"])
def test_an_undecodable_file_message_becomes_a_dead_letter_and_the_rest_goes_on(
    today: System, request: pytest.FixtureRequest, value: bytes | None
) -> None:
    (instance,) = job = today.new_job(f"announced-behind-{request.node.callspec.id}")
    before = len(today.dead_letters(topic=today.stack.file_topic))
    publish_everywhere(today, today.stack.file_topic, value)
    today.announce(instance)
    today.stack.wait_until(lambda: today.instance(instance))
    today.stack.wait_until(lambda: len(today.dead_letters(topic=today.stack.file_topic)) == before + today.stack.partitions)
    today.count(instance, 10)
    today.tell_totals(instance)
    today.wait_ended(job)


def test_both_forms_of_the_file_message_are_understood(system: System) -> None:
    job = old, new = system.new_job("both-forms", 2)
    system.stack.publish_file(old, None)
    system.stack.publish_file(new, "both-forms")
    system.stack.wait_until(lambda: system.instance(old) and system.instance(new).get("job_id") == "both-forms")
    system.count(old, 5)
    system.count(new, 5)
    system.tell_totals(*job)
    system.wait_ended(job)


def test_counts_of_0_change_nothing(system: System) -> None:
    (instance,) = job = system.new_job("zeroes")
    for _ in range(5):
        system.stack.publish(system.stack.inserted_topic, bytes([2 * len(instance)]) + instance.encode() + b"\x00")
    system.count(instance, 5)
    system.tell_totals(instance)
    system.wait_ended(job)


def test_counts_of_an_instance_unknown_to_the_api_arrive_once_it_is_created(system: System) -> None:
    """No 404 ends an instance; others are counted meanwhile."""
    unknown = "created-late-1"
    (other,) = job = system.new_job("created-in-time")
    system.count(unknown, 1200, 100)
    system.stack.wait_until(lambda: system.instance(unknown).get("parked_kind") == "unknown")
    system.count(unknown, 310, 100)
    system.count(other, 100)
    system.tell_totals(other)
    system.wait_ended(job)
    assert system.instance(unknown)["owed"] == 1510

    expected = system.expected.pop(unknown)
    late = system.new_job("created-late")
    system.expected[unknown] = expected
    system.tell_totals(unknown)
    system.wait_ended(late)
    assert not system.instance(unknown)["parked_kind"]


def test_counts_of_a_published_instance_become_a_dead_letter_and_nothing_waits(today: System) -> None:
    (published,) = today.new_job("published-already", state="published", inserted=700, total=700)
    (other,) = job = today.new_job("beside-a-published", 1)
    for _ in range(4):
        today.count(published, 30, 10)
        today.count(other, 30, 10)
    today.expected[published], today.refused[published] = 700, 120
    today.tell_totals(other)
    today.wait_ended(job)
    today.stack.wait_until(lambda: sum(letter["count"] for letter in today.dead_letters(instance_id=published)) == 120)
    assert all("published" in letter["reason"] for letter in today.dead_letters(instance_id=published))
    assert today.counts([published]) == {published: 700}
    view = today.instance(published)
    assert (view["state"], view["owed"], view["intent"]) == ("published", 0, None)


def test_an_instance_that_an_editor_has_taken_on_stays_where_it_is(today: System) -> None:
    """Counts that come later are added, but nobody puts it back to `completed`."""
    (instance,) = job = today.new_job("taken-on")
    today.count(instance, 100)
    today.tell_totals(instance)
    today.wait_ended(job)
    today.stack.dataset_api.set_state(instance, "edition-confirmed")
    today.count(instance, 50)
    today.wait_counted(job)
    time.sleep(0.5)
    today.wait_ended(job, states={instance: "edition-confirmed"})
