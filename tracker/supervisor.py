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
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

FIRST_DELAY_S = 0.2
"""Wait before the first restart: most deaths are a lost connection that is back at once."""

LONGEST_DELAY_S = 10.0
"""Longest wait between restarts, so that a child is back within seconds after the cause is gone."""

STEADY_S = 10.0
"""A child that lived this long had started properly; its next death is a first one again."""

GIVE_UP_AFTER = 12
"""Deaths in a row, none after a steady life, before a child counts as one that cannot be kept running: about a minute."""

MISUSED = 2
"""
The exit code of a program whose settings or arguments are wrong. Where a child ends so at its first start, it would at the next as well;
later a file may be away for a moment, and Celery exits so of any error while it loads.
"""

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
                self._process = subprocess.Popen(  # noqa: S603 - our own program
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
    return subprocess.Popen(  # noqa: S603 - to start what the caller names is the purpose
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


@dataclass(frozen=True, slots=True)
class Child:
    """
    One process to keep running.

    `env` None inherits ours. `ready` is asked by `wait_ready`; without it a living child is ready. `restart` False: its first
    end is its last, and a failure unless it exits with 0. `clean_exits` are the exit codes that are fine after `stop_signal`
    (to die of the signal itself is fine, too). `output` names a file that stdout and stderr are appended to.
    """

    name: str
    argv: Sequence[str | Path]
    env: Mapping[str, str] | None = None
    stop_signal: int = signal.SIGTERM
    restart: bool = True
    ready: Callable[[], bool] | None = None
    clean_exits: frozenset[int] = frozenset({0})
    cwd: Path | None = None
    output: Path | None = None


@dataclass(slots=True)
class _Kept:
    """A child and what has become of it. `process` is None before its first start and after its end has been seen."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = False
    started: float = 0.0
    due: float = 0.0
    deaths: int = 0
    starts: int = 0
    exit_code: int | None = None
    failed: str | None = None
    pump: threading.Thread | None = None


class Supervisor:
    """
    Runs named children. Every method may be called from any thread.

    `prefix` True puts each child's name before each of its output lines; False leaves their output alone.
    `report` is told of deaths and restarts, one line each.
    """

    def __init__(self, *, prefix: bool = False, report: Callable[[str], None] | None = None, give_up_after: int = GIVE_UP_AFTER) -> None:
        self._prefix = prefix
        self._report = report or _to_stderr
        self._give_up_after = give_up_after
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.RLock()
        self._watcher: threading.Thread | None = None
        self._closing = threading.Event()
        self._stop_requests = 0  # a bare number: an Event set by a signal handler may wait for a lock that its own thread holds

    def add(self, *children: Child) -> Self:
        """Take on children; `start` starts them. Raises ValueError for a name that is taken."""
        with self._lock:
            for child in children:
                if child.name in self._kept:
                    raise ValueError(f"there is a child named {child.name} already")
                self._kept[child.name] = _Kept(child)
        return self

    def start(self, *names: str) -> None:
        """Start the named children, or all; those that run are left alone. Raises FileNotFoundError for a missing program."""
        with self._lock:
            for name in names or tuple(self._kept):
                kept = self._kept[name]
                kept.wanted, kept.deaths, kept.failed = True, 0, None
                if kept.process is None:
                    self._launch(kept)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
                self._watcher.start()

    def pid(self, name: str) -> int | None:
        """The child's process id; None while it does not run."""
        process = self._kept[name].process
        return process.pid if process is not None and process.poll() is None else None

    def starts(self, name: str) -> int:
        """How often the child has been started."""
        return self._kept[name].starts

    def exit_code(self, name: str) -> int | None:
        """How the child last ended: its code, or a signal's number, negative; None if it never did."""
        return self._kept[name].exit_code

    def failures(self) -> dict[str, str]:
        """The children that could not be kept running, and why."""
        return {name: kept.failed for name, kept in self._kept.items() if kept.failed}

    def kill(self, name: str, number: int = signal.SIGKILL, *, group: bool = False) -> None:
        """
        Send a signal to a running child, to its whole group if `group`. It is restarted if it dies of it.

        Raises ProcessLookupError while it does not run.
        """
        process = self._kept[name].process
        if process is None or process.poll() is not None:
            raise ProcessLookupError(f"{name} does not run")
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)

    def end(self, name: str, timeout_s: float = 10.0, *, number: int | None = None) -> bool:
        """
        End one child and do not restart it; `start(name)` does.

        `number` is sent instead of its own stop signal. Returns whether it ended cleanly and in time; it is killed when not.
        """
        return self._end([self._kept[name]], timeout_s, number)

    def wait_ready(self, name: str, timeout_s: float = 30.0) -> None:
        """
        Wait until the child runs and its `ready` says yes.

        Raises TimeoutError, which says how the child is, when that takes longer, and at once when it could not be kept running.
        """
        kept = self._kept[name]
        deadline = time.monotonic() + timeout_s
        while True:
            if self.pid(name) is not None and (kept.child.ready is None or kept.child.ready()):
                return
            if kept.failed or time.monotonic() > deadline:
                state = kept.failed or ("it runs" if self.pid(name) is not None else f"it does not run (exit code {kept.exit_code})")
                after = "" if kept.failed else f" after {timeout_s:g} s"
                raise TimeoutError(f"{name} is not ready{after}: {state}")
            time.sleep(POLL_S)

    def stop(self, timeout_s: float = 10.0) -> bool:
        """
        End all children together: each by its stop signal, by SIGKILL after `timeout_s`. None is left, nor what they started.

        Returns whether all ended cleanly and in time. A second call does nothing.
        """
        clean = self._end(list(self._kept.values()), timeout_s, None)
        self._closing.set()
        watcher, self._watcher = self._watcher, None
        if watcher is not None and watcher is not threading.current_thread():
            watcher.join()
        self._closing.clear()
        return clean

    def request_stop(self) -> None:
        """Make `run_until_signalled` stop; a second call while it does makes it kill."""
        self._stop_requests += 1

    def run_until_signalled(self, timeout_s: float = 10.0) -> int:
        """
        Start what does not run yet, wait for SIGTERM, SIGINT or `request_stop`, then stop within `timeout_s`.

        Returns the exit code: 0 after a clean stop, 1 when one was cut short (a second signal does so at once) or a child could not
        be kept running, which ends the others too. Outside the main thread only `request_stop` is heard.
        """
        handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                handlers[number] = signal.signal(number, lambda *_: self.request_stop())
        try:
            self.start(*(name for name in self._kept if not self._kept[name].wanted))
            while not self._stop_requests and not self.failures():
                time.sleep(POLL_S)
            failures = self.failures()
            clean = self.stop(timeout_s)
        finally:
            for heard, handler in handlers.items():
                signal.signal(heard, handler)
        return 0 if clean and not failures else 1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # The life of one child. All of these hold the lock, so that a child that is being ended is not restarted.

    def _launch(self, kept: _Kept) -> None:
        child = kept.child
        if child.output is not None:
            with child.output.open("ab") as output:
                kept.process = spawn(child.argv, env=child.env, cwd=child.cwd, output=output)
        else:
            kept.process = spawn(child.argv, env=child.env, cwd=child.cwd, output=subprocess.PIPE if self._prefix else None)
        kept.started = time.monotonic()
        kept.starts += 1
        if kept.process.stdout is not None:
            kept.pump = threading.Thread(target=_pump, args=(child.name, kept.process.stdout), name=f"output of {child.name}", daemon=True)
            kept.pump.start()

    def _watch(self) -> None:
        while not self._closing.wait(POLL_S):
            with self._lock:
                for kept in self._kept.values():
                    if kept.process is not None and kept.process.poll() is not None:
                        self._mourn(kept)
                    elif kept.process is None and kept.wanted and kept.failed is None and time.monotonic() >= kept.due:
                        try:
                            self._launch(kept)
                        except OSError as error:
                            self._restart_later(kept, f"could not be started ({error})")

    def _mourn(self, kept: _Kept) -> None:
        """Take note of a death: sweep up, and say when to start again, if at all."""
        assert kept.process is not None  # noqa: S101 - the caller has looked
        sweep(kept.process)
        if kept.pump is not None:
            kept.pump.join(1)  # it ends with the last process that holds the pipe; one that left the group must not hold us up
        kept.exit_code, kept.process = kept.process.returncode, None
        if not kept.wanted:
            return
        how = _in_words(kept.exit_code)
        if kept.exit_code == MISUSED and kept.starts == 1:
            kept.failed = f"{how}, as it would again"
            self._report(f"{kept.child.name} {kept.failed}: given up")
            return
        if not kept.child.restart:
            kept.wanted = False
            kept.failed = None if kept.exit_code == 0 else how
            self._report(f"{kept.child.name} {how}")
            return
        self._restart_later(kept, how)

    def _restart_later(self, kept: _Kept, how: str) -> None:
        kept.deaths = 1 if time.monotonic() - kept.started >= STEADY_S else kept.deaths + 1
        if kept.deaths >= self._give_up_after:
            kept.failed = f"{how} {kept.deaths} times in a row"
            self._report(f"{kept.child.name} {kept.failed}: given up")
            return
        delay = min(FIRST_DELAY_S * 2 ** (kept.deaths - 1), LONGEST_DELAY_S)
        kept.due = time.monotonic() + delay
        self._report(f"{kept.child.name} {how}: restarting in {delay:g} s")

    def _end(self, ended: Iterable[_Kept], timeout_s: float, number: int | None) -> bool:
        running: list[tuple[_Kept, subprocess.Popen[bytes], int]] = []
        with self._lock:
            for kept in ended:
                kept.wanted = False
                if kept.process is not None:
                    running.append((kept, kept.process, int(kept.child.stop_signal if number is None else number)))
            for _, process, each in running:
                if process.poll() is None:
                    _signal_process(process, each)
        deadline = time.monotonic() + timeout_s
        while any(process.poll() is None for _, process, _ in running) and time.monotonic() < deadline:
            if self._stop_requests >= 2:  # noqa: PLR2004 - whoever asks twice is in a hurry
                break
            time.sleep(POLL_S / 5)
        clean = True
        with self._lock:
            for kept, process, each in running:
                clean &= process.poll() in kept.child.clean_exits | {-each}
                if kept.process is process:  # else the watcher has seen its end
                    self._mourn(kept)
        return clean


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _in_words(exit_code: int) -> str:
    return f"was killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exited with {exit_code}"


def _pump(name: str, lines: IO[bytes]) -> None:
    """Pass lines on, whole ones, so that two children's never mix within a line."""
    with lines:
        for line in lines:
            sys.stdout.write(f"{name:<10} | {line.decode(errors='replace').rstrip()}\n")
            sys.stdout.flush()
