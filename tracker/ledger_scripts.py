"""
Running the scripts of `scripts/`: how every change of what Redis holds is made, whole or not at all.

The rooms on this Redis are classes over `Scripts`, one for each subject, sharing one client and prefix. What the keys
and fields mean is written at the top of `scripts/prelude.lua`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from tracker.errors import BadInput, LedgerUnavailable, LettersFull, LostTurn


@cache
def script_text(name: str) -> str:
    """The Lua text of one script, prelude included."""
    folder = files("tracker") / "scripts"
    return (folder / "prelude.lua").read_text("utf-8") + (folder / f"{name}.lua").read_text("utf-8")


def connect(url: str, *, timeout_s: float = 5.0) -> "redis.Redis":
    """A client whose commands are tried once: what timed out may have happened, and only the caller knows what then."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        client_name="import-tracker",
    )


class Scripts:
    """
    The scripts under one key prefix.

    Scripts are safe to repeat, and the client never repeats one by itself: a script that timed out may have run.
    """

    def __init__(self, client: "redis.Redis", prefix: str) -> None:
        self.client = client
        self.prefix = prefix
        self._scripts: dict[str, Script] = {}

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Translate what the Redis client raises."""
        try:
            yield
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError) as error:
            raise LedgerUnavailable(f"Redis does not answer: {error}") from error
        except redis.exceptions.RedisError as error:
            raise LedgerUnavailable(f"Redis refuses: {error}") from error

    def run(self, name: str, *args: str | float) -> list[Any]:
        """
        Run one script; returns its reply, status first.

        Raises LedgerUnavailable when Redis is away or no bridge has verified the ledger, LostTurn when a lock has passed on,
        LettersFull when no dead letter is taken any more, BadInput when the script finds an argument wrong; nothing has
        then been changed by halves.
        """
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self.client.register_script(script_text(name))
        with self.reaching():
            reply = cast("list[Any]", script(keys=[self.prefix], args=args))
        status = reply[0]
        if status in {"NO_LEDGER", "FORMAT", "NO_RUN_ID", "UNVERIFIED"}:
            raise LedgerUnavailable(str(reply[1]))
        if status == "LOST":
            raise LostTurn(str(reply[1]))
        if status == "FULL":
            raise LettersFull(str(reply[1]))
        if status == "ERROR":
            raise BadInput(f"{name}: {reply[1]}")
        return reply
