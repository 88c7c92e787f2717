"""What the model of the ledger stores: the keys of `prelude.lua` as Python values, numbers as numbers."""

import copy
from dataclasses import dataclass, field
from typing import Any, Self

Fields = dict[str, Any]

DAY_MS = 24 * 3600 * 1000

LOST, WRONG, FULL = ["LOST", ""], ["ERROR", ""], ["FULL", ""]


@dataclass(slots=True)
class Part:
    """One partition in one epoch."""

    next: int
    checksum: str = ""
    horizon: int | None = None
    old: bool = False
    ranges: list[tuple[int, int, str]] = field(default_factory=list)


@dataclass(slots=True)
class Store:
    """
    One server's memory. `run` is its present run, `verified_run` the one the ledger is verified for.

    Sorted sets are dicts from member to score. `expiries` has the keys that end by themselves, named as in Redis.
    """

    run: str = "run-1"
    id: str | None = None
    number: int | None = None
    version: int = 0
    verified_run: str = ""
    born: int = 0
    settle: int = 0
    unpassed: int = 0
    flow: int = 0
    void: str | None = None
    partitions: dict[str, str] = field(default_factory=dict)
    parts: dict[tuple[str, str], Part] = field(default_factory=dict)
    instances: dict[str, Fields] = field(default_factory=dict)
    job_fields: dict[str, Fields] = field(default_factory=dict)
    owing: dict[str, float] = field(default_factory=dict)
    watched: dict[str, int] = field(default_factory=dict)
    leisure: dict[str, int] = field(default_factory=dict)
    followed: dict[str, int] = field(default_factory=dict)
    finished: dict[str, int] = field(default_factory=dict)
    parked: dict[str, int] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)
    parked_jobs: dict[str, int] = field(default_factory=dict)
    failing_jobs: dict[str, int] = field(default_factory=dict)
    dead: list[Fields] = field(default_factory=list)
    marks: dict[tuple[str, str], dict[int, str]] = field(default_factory=dict)
    losses: list[Fields] = field(default_factory=list)
    births: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    sync: dict[str, str] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)
    beats: dict[tuple[str, str], tuple[int, dict[str, Any]]] = field(default_factory=dict)
    expiries: dict[str, int] = field(default_factory=dict)

    def expire_at(self, key: str, at: int) -> None:
        """Let a key end then."""
        self.expiries[key] = at

    def persist(self, key: str) -> None:
        """Let a key live on."""
        self.expiries.pop(key, None)

    def expire(self, now: int) -> None:
        """End the keys whose time has come."""
        for key in [key for key, at in self.expiries.items() if at <= now]:
            del self.expiries[key]
            kind, _, name = key.partition(":")
            if kind == "part":
                partition, _, epoch = name.rpartition(":")
                self.parts.pop((partition, epoch), None)
            else:
                {"i": self.instances, "j": self.job_fields, "k": self.keys}[kind].pop(name, None)  # type: ignore[attr-defined]

    def copy(self) -> Self:
        """A snapshot, as a backup of the server would be."""
        return copy.deepcopy(self)
