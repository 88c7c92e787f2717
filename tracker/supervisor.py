"""
Keeps child processes running, and ends them all: for `tracker up`, the demo and the tests. Standard library only.

Every child leads a session of its own, so that the terminal's Ctrl-C reaches only the supervisor and whatever the
child started can be ended with it. Who ends what:

- a child that dies is started again, after a delay that doubles from `FIRST_DELAY_S` to `LONGEST_DELAY_S` and starts afresh once
  it has lived `STEADY_S`; what it left behind of its process group is killed first;
- `stop()` asks each with its own signal, and kills after the time-out;
- should this process itself be killed, its guard (a process of a few lines, one for all children) sees the pipe between
  them close, and ends every group that is left.
"""

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, Self

FIRST_DELAY_S = 0.2
"""Wait before the first restart: most deaths are a lost connection that is back at once."""

LONGEST_DELAY_S = 10.0
"""Longest wait between restarts, so that a child is back within seconds after the cause is gone."""

STEADY_S = 10.0
"""A child that lived this long had started properly; its next death is a first one again."""

GIVE_UP_AFTER = 12
"""Deaths in a row, none after a steady life, before a child counts as one that cannot be kept running: about a minute."""

POLL_S = 0.05
"""How often the children are looked at."""

_GUARD = """
import os, signal, sys, time

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    number = int(line)
    groups.add(number) if number > 0 else groups.discard(-number)

def send(number):
    for group in list(groups):
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            groups.discard(group)

send(signal.SIGCONT)
send(signal.SIGTERM)
deadline = time.monotonic() + 2
while groups and time.monotonic() < deadline:
    time.sleep(0.05)
    send(0)
send(signal.SIGKILL)
"""
"""The guard: learns group ids (`12` to watch, `-12` to forget) and, when its input ends, ends what it still watches."""

_REGISTER_THEN_RUN = 'echo $$ >&0 && exec "$@" </dev/null'
"""Run by sh as the child, whose input is the guard's pipe: no moment in which the child runs and the guard does not know it."""


class _Guard:
    """The one guard of this process, started on first use and again after a fork or its own death."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def pipe(self) -> IO[bytes]:
        """The guard's input, for a child to register itself with."""
        with self._lock:
            if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _GUARD],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
                self._owner = os.getpid()
            pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - it was asked for above
        return pipe

    def forget(self, group: int) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._process is not None and self._process.stdin is not None:
                os.write(self._process.stdin.fileno(), f"-{group}\n".encode())

    def dismiss(self) -> None:
        with self._lock:
            if self._process is not None and self._owner == os.getpid() and self._process.stdin is not None:
                self._process.stdin.close()
                self._process.wait()
            self._process = None


_guard = _Guard()
atexit.register(_guard.dismiss)


def spawn(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: int | IO[Any] | None = None,
) -> subprocess.Popen[bytes]:
    """
    Start a program in a session of its own that does not outlive this process, however this process ends.

    `env` None inherits ours; `output` takes stdout and stderr, None inherits both. Its input is empty.
    Raises FileNotFoundError when there is no such program.
    """
    path = None if env is None else env.get("PATH", os.defpath)
    program = shutil.which(argv[0], path=path)
    if program is None:
        raise FileNotFoundError(f"{argv[0]}: no such program")
    return subprocess.Popen(
        ["/bin/sh", "-c", _REGISTER_THEN_RUN, "sh", program, *map(str, argv[1:])],
        env=None if env is None else dict(env),
        cwd=cwd,
        stdin=_guard.pipe(),
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes], stop_signal: int = signal.SIGTERM, timeout_s: float = 10.0) -> bool:
    """
    End a spawned process and all of its group: `stop_signal` to the process, SIGKILL to the group after `timeout_s`.

    Returns whether the process ended by itself in time. SIGKILL as `stop_signal` goes to the group at once.
    """
    in_time = True
    if process.poll() is None:
        if stop_signal == signal.SIGKILL:
            _signal_group(process.pid, signal.SIGKILL)
        else:
            _signal_process(process, stop_signal)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            in_time = False
    sweep(process)
    return in_time


def sweep(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a spawned process' group, itself included, and wait for it."""
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()
    _guard.forget(process.pid)


def _signal_process(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a stopped process hears nothing else but SIGKILL


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
        os.killpg(group, number)
