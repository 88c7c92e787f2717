"""A batch becomes a task, sent by name."""

import json
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from bridge.publishing import QUEUE, Publisher
from tracker.errors import LedgerUnavailable
from tracker.events import Batch

COUNTS = Batch("1-a", "import-observations-inserted", 2, "e", 1000, 3000, "counts", 2000, '{"i":[]}')
REGISTRATION = Batch("1-a", "input-file-available", 0, "e", 0, 1, "registrations", 1, '{"i":[]}')


@pytest.fixture
def app() -> Any:
    """An app whose broker lives in this process."""
    app = Celery("a", broker="memory://", set_as_current=False)
    app.conf.update(task_create_missing_queues=True, task_serializer="json", result_backend=None)
    sent(app)  # what an earlier test left: this broker lives as long as the process
    return app


def sent(app: Any) -> list[Any]:
    """Take every message out of the queue."""
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(QUEUE)
        messages = []
        while queue.qsize():
            messages.append(queue.get_nowait())
            messages[-1].ack()
        return messages


def test_a_batch_is_sent_under_its_own_id_with_short_words_for_people(app: Any) -> None:
    publisher = Publisher(app)
    publisher.publish(COUNTS)
    (message,) = sent(app)
    assert message.headers["task"] == "tracker.add_inserted_counts"
    assert message.headers["id"] == COUNTS.id
    assert message.headers["argsrepr"] == "import-observations-inserted:2 1000-3000 (2000 records)"
    assert message.headers["kwargsrepr"] == "{}"
    assert message.headers["ignore_result"] is True
    _, kwargs, _ = json.loads(message.body)
    assert Batch.from_message(kwargs) == COUNTS


def test_registrations_have_a_task_of_their_own(app: Any) -> None:
    Publisher(app).publish(REGISTRATION)
    (message,) = sent(app)
    assert message.headers["task"] == "tracker.register_instances"


def test_the_queues_length_is_what_waits_in_it(app: Any) -> None:
    publisher = Publisher(app)
    assert publisher.queue_length() == 0
    for _ in range(3):
        publisher.publish(COUNTS)
    assert publisher.queue_length() == 3
    sent(app)
    assert publisher.queue_length() == 0


@pytest.mark.parametrize("error", [OperationalError("gone"), ConnectionResetError("gone"), TimeoutError("gone")])
def test_a_broker_that_is_away_is_the_ledger_away_and_is_connected_to_anew(app: Any, error: Exception) -> None:
    publisher = Publisher(app)
    publisher.publish(COUNTS)
    real = app.send_task

    def fails(*_args: Any, **_kwargs: Any) -> None:
        raise error

    app.send_task = fails
    with pytest.raises(LedgerUnavailable, match="gone"):
        publisher.publish(COUNTS)
    app.send_task = real
    publisher.publish(COUNTS)
    assert publisher.queue_length() == 2


def test_an_error_of_ours_is_no_broker_that_is_away(app: Any) -> None:
    publisher = Publisher(app)
    app.send_task = lambda *_args, **_kwargs: 1 / 0
    with pytest.raises(ZeroDivisionError):
        publisher.publish(COUNTS)
