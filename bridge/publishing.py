"""Batch → Celery task: sent by name, since the bridge knows what the tasks are called and not what they do."""

from typing import Any, cast

from kombu.exceptions import KombuError

from tracker.errors import LedgerUnavailable
from tracker.events import Batch, Kind

QUEUE = "tracker.apply"

TASKS: dict[Kind, str] = {"counts": "tracker.add_inserted_counts", "registrations": "tracker.register_instances"}

ANSWER_S = 5.0
"""How long Redis may take to connect or to answer before it counts as away."""


class Publisher:
    """
    Sends batches through one connection of its own, made on first use and again after a failure.

    Every method raises LedgerUnavailable when the broker does not answer within `ANSWER_S`: it is the same Redis.
    A batch may then have been sent or not; sending it again does no harm.
    """

    def __init__(self, app: Any) -> None:  # noqa: ANN401 - Celery has no types
        self._app = app
        self._connection: Any = None
        self._producer: Any = None

    def _connected(self) -> Any:  # noqa: ANN401
        if self._producer is None:
            # One more try, at once, in place of kombu's seconds of waiting: the bridge comes again by itself, and has Kafka to poll.
            tries = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "connect_retries_timeout": ANSWER_S}
            limits = {"socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S} | tries
            options = dict(self._app.conf.broker_transport_options or {}) | limits
            self._connection = self._app.connection_for_write(transport_options=options)
            self._producer = self._app.amqp.Producer(self._connection)
        return self._producer

    def publish(self, batch: Batch) -> None:
        """Send one batch; nobody waits for a result."""
        records = "1 record" if batch.records == 1 else f"{batch.records} records"
        try:
            self._app.send_task(
                TASKS[batch.kind],
                kwargs=batch.to_message(),
                task_id=batch.id,
                queue=QUEUE,
                producer=self._connected(),
                # What Flower shows: where the records come from, in the column that holds every other task's ids.
                argsrepr=f"{batch.topic}:{batch.partition} {batch.start}-{batch.end} ({records})",
                kwargsrepr="{}",
                ignore_result=True,
                retry=False,
            )
        except self._broker_errors() as error:
            raise self._away("publishing", error) from error

    def queue_length(self) -> int:
        """How many tasks wait for an apply worker, those in a worker's hands not counted; 0 for a queue never used."""
        try:
            # Not passively: kombu would look for the queue without the key prefix, and not find it.
            return cast("int", self._connected().channel.queue_declare(QUEUE).message_count)
        except self._broker_errors() as error:
            raise self._away("asking for the queue's length", error) from error

    def _broker_errors(self) -> tuple[type[Exception], ...]:
        known = (*self._connection.connection_errors, *self._connection.channel_errors) if self._connection else ()
        return (KombuError, OSError, *known)

    def _away(self, what: str, error: Exception) -> LedgerUnavailable:
        self.close()
        return LedgerUnavailable(f"Redis does not answer while {what}: {error}")

    def close(self) -> None:
        """Let the connection go."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.release()
