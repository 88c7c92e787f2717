"""`tracker web` and `tracker up` as processes: they start without any neighbour, and end cleanly when told to."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from sandbox.ports import free_port
from tracker.cli import running
from tracker.settings import Settings, env_name
from tracker.supervisor import Child, Supervisor

ROOT = Path(__file__).resolve().parents[2]

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def start(address: str, tmp_path: Path) -> Iterator[Start]:
    """Start a command whose neighbours are all away; what is left of it after the test is killed."""
    nobody = f"127.0.0.1:{free_port()}"
    bare = {name: value for name, value in os.environ.items() if name not in {env_name(field) for field in Settings.model_fields}}
    env = {
        **bare,
        "PYTHONPATH": str(ROOT),
        "BIND_ADDR": address,
        "REDIS_URL": f"redis://{nobody}/0",
        "KAFKA_ADDR": nobody,
        "DATASET_API_ADDR": f"http://{nobody}",
        "IMPORT_API_ADDR": f"http://{nobody}",
    }
    started: list[subprocess.Popen[bytes]] = []

    def run(*arguments: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "output").open("ab") as output:
            argv = [sys.executable, "-m", "tracker.cli", *arguments]
            started.append(subprocess.Popen(argv, env=env, cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def wait_for_livez(address: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            assert httpx.get(f"http://{address}/livez", trust_env=False).status_code == 200
        except httpx.TransportError:
            assert time.monotonic() < deadline, "web does not answer"
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_web_ends_with_0_when_told_to_though_connections_are_open(start: Start, address: str, number: int) -> None:
    web = start("web")
    wait_for_livez(address)
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as idle, socket.create_connection((host, int(port))) as half:
        half.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        web.send_signal(number)
        assert web.wait(15) == 0
        idle.close()


def test_web_answers_for_health_while_every_neighbour_is_away(start: Start, address: str) -> None:
    start("web")
    wait_for_livez(address)
    started = time.monotonic()
    answer = httpx.get(f"http://{address}/health", trust_env=False)
    assert answer.status_code == 429
    assert time.monotonic() - started < 2  # those who watch give up after 2 s
    assert httpx.get(f"http://{address}/instances", trust_env=False).status_code == 503


def test_up_runs_without_neighbours_restarts_what_dies_and_leaves_nothing_behind(start: Start, address: str) -> None:
    up = start("up")
    wait_for_livez(address)
    children = psutil.Process(up.pid).children(recursive=True)
    (web,) = [child for child in children if child.cmdline()[-1:] == ["web"]]
    web.kill()
    web.wait(5)
    wait_for_livez(address)
    children = psutil.Process(up.pid).children(recursive=True)
    up.send_signal(signal.SIGTERM)
    assert up.wait(20) == 0
    gone, alive = psutil.wait_procs(children, timeout=2)
    assert not alive
    assert len(gone) >= 5


_TELLS_WHEN_IT_ENDS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[1], "a").write(sys.argv[2] + "\\n"), sys.exit(0)))
open(sys.argv[1] + ".ready", "a").write(".")
time.sleep(60)
"""


def test_bridges_end_before_the_workers_that_apply_what_they_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended, ready = tmp_path / "ended", tmp_path / "ended.ready"
    names = ("apply", "bridge", "bridge2", "web")
    supervisor = Supervisor().add(*(Child(name, [sys.executable, "-c", _TELLS_WHEN_IT_ENDS, str(ended), name]) for name in names))

    def stop_when_all_are_up(_seconds: float) -> None:
        time.sleep(0.05)
        if ready.exists() and len(ready.read_text()) == len(names):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(running, "pause", stop_when_all_are_up)
    try:
        assert running.run_until_signalled(supervisor, bridges=2, timeout_s=5) == 0
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    order = ended.read_text().split()
    assert set(order[:2]) == {"bridge", "bridge2"}
    assert set(order[2:]) == {"apply", "web"}
