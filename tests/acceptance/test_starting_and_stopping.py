"""Each process by itself, and all of them by one command: they end when told, with the right exit code, and leave nothing behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import psutil
import pytest

from sandbox.stack import ROOT
from tests.conftest import Build
from tests.system import System


def test_each_process_ends_when_told_while_records_flow(today: System) -> None:
    job = today.new_job("told-to-stop", 4)
    today.announce(*job)
    with today.flowing(*job):
        for name in ("bridge", "web", "beat", "push", "apply"):
            assert today.stack.stop(name, timeout_s=10), f"{name} ended with {today.stack.exit_code(name)}"
            if name in {"bridge", "web"}:
                assert today.stack.exit_code(name) == 0
            today.stack.start(name)
    today.wait_ended(job)


@pytest.fixture
def system(build: Build) -> System:
    """The neighbours alone."""
    return build(processes=())


@pytest.fixture
def up(system: System) -> Iterator[subprocess.Popen[str]]:
    """`tracker up`, as a person starts it."""
    environment = system.stack.environment | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tracker.cli", "up"]
    with (system.stack.folder / "up.log").open("w") as log:
        running = subprocess.Popen(command, env=environment, cwd=system.stack.folder, stdout=log, stderr=log, text=True)
        yield running
        running.kill()
        running.wait()


def healthy(system: System) -> bool:
    try:
        return bool(system.shown("/health")["status"] == "OK")
    except httpx.HTTPError:  # nobody listens yet, or something is not well yet
        return False


def test_one_command_runs_everything_and_ends_it(system: System, up: subprocess.Popen[str]) -> None:
    system.stack.wait_until(lambda: healthy(system))
    (instance,) = job = system.new_job("by-one-command")
    system.announce(instance)
    system.count(instance, 2510)
    system.tell_totals(instance)
    system.wait_ended(job)
    system.audit()
    started = psutil.Process(up.pid).children(recursive=True)
    assert len(started) >= 5
    os.kill(up.pid, signal.SIGTERM)
    assert up.wait(20) == 0
    assert [each for each in started if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []


def test_one_command_says_in_a_line_what_is_wrong_with_a_setting(system: System) -> None:
    system.stack.environment["CHECK_COMPLETE_INTERVAL"] = "soon"
    done = system.stack.command("up")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "CHECK_COMPLETE_INTERVAL" in done.stderr
