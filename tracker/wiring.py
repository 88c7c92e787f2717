"""
The rooms of a worker process, built on first use: after the fork, so that no child shares a socket with another.

The API clients are asynchronous and live on one event loop in a thread of its own, so that they share one pool of
connections whether the worker runs one task at a time (prefork) or several (threads).
"""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from functools import cache
from typing import Any, TypeVar

from pydantic import SecretStr

from tracker.api_client import clock
from tracker.completing import Advancing
from tracker.dataset_api import DatasetApi
from tracker.history.reading import make_database
from tracker.history.stream import HistoryStream
from tracker.import_api import ImportApi
from tracker.ledger import Ledger
from tracker.ledger_scripts import connect
from tracker.progress import Progress
from tracker.pushing import REST_S, Rules
from tracker.settings import Settings, load
from tracker.steering import Steering

T = TypeVar("T")


class Rooms:
    """Ledger, API clients and the loop they run on, for one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rules = Rules(
            timeout_s=settings.dataset_api_timeout_s,
            max_request_age_s=settings.api_max_request_age_s,
            watch_s=settings.check_complete_interval_s,
        )
        self.ledger = make_ledger(settings)
        self.progress = Progress(self.ledger.client, self.ledger.prefix)
        self.history = HistoryStream(self.ledger.client, self.ledger.prefix)
        self.database = make_database(settings.db_access)
        service_token = _plain(settings.service_auth_token)
        self.dataset_api = DatasetApi(
            settings.dataset_api_addr,
            token=_plain(settings.dataset_api_auth_token),
            service_token=service_token,
            timeout_s=settings.dataset_api_timeout_s,
            max_calls=settings.dataset_api_max_calls,
        )
        self.import_api = ImportApi(
            settings.import_api_addr,
            token=_plain(settings.import_api_auth_token),
            service_token=service_token,
            timeout_s=settings.import_api_timeout_s,
            max_calls=settings.dataset_api_max_calls,
        )
        self.steering = Steering(self.ledger.client, self.ledger.prefix)
        self.advancing = Advancing(
            self.ledger,
            self.dataset_api,
            self.import_api,
            self.rules,
            clock,
            complete_at_once=settings.complete_at_once,
            at_a_time=settings.dataset_api_max_calls,
        )
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="api-calls", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; an interruption (a time limit) cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise
        except BaseException:
            future.cancel()
            raise


def make_ledger(settings: Settings) -> Ledger:
    """The ledger that the settings name. A lock outlives the longest step: two calls that time out."""
    return Ledger(
        connect(settings.redis_url.get_secret_value()),
        settings.redis_key_prefix,
        rest_s=REST_S,
        lease_s=2 * max(settings.dataset_api_timeout_s, settings.import_api_timeout_s) + 5.0,
        finished_ttl_s=settings.finished_instance_ttl_s,
        dead_letters_max=settings.dead_letters_max,
    )


@cache
def rooms() -> Rooms:
    """The rooms of this process. Never call it before a fork."""
    return Rooms(load())


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
