"""
An event loop whose time passes only when nothing else is to be done, and then at once.

It has what the use cases and asyncio's tasks, futures, gather and semaphores need and nothing else, which makes it several
times as quick as one with sockets. What runs in it may stand still for a while (`stand_still`) with everything else
going on, in the middle of a call that waits for nothing.
"""

import asyncio
import heapq
from asyncio.tasks import _enter_task, _leave_task  # there is no public way to set a task by
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

EPOCH_S = 1_700_000_000.0
"""What the virtual wall clock says when a run starts."""

MOST_CALLS = 150_000
"""Calls to come within one run beyond which it is taken for one that never comes to rest: some thousands are the rule."""

DEEPEST = 4
"""How many may stand still inside each other: each waits for those that began later."""


class NoRest(BaseException):
    """Something goes on for ever."""


class Timer:
    """A call to come."""

    __slots__ = ("args", "callback", "cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.callback, self.args, self.cancelled = callback, args, False

    def cancel(self) -> None:
        """Do not call."""
        self.cancelled = True


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs coroutines on virtual time; `wall` is what `time.time` is to be replaced with."""

    def __init__(self) -> None:
        self.now = 0.0
        self.unforeseen: list[str] = []
        self._ready: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = self._depth = 0

    # -- what asyncio asks of a loop --

    def time(self) -> float:
        """Seconds since the run began."""
        return self.now

    def wall(self) -> float:
        """The same as a time of day."""
        return EPOCH_S + self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def call_soon(self, callback: Callable[..., object], *args: Any, context: object = None) -> None:  # type: ignore[override]
        self._ready.append((callback, args))

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: object = None) -> Timer:  # type: ignore[override]
        timer = Timer(callback, args)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, timer))
        return timer

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: object = None) -> Timer:  # type: ignore[override]
        return self.call_at(self.now + delay, callback, *args)

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(self, work: Coroutine[Any, Any, Any], **_: Any) -> "asyncio.Task[Any]":  # type: ignore[override]
        return asyncio.Task(work, loop=self)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Asyncio tells of what nobody has looked at."""
        if "exception" in context:
            self.unforeseen.append(f"{type(context['exception']).__name__}: {context['exception']}")

    # -- running --

    def run_until(self, deadline: float) -> None:
        """Let everything happen up to then."""
        ready, timers = self._ready, self._timers
        while True:
            while ready:
                callback, args = ready.popleft()
                callback(*args)
            if not timers or timers[0][0] > deadline:
                break
            when, number, timer = heapq.heappop(timers)
            if number > MOST_CALLS:
                raise NoRest
            if not timer.cancelled:
                self.now = max(self.now, when)
                timer.callback(*timer.args)
        self.now = max(self.now, deadline)

    def start(self) -> None:
        """Become the loop that asyncio finds."""
        asyncio._set_running_loop(self)

    def stop(self) -> None:
        """Be it no more; what has not ended never will."""
        asyncio._set_running_loop(None)
        self._ready.clear()
        self._timers.clear()

    def stand_still(self, seconds: float) -> bool:
        """Let everything else go on for so long, with the caller in the middle of a call. False when too many do so already."""
        if self._depth >= DEEPEST:
            return False
        task = asyncio.current_task(self)
        self._depth += 1
        if task is not None:
            _leave_task(self, task)
        try:
            self.run_until(self.now + seconds)
        finally:
            if task is not None:
                _enter_task(self, task)
            self._depth -= 1
        return True

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        over = self.create_future()
        self.call_at(self.now + seconds, _over, over)
        await over


def _over(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
