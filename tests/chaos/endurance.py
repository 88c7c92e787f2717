"""
Steady load with faults for long, while the memory of every process, Redis and the number of its keys are sampled: nothing may grow.

The faults are those that leave the processes alive, so that what one of them gathers over its life shows. Finished instances
are forgotten after a minute, so what the ledger holds comes to rest. After the warm-up a straight line is fitted to each series.
"""

import json
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import redis

from tests.chaos.campaign import Campaign, Options, line_of, system_up
from tests.chaos.faults import KINDS, World
from tests.chaos.report import table
from tests.chaos.rounds import Round, Wrong
from tests.system import System

SAMPLE_S = 5.0
WARM_UP_SHARE = 1 / 3
"""Of the time: imports, caches, connection pools and the instances of the first minutes."""

ALLOWED_SHARE, ALLOWED_MB, ALLOWED_KEYS = 0.05, 3.0, 300.0
"""How far the fitted line may rise from the end of the warm-up to the end: a share of the mean, or so much, whichever is more."""

BOUNDED = {"HISTORY_MAX_ENTRIES": "1000"}
"""What only its own bound keeps from growing is to reach it during the warm-up."""

ROUND_FAULTS, ROUND_GAP_S = 25, 2.0

ENDING = ("killed", "stopped", "replaced", "lost", "purge", "kafka", "rewound", "suspended_past")
"""Parts of the names of faults that end a process, or take long."""


@dataclass(frozen=True)
class Trend:
    """A series after the warm-up: its mean, the change of the fitted line over that time, and how much was allowed."""

    name: str
    unit: str
    first: float
    mean: float
    rise: float
    allowed: float

    @property
    def flat(self) -> bool:
        """Whether it does not grow."""
        return self.rise <= self.allowed


class Sampler:
    """Samples a system every `SAMPLE_S` in a thread of its own. `series` holds (seconds, value) by name."""

    def __init__(self, world: World, system: System) -> None:
        self.series: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        self._world, self._system = world, system
        self._begun = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            at = round(time.monotonic() - self._begun, 1)
            for name in self._world.stack.names():
                self._note_process(name, at)
            self._note_redis(at)

    def _note_process(self, name: str, at: float) -> None:
        pid = self._world.stack.pid(name)
        if pid is None:
            return
        try:
            first = psutil.Process(pid)
            members = [first, *first.children(recursive=True)]
            found = [member.memory_full_info() for member in members]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return
        self.series[f"{name} rss MB"].append((at, sum(each.rss for each in found) / 1e6))
        self.series[f"{name} uss MB"].append((at, sum(each.uss for each in found) / 1e6))

    def _note_redis(self, at: float) -> None:
        client, prefix = self._world.redis, self._world.prefix
        try:
            self.series["redis used_memory MB"].append((at, client.info("memory")["used_memory"] / 1e6))
            self.series["redis keys"].append((at, float(client.dbsize())))
            for key in client.scan_iter(count=1000, _type="stream"):
                self.series[f"stream {str(key).removeprefix(prefix)} keys"].append((at, float(client.xlen(key))))
            for kept in ("owing", "watched", "leisure", "followed", "finished", "parked", "jobs"):
                self.series[f"zset {kept} keys"].append((at, float(client.zcard(f"{prefix}{kept}"))))
        except (redis.RedisError, httpx.HTTPError):
            return


def trend(name: str, series: Sequence[tuple[float, float]], warm_up_s: float) -> Trend | None:
    """Fit a line by least squares to what comes after the warm-up; None for fewer than three samples."""
    points = [(at, value) for at, value in series if at >= warm_up_s]
    if len(points) < 3:
        return None
    mean_at, mean = (sum(each[axis] for each in points) / len(points) for axis in (0, 1))
    slope = sum((at - mean_at) * (value - mean) for at, value in points) / sum((at - mean_at) ** 2 for at, _ in points)
    unit = name.rpartition(" ")[2]
    allowed = max(ALLOWED_SHARE * mean, ALLOWED_MB if unit == "MB" else ALLOWED_KEYS)
    return Trend(name.rpartition(" ")[0], unit, points[0][1], mean, slope * (points[-1][0] - points[0][0]), allowed)


def run(campaign: Campaign, minutes: float, output: Path | None) -> bool:
    """Keep one system under load for so long. Returns whether everything was right and nothing grew."""
    options: Options = campaign.options
    only = [name for name, kind in KINDS.items() if kind.disrupts == "none" and not any(part in name for part in ENDING)]
    ends = time.monotonic() + minutes * 60
    number, well = options.first, True
    with system_up(options, options.generation_of(number), number, BOUNDED) as (world, system), Sampler(world, system) as sampler:
        while well and time.monotonic() < ends:
            begun = time.monotonic()
            this = Round(world, system, seed=options.seed, number=number, settle_timeout_s=options.settle_timeout_s, note=lambda _: None)
            this.disrupts = "none"
            try:
                this.open()
                this.storm(ROUND_FAULTS, ROUND_GAP_S, only)
                this.close()
                this.clear()
            except Wrong as wrong:
                this.outcome.wrong = this.outcome.wrong or str(wrong).splitlines()
                well = False
            campaign.write(line_of(this, options.seed, number, time.monotonic() - begun) | campaign.about)
            number += 1
    trends = [found for name, series in sampler.series.items() if (found := trend(name, series, WARM_UP_SHARE * minutes * 60))]
    campaign.say(shown(trends))
    if output is not None:
        output.write_text(json.dumps(_kept(campaign, minutes, sampler.series, trends), indent=1) + "\n")
    return well and all(each.flat for each in trends)


def shown(trends: Sequence[Trend]) -> str:
    """The table for a person and for docs/reliability.md."""
    rows = [
        [
            each.name,
            each.unit,
            f"{each.first:,.1f}",
            f"{each.mean:,.1f}",
            f"{each.rise:+,.2f}",
            f"{each.allowed:,.1f}",
            "yes" if each.flat else "NO",
        ]
        for each in trends
    ]
    return table(["", "unit", "after warm-up", "mean", "fitted change to the end", "allowed", "flat"], rows)


def _kept(
    campaign: Campaign, minutes: float, series: Mapping[str, Sequence[tuple[float, float]]], trends: Sequence[Trend]
) -> dict[str, Any]:
    """What is kept of it: the sums, the trends, and at most 120 samples of each series."""
    thinned = {name: [(at, round(value, 2)) for at, value in values[:: max(1, len(values) // 120)]] for name, values in series.items()}
    return {
        **campaign.about,
        "seed": campaign.options.seed,
        "minutes": minutes,
        "records": sum(line["records"] for line in campaign.lines),
        "faults": sum(sum(line["faults"].values()) for line in campaign.lines),
        "rounds_wrong": sum(bool(line["wrong"]) for line in campaign.lines),
        "trends": [{"name": each.name, "unit": each.unit, "mean": round(each.mean, 2), "rise": round(each.rise, 3)} for each in trends],
        "series": thinned,
    }
