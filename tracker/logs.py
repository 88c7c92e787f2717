"""
The logs: one JSON object per line on stdout, from our own code and from every library alike.

    {"created_at": "2026-01-31T12:00:00.123456Z", "namespace": "import-tracker", "severity": "INFO", "logger": "tracker.tasks",
     "event": "instance_completed", "instance_id": "i-1", …, "exception": "the traceback, in one text"}

Our events are constant names with identifiers beside them; a library's message is its `event`. With `human` the same
fields are written for reading. Registered secrets are masked wherever they appear.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

NAMESPACE = "import-tracker"

MASK = "***"

MIN_SECRET_CHARACTERS = 4
"""A shorter secret is not masked: it would also blot out pieces of ordinary words."""

_MAX_DEPTH = 8
"""How deep values inside values are searched for secrets; what lies deeper is written as its `repr`, which also ends a circle."""

_QUIET = ("httpx", "httpcore", "kafka", "asyncio", "urllib3")
"""Libraries that log each call or heartbeat at INFO: of these only warnings and worse are written."""

_secrets: tuple[str, ...] = ()


class _Handler(logging.StreamHandler[TextIO]):
    """The handler that `configure` puts in place; its class tells it from a test runner's or a library's."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - named by the standard library
        """Say on stderr that a line is lost, without what it held: `logging` itself would show it there unmasked."""
        print(f"{NAMESPACE}: a log line of {record.name} is lost: {type(sys.exc_info()[1]).__name__}", file=sys.stderr)  # noqa: T201


REMIND_S = 60.0
"""Seconds after which a trouble that lasts is written again."""


class Spell:
    """
    A trouble that comes again and again: it is to be written when it comes, when its reason is another one, and every `REMIND_S`.

    Each process has its own, and of several that take turns one may not hear that all was well: so it is not for ever.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._reason: str | None = None
        self._said_s = 0.0
        self._clock = clock

    def begins(self, reason: str) -> bool:
        """Note the trouble; returns whether it is to be written."""
        now_s = self._clock()
        if reason == self._reason and now_s - self._said_s < REMIND_S:
            return False
        self._reason, self._said_s = reason, now_s
        return True

    def ends(self) -> None:
        """Note that all is well."""
        self._reason = None


def configure(*, human: bool, level: str, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """
    Send the logs of this process to `stream` (default: stdout), those of the standard library's `logging` too.

    `level` names the least severity written. Replaces what an earlier call set up. A Celery worker or Beat puts its
    own handlers in place instead: `adopt` those.
    """
    handler = _Handler(stream or sys.stdout)
    handler.setFormatter(formatter(human, colors=handler.stream.isatty()))
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if not isinstance(other, _Handler)] + [handler]
    root.setLevel(level)
    _shape(secrets)


def adopt(logger: logging.Logger, *, human: bool, secrets: Iterable[str] = ()) -> None:
    """
    Give the handlers of `logger` our form, and lead those of stderr to stdout; its level and log file stay as they are.

    For Celery's signals `after_setup_logger` and `after_setup_task_logger`, so that its `-l` and `-f` are honoured.
    """
    for handler in logger.handlers:
        colors = False
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            # Celery replaces sys.stdout by a proxy that logs: writing there would go round in circles.
            if handler.stream is sys.__stderr__ and sys.__stdout__ is not None:
                handler.setStream(sys.__stdout__)
            colors = handler.stream.isatty()
        handler.setFormatter(formatter(human, colors=colors))
    _shape(secrets)


def formatter(human: bool, *, colors: bool = False) -> logging.Formatter:  # noqa: FBT001 - the only thing there is to say
    """Make the formatter that writes any record, of structlog or of `logging`, as one JSON line, or for reading."""
    writing: list[Processor] = [
        _for_reading,
        structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback),
    ]
    if not human:
        writing = [structlog.processors.JSONRenderer()]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.contextvars.merge_contextvars, structlog.processors.format_exc_info],
        processors=[_mask_secrets, _add_origin, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *writing],
    )


def _shape(secrets: Iterable[str]) -> None:
    """Register the secrets, lead structlog's loggers through those of `logging`, and hush the noisy libraries."""
    global _secrets  # noqa: PLW0603 - logging is global to a process, and so are the secrets it must not show
    _secrets = tuple(sorted({text for text in secrets if len(text) >= MIN_SECRET_CHARACTERS}, key=len, reverse=True))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def _add_origin(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put time, namespace, severity and logger in front; they win over fields of the same name."""
    record: logging.LogRecord = event["_record"]
    created_at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    origin = {
        "created_at": created_at,
        "namespace": NAMESPACE,
        "severity": record.levelname,
        "logger": record.name,
        "event": event["event"],
    }
    return origin | {key: value for key, value in event.items() if key not in origin}


def _for_reading(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Use the names that structlog's console writer knows, and leave out what is the same in every line."""
    del event["namespace"]
    event["timestamp"] = event.pop("created_at")
    event["level"] = event.pop("severity").lower()
    return event


def _mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace every registered secret in every value, at any depth. Objects that JSON does not know become their `repr`."""
    return {key: value if key.startswith("_") else _masked(value, _MAX_DEPTH) for key, value in event.items()}


def _masked(value: Any, depth: int) -> Any:  # noqa: ANN401 - a log field may be anything
    match value:
        case None | bool():
            return value
        case int() | float():
            return MASK if str(value) in _secrets else value
        case str():
            return _masked_text(value)
        case dict() if depth:
            return {_masked_text(str(key)): _masked(inner, depth - 1) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset() if depth:
            return [_masked(inner, depth - 1) for inner in value]
        case _:
            return _masked_text(repr(value))


def _masked_text(text: str) -> str:
    for secret in _secrets:
        text = text.replace(secret, MASK)
    return text
