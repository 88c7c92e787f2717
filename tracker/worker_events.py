"""
A worker's consumer of messages that tells Flower what became of a task after the task has begun, not before.

Celery publishes the event `task-received` before it gives the message to a child, and `task-started` and `task-succeeded` by
themselves a moment later. Nobody looks at a page so soon: gathered for a moment they cost one publishing instead of three, and
no task waits for it.
"""

import time
from typing import Any

from celery.worker import consumer

FLUSH_S = 0.05
"""Seconds that events are gathered for."""


class Consumer(consumer.Consumer):  # type: ignore[misc] # Celery has no types
    """Celery's own, named by the setting `worker_consumer`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- Celery's types
        """Called by Celery with the worker that starts."""
        super().__init__(*args, **kwargs)
        self._flush_at = 0.0

    def on_send_event_buffered(self) -> None:
        """Called by Celery for each event that it has put aside: have it published soon, together with what comes until then."""
        now = time.monotonic()
        # By the time, not by a flag: the timer is lost with the connection.
        if self.hub and now >= self._flush_at:
            self._flush_at = now + FLUSH_S
            self.hub.call_later(FLUSH_S, self._flush_events)

    def stop(self) -> None:
        """Called by Celery when the worker ends: publish what is left."""
        self._flush_events()
        super().stop()
