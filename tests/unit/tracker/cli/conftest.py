"""A bare environment, and neighbours that need no socket: tasks are noted instead of sent, Redis is in memory."""

import logging
from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest
import structlog

from tests.unit.tracker.broken_redis import away
from tests.unit.tracker.cli.runs import P0, PREFIX
from tracker import overview, settings
from tracker.ledger import Ledger
from tracker.ledger_state import PartitionStart
from tracker.settings import Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    for field in Settings.model_fields:
        monkeypatch.delenv(settings.env_name(field), raising=False)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger that the commands find."""
    client = fakeredis.FakeRedis(decode_responses=True)
    monkeypatch.setattr(overview, "connect", lambda _url, **_: client)
    ledger = Ledger(client, PREFIX)
    ledger.birth(None, 1, [PartitionStart(P0, "e", 0, 0)], settle_s=0, reason="there is no ledger")
    return ledger


@pytest.fixture
def no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "connect", lambda _url, **_: away())


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[Any]]]:
    """The tasks that would have been sent."""
    from tracker.celery import app  # noqa: PLC0415 -- reads the environment when it is imported, which is bare by now

    tasks: list[tuple[str, list[Any]]] = []
    monkeypatch.setattr(app, "send_task", lambda name, args, **_: tasks.append((name, args)))
    return tasks


@pytest.fixture(autouse=True)
def untouched_logs() -> Iterator[None]:
    """What a command does to the logs of its process ends with the test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers, root.level = before
    structlog.reset_defaults()
