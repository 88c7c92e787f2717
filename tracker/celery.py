"""
The Celery app: queues, the periodic schedule, what a task may cost, and how processes say that they are alive.

Celery messages are hints that work may be waiting: losing one that came from Kafka costs seconds, never a count,
because the ledger knows what is applied and what is owed. Each setting below says why it is as it is.
"""

import gc
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any

import structlog
from celery import Celery, bootsteps, signals, states
from celery.schedules import schedule
from kombu.entity import Exchange, Queue

from tracker import logs, setting_values, settings
from tracker.errors import BadInput
from tracker.ledger import Ledger
from tracker.ledger_scripts import connect

VISIBILITY_TIMEOUT_S = 120
"""Seconds until Redis hands out a message again that was not acknowledged; above every time limit below."""

HEARTBEAT_S = 5.0
"""Seconds between two signs of life of a worker or Beat; health calls one dead after three."""

log = structlog.get_logger(__name__)


def load_settings() -> settings.Settings:
    """The settings of this process; a malformed one ends it with a line for each, as no traceback would help."""
    try:
        return settings.load()
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


config = load_settings()

app = Celery("tracker", broker=config.broker_url)
app.conf.update(
    include=["tracker.tasks"],
    # Declared, so that a plain `celery -A tracker worker` serves all of them.
    task_queues=[
        Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call]
        for name in ("tracker.apply", "tracker.push", "tracker.control")
    ],
    task_default_queue="tracker.control",
    task_routes={
        "tracker.add_inserted_counts": {"queue": "tracker.apply"},
        "tracker.register_instances": {"queue": "tracker.apply"},
        "tracker.push_counts": {"queue": "tracker.push"},
        "tracker.complete_instances": {"queue": "tracker.push"},
        "tracker.complete_jobs": {"queue": "tracker.push"},
    },
    task_create_missing_queues=False,  # a misspelt -Q or queue is an error, not a queue that nobody serves
    # JSON only: a message is data, never code.
    task_serializer="json",
    accept_content=["json"],
    result_backend=None,  # what came of a task stands in the ledger
    task_ignore_result=True,
    # A task that dies with its worker is done again; every task may be done twice.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,  # a message waits in Redis, where any worker may take it, not behind a slow task
    # Below the visibility time-out, so that no task is handed out again while it still runs.
    task_soft_time_limit=80,
    task_time_limit=100,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        # Look for abandoned messages every 5 s; the default is every 100 s.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "global_keyprefix": config.redis_key_prefix,
        # Publishing fails fast: the bridge and the periodic check come again by themselves.
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
    },
    # Without it kombu takes a rediss:// server unverified; what the URL says goes first.
    broker_use_ssl=setting_values.redis_tls(config.broker_url),
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,  # a worker waits for Redis as long as it takes
    broker_channel_error_retry=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    task_publish_retry_policy={"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5},
    # Flower reads these.
    worker_send_task_events=True,
    task_send_sent_event=True,
    worker_hijack_root_logger=True,
    worker_redirect_stdouts=False,
    # No file beside the process: the ledger decides who does a tick, so two Beats do no harm.
    beat_scheduler="celery.beat:Scheduler",
    beat_max_loop_interval=max(0.1, min(1.0, config.check_complete_interval_s)),
    beat_schedule={
        "check completion": {
            "task": "tracker.check_completion",
            "schedule": schedule(config.check_complete_interval_s),
            # Compared with the worker's clock, so tens of seconds; a pile of old ticks is worth nothing.
            "options": {"expires": max(30.0, 3 * config.check_complete_interval_s)},
        },
        "sync active instances": {
            "task": "tracker.sync_active_instances",
            "schedule": schedule(config.sync_interval_s),
            "options": {"expires": max(30.0, config.sync_interval_s)},
        },
    },
)


def heartbeat_ledger() -> Ledger:
    """A ledger of its own for signs of life, with a short time-out: a worker must not stand still for them."""
    return Ledger(connect(config.redis_url.get_secret_value(), timeout_s=2.0), config.redis_key_prefix)


def say_alive(ledger: Ledger, failing: logs.Spell, kind: str, name: str, info: dict[str, Any]) -> None:
    """Write a sign of life; one that fails is logged, as it must never end a worker or Beat."""
    try:
        ledger.beat(kind, name, info, ttl_s=3 * HEARTBEAT_S)
    except Exception as error:  # noqa: BLE001 -- whatever it is
        if failing.begins(str(error)):
            log.warning("heartbeat_failed", error=str(error))
    else:
        failing.ends()


def host_name() -> str:
    """How this machine is called in heartbeats."""
    return socket.gethostname()


class Heartbeat(bootsteps.StartStopStep):
    """Writes a worker's sign of life into the ledger, so that health can tell which queues are served."""

    requires = {"celery.worker.components:Timer"}  # noqa: RUF012 -- how bootsteps declare it

    def __init__(self, parent: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- Celery's types
        """Called by Celery with the worker that starts."""
        super().__init__(parent, **kwargs)
        self._ledger = heartbeat_ledger()
        self._failing = logs.Spell()
        self._timer: Any = None

    def start(self, parent: Any) -> None:  # noqa: ANN401 -- Celery's types
        """Beat now and from now on."""
        self._beat(parent)
        self._timer = parent.timer.call_repeatedly(HEARTBEAT_S, self._beat, (parent,))

    def stop(self, parent: Any) -> None:  # noqa: ANN401, ARG002 -- Celery's types
        """Stop beating."""
        if self._timer:
            self._timer.cancel()

    def _beat(self, parent: Any) -> None:  # noqa: ANN401 -- Celery's types
        queues = sorted(app.amqp.queues.consume_from)
        info = {"pid": os.getpid(), "host": host_name(), "queues": queues}
        say_alive(self._ledger, self._failing, "worker", parent.hostname, info)


app.steps["worker"].add(Heartbeat)

_last_tick: dict[str, float] = {}


def _beat_heartbeat(**_: Any) -> None:  # noqa: ANN401 -- a signal's arguments
    """Beat says that it lives, and when it last sent the tick."""
    ledger = heartbeat_ledger()
    name = f"{host_name()}-{os.getpid()}"
    failing = logs.Spell()

    def forever() -> None:
        while True:
            info = {"pid": os.getpid(), "host": host_name(), "last_tick": _last_tick.get("tracker.check_completion")}
            say_alive(ledger, failing, "beat", name, info)
            time.sleep(min(HEARTBEAT_S, max(1.0, config.check_complete_interval_s)))

    threading.Thread(target=forever, name="heartbeat", daemon=True).start()


def _note_tick(sender: str | None = None, **_: Any) -> None:  # noqa: ANN401 -- a signal's arguments
    if sender:
        _last_tick[sender] = time.time()


def _adopt_logger(logger: Any = None, **_: Any) -> None:  # noqa: ANN401 -- a signal's arguments
    """Celery's own handlers, with our format: `-l` and `-f` stay honoured."""
    logs.adopt(logger, human=config.human_log, secrets=settings.secrets(config))


_failed: set[str | None] = set()
"""How the last task ended, if not well."""


def _bind_task(task_id: str | None = None, task: Any = None, **_: Any) -> None:  # noqa: ANN401 -- a signal's arguments
    if _failed:
        # Celery's copy of a traceback is half a megabyte in circles: of many failures in a row, 10 MB before it was collected by itself.
        _failed.clear()
        gc.collect()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task_id=task_id, task=getattr(task, "name", None))


def _unbind_task(state: str | None = None, **_: Any) -> None:  # noqa: ANN401 -- a signal's arguments
    if state != states.SUCCESS:
        _failed.add(state)
    structlog.contextvars.clear_contextvars()


def _keep_pages_shared(**_: Any) -> None:  # noqa: ANN401 -- a signal's arguments
    """
    Hide what is loaded from the garbage collector before the first fork: it writes into every object that it looks at.

    Each child's first full collection made 17 MB of pages that it shared with the others its own. Only once, as what
    is hidden is never collected: a parent forks again for each child that ends.
    """
    signals.worker_before_create_process.disconnect(_keep_pages_shared)
    gc.collect()
    gc.freeze()


def _end_for_certain(sender: Any = None, **_: Any) -> None:  # noqa: ANN401 -- a signal's arguments
    """Beat ends on SIGTERM by an exception alone; one that got lost in a callback would leave it running."""
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        sender.stop()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, end)


signals.worker_before_create_process.connect(_keep_pages_shared, weak=False)
signals.beat_init.connect(_beat_heartbeat, weak=False)
signals.beat_init.connect(_end_for_certain, weak=False)
signals.beat_embedded_init.connect(_beat_heartbeat, weak=False)
signals.after_task_publish.connect(_note_tick, weak=False)
signals.after_setup_logger.connect(_adopt_logger, weak=False)
signals.after_setup_task_logger.connect(_adopt_logger, weak=False)
signals.task_prerun.connect(_bind_task, weak=False)
signals.task_postrun.connect(_unbind_task, weak=False)
