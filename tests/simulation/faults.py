"""
What may go wrong in a schedule and how often, and the processes it happens to.

Each seed draws which kinds of faults it has at all: a few kinds, often, find more than all of them, rarely.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Self

from tests.simulation.virtual_time import VirtualLoop
from tracker.errors import LedgerUnavailable
from tracker.ledger import Ledger


class Killed(BaseException):
    """This process is no more: whatever it does from now on has no effect."""


@dataclass(slots=True)
class Faults:
    """How likely what is, each time it could happen. `calm` ends all of it."""

    late_request: float = 0.0
    lost_request: float = 0.0
    lost_answer: float = 0.0
    refused: float = 0.0
    turned_away: float = 0.0
    failed_before: float = 0.0
    failed_after: float = 0.0
    not_found: float = 0.0
    repeated: float = 0.0
    unreadable: float = 0.0
    lost_message: float = 0.0
    doubled_message: float = 0.0
    late_message: float = 0.0
    killed: float = 0.0
    stood_still: float = 0.0
    redis_silent: float = 0.0
    redis_away: float = 0.0
    kafka_away: float = 0.0
    bridge_killed: float = 0.0
    bridge_stood_still: float = 0.0
    rebalanced: float = 0.0
    other_writer: float = 0.0
    calm: bool = False

    USUAL = {  # noqa: RUF012 -- how often a fault happens where it happens at all
        "late_request": 0.3, "lost_request": 0.15, "lost_answer": 0.15, "refused": 0.15, "turned_away": 0.1, "failed_before": 0.1,
        "failed_after": 0.15, "not_found": 0.1, "repeated": 0.1, "unreadable": 0.15, "lost_message": 0.15, "doubled_message": 0.2,
        "late_message": 0.2, "killed": 0.15, "stood_still": 0.1, "redis_silent": 0.03, "redis_away": 0.5, "kafka_away": 0.5,
        "bridge_killed": 0.7, "bridge_stood_still": 0.7, "rebalanced": 0.7, "other_writer": 0.7,
    }  # fmt: skip

    @classmethod
    def drawn(cls, chance: random.Random, share: float = 0.3) -> Self:
        """Some kinds, each likely by its measure."""
        usual: dict[str, Any] = cls.USUAL
        names = [each.name for each in fields(cls) if each.name != "calm"]
        return cls(**{name: usual[name] * chance.uniform(0.3, 1.5) for name in names if chance.random() < share})


@dataclass(slots=True)
class Surroundings:
    """What everything in a schedule shares."""

    loop: VirtualLoop
    chance: random.Random
    faults: Faults
    happened: Counter[str] = field(default_factory=Counter)
    redis_away: bool = False
    kafka_away: bool = False
    tell: Callable[..., None] = lambda *_: None

    def happens(self, likelihood: float, what: str = "") -> bool:
        """Whether something of this likelihood happens; nothing does in the calm."""
        if likelihood <= 0.0 or self.faults.calm or self.chance.random() >= likelihood:
            return False
        if what:
            self.happened[what] += 1
            self.tell(what)
        return True


class Process:
    """One process. `fuse` is how many steps it goes before it is killed, or stands still for `pause_s`; -1 for ever."""

    __slots__ = ("around", "asleep", "dead", "fuse", "name", "pause_s")

    def __init__(self, around: Surroundings, name: str, fuse: int = -1, pause_s: float = 0.0) -> None:
        self.around, self.name, self.fuse, self.pause_s = around, name, fuse, pause_s
        self.dead = self.asleep = False

    def step(self) -> None:
        """Something is about to have an effect, or has just had one. Raises Killed."""
        if self.dead:
            raise Killed
        if self.fuse >= 0:
            self.fuse -= 1
            if self.fuse < 0:
                self._strike()

    def _strike(self) -> None:
        if self.pause_s:
            self.around.happened[f"{self.name} stood still"] += 1
            self.around.tell(f"{self.name} stands still for {self.pause_s:.1f} s")
            self.asleep = True
            self.around.loop.stand_still(self.pause_s)
            self.asleep = False
            if self.dead:
                raise Killed
            return
        self.die()
        raise Killed

    def die(self) -> None:
        """SIGKILL."""
        self.dead = True
        self.around.happened[f"{self.name} killed"] += 1
        self.around.tell(f"{self.name} is killed")


class Doorway:
    """The ledger as one process reaches it: over a network, and only as long as it lives."""

    def __init__(self, ledger: Ledger, process: Process) -> None:
        self._ledger, self._process = ledger, process

    def _ask(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        process = self._process
        around = process.around
        process.step()
        if around.redis_away:
            raise LedgerUnavailable("Redis is away")
        silent = around.faults.redis_silent
        if silent and around.happens(silent, "Redis did not answer"):
            raise LedgerUnavailable("time-out, nothing has happened")
        reply = getattr(self._ledger, name)(*args, **named)
        process.step()
        if silent and around.happens(silent, "Redis did not answer"):
            raise LedgerUnavailable("time-out, everything has happened")
        return reply


def _through(name: str) -> Callable[..., Any]:
    return lambda door, *args, **named: door._ask(name, args, named)


for _name in vars(Ledger):
    if not _name.startswith("_"):
        setattr(Doorway, _name, _through(_name))
