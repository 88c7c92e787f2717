"""The bridge's publisher over a real server: it sends, it counts, and it never hangs."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from bridge.publishing import QUEUE, Publisher
from sandbox.ports import free_port
from sandbox.valkey import Valkey
from tracker.errors import LedgerUnavailable
from tracker.events import Batch

BATCH = Batch("1-a", "import-observations-inserted", 2, "e", 1000, 3000, "counts", 2000, '{"i":[]}')


def app(url: str) -> Any:
    """An app that sends to this server, its keys prefixed as the tracker's are."""
    app = Celery("a", broker=url, set_as_current=False)
    app.conf.update(broker_transport_options={"global_keyprefix": "p:"}, task_serializer="json", result_backend=None)
    return app


def test_batches_arrive_in_the_queue_and_are_counted_there(servers: dict[str, str]) -> None:
    publisher = Publisher(app(servers["valkey"]))
    assert publisher.queue_length() == 0
    publisher.publish(BATCH)
    publisher.publish(BATCH)
    assert publisher.queue_length() == 2
    client = redis.Redis.from_url(servers["valkey"])
    assert client.llen(f"p:{QUEUE}") == 2
    client.delete(f"p:{QUEUE}")
    client.close()
    publisher.close()


def test_a_server_that_refuses_is_said_at_once(tmp_path: Path) -> None:
    publisher = Publisher(app(f"redis://127.0.0.1:{free_port()}/0"))
    started = time.monotonic()
    for ask in (lambda: publisher.publish(BATCH), publisher.queue_length):
        with pytest.raises(LedgerUnavailable, match="refused"):
            ask()
    assert time.monotonic() - started < 2


def test_a_server_that_hangs_is_waited_for_no_longer_than_it_may_take_and_used_again_when_it_is_back(tmp_path: Path) -> None:
    with Valkey(tmp_path / "valkey") as server:
        publisher = Publisher(app(server.url))
        publisher.publish(BATCH)
        assert server.pid
        os.kill(server.pid, signal.SIGSTOP)
        started = time.monotonic()
        try:
            with pytest.raises(LedgerUnavailable):
                publisher.publish(BATCH)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert time.monotonic() - started < 12
        publisher.publish(BATCH)
        assert publisher.queue_length() in {2, 3}  # the one that was given up may have arrived
        publisher.close()
