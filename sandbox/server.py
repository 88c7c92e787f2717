"""One real server as a child process: started until it answers, stopped or killed, and started again over its data."""

import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from tracker.supervisor import end, spawn


class Server(ABC):
    """
    A server over the data folder `data`: `start()`, `stop()`, `kill()`, and `start()` again with all that it had.

    `title` names it in errors, `failure` is what is raised when it cannot be started. Also a context manager.
    """

    failure: type[Exception]
    log_name = "server.log"
    start_timeout_s = 20.0
    poll_s = 0.05

    def __init__(self, data: Path, port: int) -> None:
        self.data = data
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def title(self) -> str:
        """What it is called in an error."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Prepare the data folder, which exists, and say what is to be run."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it answers now."""

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def output(self) -> Path:
        """The file that gathers what the server prints."""
        return self.data / self.log_name

    def start(self, timeout_s: float | None = None) -> None:
        """
        Start the server and wait until it answers, for `start_timeout_s` unless told otherwise.

        Does nothing while it runs. Raises `failure` with the tail of its output when it ends or the time goes by.
        """
        if self.pid is not None:
            return
        self.data.mkdir(parents=True, exist_ok=True)
        command = self._command()
        with self.output.open("ab") as output:
            self._process = spawn(command, output=output)
        try:
            self._wait_until_it_answers(self.start_timeout_s if timeout_s is None else timeout_s)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout_s: float = 20.0) -> bool:
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
        while not self._answers():
            if self.pid is None:
                raise self.failure(f"{self.title} ended while it started; the end of {self.output}:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise self.failure(f"{self.title} does not answer after {timeout_s:g} s; the end of {self.output}:\n{self._tail()}")
            time.sleep(self.poll_s)

    def _listens(self) -> bool:
        """Whether something accepts connections at its port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _tail(self, lines: int = 30) -> str:
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
