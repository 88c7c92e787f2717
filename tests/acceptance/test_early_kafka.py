"""The broker of 2017, which the original was written against: nothing newer is needed for counting right."""

from collections.abc import Iterator

import pytest

from sandbox.early_kafka import EarlyKafka
from tests.conftest import Build, end
from tests.system import System


@pytest.fixture(scope="module")
def system(builder: Build, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system on the APIs and the Kafka of 2017."""
    with EarlyKafka(tmp_path_factory.mktemp("early-kafka")) as kafka:
        system = builder(generation="2017", kafka=kafka)
        yield system
        end(system)


def test_a_job_is_counted_and_completed_whoever_is_killed(system: System) -> None:
    job = system.new_job("early", 2)
    system.announce(*job)
    with system.flowing(*job):
        for process in ("bridge", "apply", "push"):
            system.stack.kill(process)
            system.stack.start(process)
    system.wait_ended(job)


def test_a_topic_made_anew_is_known_by_its_end(system: System) -> None:
    """There are no topic ids; a log that ends below what is applied is another one, or has lost records."""
    before, after = system.new_job("early-before"), system.new_job("early-after")
    system.count(before[0], 3000, 10)
    system.tell_totals(*before)
    system.wait_ended(before)
    ledger = system.ledger()
    topic = system.stack.inserted_topic
    system.stack.kafka.delete_topic(topic)
    system.stack.kafka.create_topic(topic, system.stack.partitions)
    system.stack.renew_publisher()
    system.count(after[0], 500, 10)
    system.tell_totals(*after)
    system.wait_ended(after)
    assert system.ledger() != ledger
