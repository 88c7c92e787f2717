r"""
The faults a test or a person can switch on at a stand-in, and the journal of the calls it received.

A fault is made for calls of one `method` (default: any) whose path, with its query, is found by the regular
expression `path` (default: any), hits with `probability` (default 1) and at most `times` times (default: for ever):

    {"do": "delay", "seconds": 0.5}                wait, then go on
    {"do": "answer", "status": 500, "body": "internal error\n"}   answer this and nothing else
    {"do": "cut"}                                  close the connection without an answer (`"reset": true`: TCP reset)
    {"do": "hold"}                                 wait until released

Each happens `"when": "before"` (default) the call is applied or `"after"`. A call meets all the faults that match it,
in the order they were made, until one answers or cuts. What was held or delayed before it is applied *is* applied
later, even when the caller has given up: that is the late PUT.

What the real APIs have been seen to do, as faults:

    lock not obtained, increment applied   {"do": "answer", "when": "after", "status": 500, "body": "internal error\n"}
    lock not obtained, state not written   {"do": "answer", "status": 500, "body": "internal error\n", "path": "/instances/[^/]+$"}
    ETag lost between read and write       {"do": "answer", "status": 404, "body": "instance not found\n", "method": "PUT"}
    auth service away                      {"do": "answer", "status": 403, "body": ""}
    routes switched off                    {"do": "answer", "status": 404, "body": "404 page not found\n"}
    overload                               {"do": "answer", "status": 429, "body": ""}
"""

import asyncio
import itertools
import random
import re
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sandbox.answers import Answer, ConnectionCut, Request

When = Literal["before", "after"]


class Fault(BaseModel):
    """One switched-on fault; its fields are the JSON of the control surface. `id` and `hits` are not the caller's to set."""

    model_config = ConfigDict(extra="forbid")

    do: Literal["delay", "answer", "cut", "hold"]
    when: When = "before"
    method: str | None = None
    path: re.Pattern[str] = re.compile("")
    probability: float = Field(1.0, ge=0, le=1)
    times: int | None = Field(None, ge=1)
    seconds: float = Field(0.0, ge=0)
    status: int = Field(500, ge=100, le=599)
    body: str = ""
    reset: bool = False
    id: int = 0
    hits: int = 0

    def matches(self, request: Request, when: When) -> bool:
        """True when this fault is for such a call, at this moment, and not used up."""
        if self.when != when or (self.times is not None and self.hits >= self.times):
            return False
        if self.method is not None and self.method.upper() != request.method:
            return False
        return self.path.search(f"{request.path}?{request.query}" if request.query else request.path) is not None


class Reset(ConnectionCut):
    """A cut that the caller sees as a TCP reset."""


@dataclass(frozen=True, slots=True)
class Held:
    """A call that waits to be released."""

    seq: int
    method: str
    path: str
    when: When
    fault: int

    def to_json(self) -> dict[str, Any]:
        """Show it as the control surface does."""
        return asdict(self)


class Faults:
    """The faults switched on at one stand-in. All use is from one event loop."""

    def __init__(self, seed: int | None = None) -> None:
        self.active: list[Fault] = []
        self.hits = 0
        self._ids = itertools.count(1)
        self._held: dict[int, tuple[Held, asyncio.Event]] = {}
        self._seqs = itertools.count(1)
        self._random = random.Random(seed)

    def add(self, fault: Fault) -> Fault:
        """Switch a fault on, under a new id."""
        fault.id, fault.hits = next(self._ids), 0
        self.active.append(fault)
        return fault

    def remove(self, fault_id: int) -> bool:
        """Switch one fault off and release what it holds; False when there is none of that id."""
        found = [fault for fault in self.active if fault.id == fault_id]
        self.active = [fault for fault in self.active if fault.id != fault_id]
        for held, event in self._held.values():
            if held.fault == fault_id:
                event.set()
        return bool(found)

    def clear(self) -> None:
        """Switch all faults off and release all held calls."""
        self.active.clear()
        self._release(None)

    def release(self, count: int | None = None) -> int:
        """
        Let held calls go on, the longest-waiting first. Returns how many.

        Without `count` all go, and the `hold` faults are switched off, so that later calls are not held either.
        """
        if count is None:
            self.active = [fault for fault in self.active if fault.do != "hold"]
        return self._release(count)

    def _release(self, count: int | None) -> int:
        waiting = [event for _, event in self._held.values() if not event.is_set()][:count]
        for event in waiting:
            event.set()
        return len(waiting)

    @property
    def held(self) -> list[Held]:
        """The calls that wait, the longest-waiting first."""
        return [held for held, event in self._held.values() if not event.is_set()]

    async def meet(self, request: Request, when: When) -> Answer | None:
        """
        Let the call meet its faults of this moment.

        Returns the answer to give instead of the API's, or None to go on. Raises ConnectionCut.
        """
        if not self.active:
            return None
        for fault in list(self.active):
            if not fault.matches(request, when) or self._random.random() >= fault.probability:
                continue
            fault.hits += 1
            self.hits += 1
            if fault.do == "delay":
                await asyncio.sleep(fault.seconds)
            elif fault.do == "hold":
                await self._hold(request, when, fault)
            elif fault.do == "cut":
                raise Reset if fault.reset else ConnectionCut
            else:
                return Answer(fault.status, fault.body.encode(), ((b"content-type", b"text/plain; charset=utf-8"),))
        return None

    async def _hold(self, request: Request, when: When, fault: Fault) -> None:
        seq, event = next(self._seqs), asyncio.Event()
        self._held[seq] = (Held(seq, request.method, request.path, when, fault.id), event)
        try:
            await event.wait()
        finally:
            del self._held[seq]


@dataclass(frozen=True, slots=True)
class Call:
    """One finished call. `status` is None for a cut connection; `at` is its arrival in Unix seconds."""

    seq: int
    at: float
    took_s: float
    status: int | None
    applied: bool
    request: Request

    def to_json(self) -> dict[str, Any]:
        """As the control surface shows it; bodies of more than 2,000 bytes are cut short."""
        request = self.request
        return {
            "seq": self.seq,
            "at": self.at,
            "took_s": self.took_s,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers},
            "body": request.body[:2000].decode("utf-8", "replace"),
            "status": self.status,
            "applied": self.applied,
        }


class Journal:
    """The last `size` calls in the order they ended, and counters over all of them."""

    def __init__(self, size: int) -> None:
        self._calls: deque[Call] = deque(maxlen=size)
        self.total = self.applied = self.cut = 0
        self.by_answer: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._calls)

    def note(self, request: Request, arrived: float, status: int | None, *, applied: bool) -> None:
        """Write one finished call down."""
        self.total += 1
        self.applied += applied
        self.cut += status is None
        self.by_answer[f"{request.method} {status or 'cut'}"] += 1
        self._calls.append(Call(self.total, arrived, time.time() - arrived, status, applied, request))

    def clear(self) -> None:
        """Forget the calls; the sequence numbers and counters go on."""
        self._calls.clear()

    def find(self, *, since: int = 0, method: str | None = None, path: str = "", applied: bool | None = None) -> list[Call]:
        """The calls kept with a sequence number above `since` that match; `path` is a regular expression."""
        wanted = re.compile(path)
        return [
            call
            for call in self._calls
            if call.seq > since
            and (method is None or call.request.method == method.upper())
            and (applied is None or call.applied is applied)
            and wanted.search(call.request.path)
        ]
