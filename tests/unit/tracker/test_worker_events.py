"""When a worker publishes what became of its tasks."""

from collections.abc import Callable

import pytest

from tracker.worker_events import FLUSH_S, Consumer


class Hub:
    """Keeps what it is asked to call later."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.asked.append((delay_s, call))


class Blueprint:
    def stop(self, _: Consumer) -> None:
        """Nothing has been started."""


class Dispatcher:
    flushed = 0

    def flush(self) -> None:
        self.flushed += 1


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Consumer:
    """One without a worker, on a clock that stands at 100."""
    monkeypatch.setattr("tracker.worker_events.time.monotonic", lambda: 100.0)
    consumer = Consumer.__new__(Consumer)
    consumer._flush_at = 0.0
    consumer.hub, consumer.event_dispatcher, consumer.blueprint = Hub(), Dispatcher(), Blueprint()
    return consumer


def test_events_are_gathered_and_published_together(consumer: Consumer) -> None:
    for _ in range(3):
        consumer.on_send_event_buffered()
    ((delay_s, publish),) = consumer.hub.asked
    assert (delay_s, consumer.event_dispatcher.flushed) == (FLUSH_S, 0)
    publish()
    assert consumer.event_dispatcher.flushed == 1


def test_events_after_a_publishing_that_never_came_are_published(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer.on_send_event_buffered()
    monkeypatch.setattr("tracker.worker_events.time.monotonic", lambda: 100.0 + FLUSH_S)
    consumer.on_send_event_buffered()
    assert len(consumer.hub.asked) == 2


def test_without_an_event_loop_celery_publishes_each_by_itself(consumer: Consumer) -> None:
    consumer.hub = None
    consumer.on_send_event_buffered()
    assert consumer.event_dispatcher.flushed == 0


def test_what_is_left_is_published_when_the_worker_ends(consumer: Consumer) -> None:
    consumer.on_send_event_buffered()
    consumer.stop()
    assert consumer.event_dispatcher.flushed == 1
