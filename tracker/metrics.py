"""
What the metrics are made of: one reading of Redis, whose cost does not grow with the number of instances.

Sums and ages are kept by the scripts that change them (see `prelude.lua`): a reading asks for lengths, for the oldest of
each kind, and for two hashes. It works unverified.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracker.history.stream import Draining
from tracker.overview import Overview

PROCESSES = ("bridge", "worker", "beat", "web")

SETS = ("followed", "finished", "leisure", "owed", "intents", "parked", "stuck", "jobs", "parked_jobs", "failing_jobs")
"""The sorted sets whose lengths are told."""

AGED = ("owed", "intents", "parked", "failing_jobs")
"""Those whose members stand in the order in which they came."""


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One reading. Times are seconds since 1970 by Redis' clock.

    `sizes` has the length of each of `SETS` and of the dead letters, `oldest` since when the first member of each of `AGED` is there.
    `owed` is None for a ledger that an older version made, until a check has counted it.
    """

    now_s: float
    ledger: Mapping[str, str]
    counters: Mapping[str, int]
    sizes: Mapping[str, int]
    oldest: Mapping[str, float]
    processes: Mapping[str, Sequence[Mapping[str, Any]]]
    queues: Mapping[str, int]
    unacknowledged: int | None
    listed_s: float | None
    draining: Draining

    @property
    def owed(self) -> int | None:
        """The observations that are applied and that the Dataset API has not confirmed."""
        return int(self.ledger["owed"]) if "owed" in self.ledger else None

    def age_s(self, name: str) -> float:
        """How long the oldest member has been there, 0 where there is none."""
        return max(0.0, self.now_s - self.oldest[name]) if name in self.oldest else 0.0

    def since_s(self, moment_s: float | None) -> float | None:
        """How long ago that was; None where it never was."""
        return None if moment_s is None else max(0.0, self.now_s - moment_s)

    def counter(self, name: str) -> int:
        """One counter, from the beginning of this Redis' data."""
        return self.counters.get(name, 0)

    @property
    def lags(self) -> dict[tuple[str, str], int]:
        """Records in Kafka that are not applied, by topic and partition, as far as a bridge knows. Of two that tell, the larger."""
        found: dict[tuple[str, str], int] = {}
        for info in self.processes["bridge"]:
            for name, told in (info.get("partitions") or {}).items():
                topic, _, partition = str(name).rpartition(":")
                if isinstance(told.get("lag"), int):
                    found[topic, partition] = max(told["lag"], found.get((topic, partition), 0))
        return found

    @property
    def window_records(self) -> int:
        """Records that are published as tasks and not seen applied."""
        return sum(int(info.get("window_records") or 0) for info in self.processes["bridge"])

    @property
    def stuck_partitions(self) -> int:
        """Partitions whose oldest batch stays unapplied though it was published again."""
        return len({batch.get("partition") for info in self.processes["bridge"] for batch in info.get("republished") or ()})

    @property
    def tick_s(self) -> float | None:
        """When a Beat last sent the check."""
        return max((float(info["last_tick"]) for info in self.processes["beat"] if info.get("last_tick")), default=None)


def read(overview: Overview) -> Reading:
    """Read everything once. Raises LedgerUnavailable."""
    key = overview.ledger.prefix
    time, ledger, counters, sync, dead, *rest = overview.ask(
        ("TIME",),
        ("HGETALL", f"{key}ledger"),
        ("HGETALL", f"{key}counters"),
        ("HGETALL", f"{key}sync"),
        ("XLEN", f"{key}dead"),
        *(("ZCARD", f"{key}{name}") for name in SETS),
        *(("ZRANGE", f"{key}{name}", 0, 0, "WITHSCORES") for name in AGED),
    )
    sizes, firsts = rest[: len(SETS)], rest[len(SETS) :]
    queues, unacknowledged = overview.queues()
    return Reading(
        now_s=int(time[0]) + int(time[1]) / 1e6,
        ledger=ledger,
        counters={name: int(value) for name, value in counters.items()},
        sizes=dict(zip(SETS, sizes, strict=True)) | {"dead": dead},
        oldest={name: float(first[0][1]) / 1000 for name, first in zip(AGED, firsts, strict=True) if first},
        processes={kind: list(overview.heartbeats(kind).values()) for kind in PROCESSES},
        queues=queues or {},
        unacknowledged=unacknowledged,
        listed_s=int(sync["ok"]) / 1000 if sync.get("ok") else None,
        draining=overview.draining(),
    )
