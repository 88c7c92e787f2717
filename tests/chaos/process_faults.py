"""Faults of our own processes: killed, suspended, stopped. The supervisor must start again what it did not end itself."""

import contextlib
import os
import signal
import subprocess
import sys

import psutil

from sandbox.stack import ROOT
from tests.chaos.faults import Fault, NotNow, named

RESTART_S = 12.0
"""For the supervisor to start a process again; it waits 10 s at most."""

SUSPENDED_S = (0.3, 2.0)
"""A short suspension: shorter than any session or lease."""

PAST_SESSION_S = (3.5, 5.0)
"""Longer than `KAFKA_SESSION_TIMEOUT` of the quick settings, 3 s: the group has given the partitions to another."""

PAST_LEASE_S = (7.5, 9.0)
"""Longer than an instance's lock with the quick settings, 7 s: another worker has taken the turn."""


class _OnProcess(Fault):
    """To one process of the kinds given, which is its own meanwhile."""

    kinds: tuple[str, ...] = ()

    def draw(self) -> None:
        self.target = self.random.choice(self.world.names(*self.kinds))
        self.uses = frozenset({self.target})

    def _pid(self) -> int:
        """Wait for the supervisor to start again what an earlier fault has killed."""
        self.world.until(lambda: self.stack.pid(self.target), RESTART_S, f"{self.target} does not run")
        pid = self.stack.pid(self.target)
        if pid is None:
            raise NotNow(f"{self.target} has just died")
        return pid


class _Killed(_OnProcess):
    """SIGKILL to the process alone; its supervisor sweeps up what it leaves, and starts it again."""

    def inject(self) -> None:
        self._pid()
        with contextlib.suppress(ProcessLookupError):
            self.stack.crash(self.target)


@named("bridge_killed")
class BridgeKilled(_Killed):
    kinds = ("bridge",)
    weight = 2


@named("worker_killed")
class WorkerKilled(_Killed):
    kinds = ("apply", "push")
    weight = 2


@named("beat_killed")
class BeatKilled(_Killed):
    kinds = ("beat",)


@named("web_killed")
class WebKilled(_Killed):
    kinds = ("web",)
    weight = 0.3


@named("worker_child_killed")
class WorkerChildKilled(_OnProcess):
    """SIGKILL to one of the processes that run a worker's tasks; the worker starts another."""

    kinds = ("apply", "push")
    weight = 6.0

    def inject(self) -> None:
        self._child().kill()

    def _child(self) -> psutil.Process:
        self.world.until(self._children, RESTART_S, f"{self.target} has no children")
        children = self._children()
        if not children:
            raise NotNow(f"{self.target} has just died")
        return self.random.choice(children)

    def _children(self) -> list[psutil.Process]:
        try:
            return list(psutil.Process(self._pid()).children())
        except psutil.NoSuchProcess:
            return []


@named("worker_child_suspended")
class WorkerChildSuspended(WorkerChildKilled):
    """One of a worker's processes sleeps past the lock of the instance that it may be sending for."""

    weight = 0.6
    slow = True

    def draw(self) -> None:
        super().draw()
        self.hold_s = self.random.uniform(*PAST_LEASE_S)

    def inject(self) -> None:
        self.child = self._child()
        self.child.suspend()

    def undo(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self.child.resume()


class _Suspended(_OnProcess):
    """SIGSTOP to the process and all that it has started, then SIGCONT."""

    lasts_s = SUSPENDED_S

    def draw(self) -> None:
        super().draw()
        self.hold_s = self.random.uniform(*self.lasts_s)

    def inject(self) -> None:
        self.pid = self._pid()
        self._signal(signal.SIGSTOP)

    def undo(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


@named("process_suspended")
class ProcessSuspended(_Suspended):
    kinds = ("bridge", "apply", "push", "beat", "web")
    weight = 3


@named("bridge_suspended_past_session")
class BridgeSuspended(_Suspended):
    kinds = ("bridge",)
    lasts_s = PAST_SESSION_S
    slow = True


@named("worker_suspended_past_lease")
class WorkerSuspended(_Suspended):
    kinds = ("apply", "push")
    lasts_s = PAST_LEASE_S
    weight = 0.6
    slow = True


@named("process_stopped")
class ProcessStopped(_OnProcess):
    """SIGTERM as in a deployment, and started again a moment later."""

    kinds = ("bridge", "apply", "push", "beat")
    weight = 1

    def draw(self) -> None:
        super().draw()
        self.hold_s = self.random.uniform(0.0, 1.5)

    def inject(self) -> None:
        self._pid()
        self.stack.stop(self.target)

    def undo(self) -> None:
        self.stack.start(self.target)


@named("all_killed")
class AllKilled(Fault):
    """SIGKILL to all of the tracker's processes at once, as if their machine had lost its power; it is back a moment later."""

    weight = 0.2
    slow = True

    def draw(self) -> None:
        self.uses = frozenset(self.stack.names())
        self.hold_s = self.random.uniform(0.0, 0.5)

    def inject(self) -> None:
        for name in self.stack.names():
            self.stack.kill(name)

    def undo(self) -> None:
        for name in self.stack.names():
            self.stack.start(name)


@named("bridges_replaced_in_turn")
class RebalanceStorm(Fault):
    """A rebalance storm: the bridges are stopped and started in turn, each before the group has come to rest."""

    weight = 0.4
    slow = True

    def draw(self) -> None:
        self.uses = frozenset(self.world.names("bridge"))

    def inject(self) -> None:
        for name in sorted(self.uses) * 2:
            self.stack.stop(name)
            self.stack.start(name)


@named("messages_deleted")
class MessagesDeleted(Fault):
    """All tasks that wait in the queues are deleted: what `celery purge` does at the broker, without the start of a program."""

    weight = 4

    def inject(self) -> None:
        self.world.redis.delete(*(f"{self.world.prefix}tracker.{queue}" for queue in ("apply", "push", "control")))


@named("celery_purge")
class CeleryPurge(Fault):
    """`celery purge` by a person."""

    weight = 0.15

    def inject(self) -> None:
        command = [sys.executable, "-m", "celery", "-q", "-A", "tracker", "purge", "-f"]
        environment = {**self.stack.environment, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, cwd=self.stack.folder, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise NotNow(f"celery purge exited with {done.returncode}: {done.stderr[-300:]}")
