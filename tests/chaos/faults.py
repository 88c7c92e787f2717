"""
What a fault is, and what it may do to the system.

A fault is a small class: `inject` does it, `undo` makes it as it was, and in between lie `hold_s` seconds. `uses` are the
parts that it needs for itself meanwhile; faults that share none may overlap. What must be true afterwards is the same for
all (every record counted once, every state right), but for what `after` adds: losses that must stand recorded, births
that must have been said aloud.
"""

import functools
import json
import random
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import redis

from sandbox.stack import Stack
from tests.chaos.book import in_ranges
from tests.chaos.traffic import Traffic

Disruption = Literal["none", "birth", "records"]
"""
Whether a fault takes something away: the ledger, so that a birth follows, or records, so that losses do.

A birth finds out from Kafka and the Dataset API what is owed, so it needs the records of the instances that are open
(docs/redis.md). A round therefore has faults of one of these two kinds only; the next round is about other instances.
"""


@dataclass
class World:
    """
    The system that faults are done to, and what they have taken from it in this round.

    `births` counts the ledgers lost. `deleted` holds up to where Kafka has deleted a partition of one of the counts topic's lives,
    `lives_ended` the epochs of the lives that are over, `losses_from` the last loss recorded before the round. `keep`: the folder is to
    be looked at.
    """

    stack: Stack
    traffic: Traffic
    births: int = 0
    deleted: dict[tuple[int, int], int] = field(default_factory=dict)
    lives_ended: dict[int, str] = field(default_factory=dict)
    losses_from: str = "0"
    keep: bool = False

    @functools.cached_property
    def redis(self) -> "redis.Redis":
        """Redis, to look at and to harm."""
        return redis.Redis.from_url(self.stack.valkey.url, socket_timeout=5, decode_responses=True)

    @property
    def prefix(self) -> str:
        """What our keys in Redis begin with."""
        return self.stack.environment["REDIS_KEY_PREFIX"]

    def names(self, *kinds: str) -> list[str]:
        """The processes of these kinds."""
        return [name for name in self.stack.names() if name.partition("-")[0] in kinds]

    def said(self, event: str) -> int:
        """How often the bridges' logs have said this."""
        return sum(self.stack.logs(name).count(f'"event": "{event}"') for name in self.names("bridge"))

    def stamp(self) -> tuple[int, int]:
        """The number and version of the ledger in force; (0, 0) when there is none."""
        number, version = self.redis.hmget(f"{self.prefix}ledger", "number", "version")
        return int(number or 0), int(version or 0)

    def committed_stamp(self) -> tuple[int, int]:
        """The highest number and version in the group's commits."""
        found = [
            re.match(r"import-tracker:\d+:(\d+)-[^:]+:(\d+)", text) for _, text in self.stack.kafka.committed(self.stack.group).values()
        ]
        return max(((int(each[1]), int(each[2])) for each in found if each), default=(0, 0))

    def until(self, holds: Callable[[], object], timeout_s: float, what: str) -> None:
        """Wait for a precondition of a fault. Raises NotNow when it does not come true in time."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                raise NotNow(what)
            time.sleep(0.05)

    def write_off(self) -> int:
        """Take into the book what the tracker has recorded as lost, and what a topic's end has taken. Returns the number of records."""
        gone: dict[tuple[int, int], Callable[[int], bool]] = {}
        stretches: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for entry in self.losses():
            at = self.life_of(entry["epoch"]), int(entry["partition"])
            stretches.setdefault(at, []).append((int(entry["start"]), int(entry["end"])))
        for at, lost in stretches.items():
            gone[at] = in_ranges(lost)
        for life, epoch in self.lives_ended.items():
            for partition in range(self.stack.partitions):
                gone[life, partition] = _either(gone.get((life, partition)), self.applied(partition, epoch))
        return self.traffic.book.write_off(gone)

    def losses(self) -> list[dict[str, str]]:
        """The losses recorded since the round began."""
        entries: Any = self.redis.xrange(f"{self.prefix}losses", min=f"({self.losses_from}")
        return [entry for _, entry in entries if entry["topic"] == self.stack.inserted_topic]

    def epoch(self) -> str:
        """The epoch of the counts topic in force in the ledger."""
        return str(self.redis.hget(f"{self.prefix}partitions", f"{self.stack.inserted_topic}:0") or "")

    def applied(self, partition: int, epoch: str) -> Callable[[int], bool]:
        """Whether an offset of a topic that is gone was applied before, by the ledger's own account."""
        key = f"{self.prefix}part:{self.stack.inserted_topic}:{partition}:{epoch}"
        next_, ranges = (str(each or "") for each in self.redis.hmget(key, "next", "ranges"))
        stretches = [each.split("-")[:2] for each in ranges.split(",") if each]
        return in_ranges([(0, int(next_ or 0)), *((int(start), int(end)) for start, end in stretches)])

    def life_of(self, epoch: str) -> int:
        """Which of the counts topic's lives had this epoch."""
        return next((life for life, ended in self.lives_ended.items() if ended == epoch), self.traffic.life)


def _either(recorded: Callable[[int], bool] | None, applied: Callable[[int], bool]) -> Callable[[int], bool]:
    """Lost are the offsets that stand recorded as such, and those that were never applied."""
    return lambda offset: not applied(offset) or (recorded is not None and recorded(offset))


class NotNow(Exception):
    """The fault cannot be done at this moment; nothing has been done."""


class Fault(ABC):
    """One fault, drawn with its `random`; see the module."""

    name: ClassVar[str]
    weight: ClassVar[float] = 1.0
    disrupts: ClassVar[Disruption] = "none"
    slow: ClassVar[bool] = False

    def __init__(self, world: World, random_numbers: random.Random) -> None:
        self.world, self.stack, self.random = world, world.stack, random_numbers
        self.uses: frozenset[str] = frozenset()
        self.hold_s = 0.0
        self.begun = False
        self.draw()

    def draw(self) -> None:  # noqa: B027 - the same whatever is chosen, for most
        """Choose what it is done to and how long it lasts: `uses`, `hold_s`."""

    @abstractmethod
    def inject(self) -> None:
        """Do it. Raises NotNow when it cannot be done; what has been done by then is undone if `begun` is set."""

    def undo(self) -> None:  # noqa: B027 - see the next line
        """Make it as it was; nothing where the supervisor or the system itself has to."""

    def after(self) -> list[str]:
        """What is not as it must be when the system has settled, besides counts and states."""
        return []

    def told(self) -> str:
        """The fault in one line, for logs."""
        return f"{self.name} {' '.join(sorted(self.uses))} {self.hold_s:.1f} s"


KINDS: dict[str, type[Fault]] = {}
"""All faults by name."""


def named(name: str) -> Callable[[type[Fault]], type[Fault]]:
    """Give a fault its name in settings, reports and logs."""

    def enter(kind: type[Fault]) -> type[Fault]:
        kind.name = name
        KINDS[name] = kind
        return kind

    return enter


def drawn(world: World, random_numbers: random.Random, names: list[str]) -> Iterator[Fault]:
    """Faults without end, by their weights."""
    kinds = [KINDS[name] for name in names]
    while True:
        (kind,) = random_numbers.choices(kinds, [kind.weight for kind in kinds])
        yield kind(world, random_numbers)


def events(text: str, event: str) -> list[dict[str, Any]]:
    """The lines of a JSON log that say this event."""
    return [json.loads(line) for line in text.splitlines() if f'"event": "{event}"' in line and line.startswith("{")]
