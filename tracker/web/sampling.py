"""
How fast it goes: samples of the last minutes, kept in memory by the web process. Pure; times are of one monotonic clock.

Nothing here outlives the process, so a curve says since when it is drawn. What is kept is bounded: `SLOTS` samples of the
whole, and `PER_INSTANCE` of each of the `MOST_PACED` instances that moved last.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

SLOT_S = 5.0
"""Seconds between two samples that are kept of the whole."""

SLOTS = 60
"""Stretches of `SLOT_S` that the curve shows: five minutes."""

NOW_S = 10.0
"""The stretch over which the present rate is measured: short enough to follow, long enough for some batches."""

PACE_EVERY_S = 2.0
"""Seconds between two samples that are kept of an instance."""

PER_INSTANCE = 31
"""Samples of an instance: one minute."""

MOST_PACED = 2000
"""Instances whose pace is known: more than pages can show. Of others there is no expected end."""


@dataclass(frozen=True, slots=True)
class Sample:
    """How many there were at a time."""

    at_s: float
    number: int


class Curve:
    """
    Records applied, over the last minutes.

    Fed with the positions of all partitions. Only what a partition moved on counts: one that is new, or that went back at a
    birth, moves nothing.
    """

    def __init__(self) -> None:
        self._kept: deque[Sample] = deque(maxlen=SLOTS + 1)
        self._last: Sample | None = None
        self._positions: dict[str, int] = {}
        self._records = 0

    def take(self, at_s: float, positions: Mapping[str, int]) -> None:
        """Take a sample: the next offset of each partition, by a name that holds its epoch."""
        self._records += sum(max(0, position - self._positions.get(name, position)) for name, position in positions.items())
        self._positions = dict(positions)
        self._last = Sample(at_s, self._records)
        if not self._kept or at_s - self._kept[-1].at_s >= SLOT_S:
            self._kept.append(self._last)

    @property
    def covers_s(self) -> float:
        """The stretch between the oldest and the last sample."""
        return self._last.at_s - self._kept[0].at_s if self._last else 0.0

    @property
    def rate(self) -> float | None:
        """Records per second just now; None before there are two samples."""
        if self._last is None:
            return None
        before = next((kept for kept in reversed(self._kept) if self._last.at_s - kept.at_s >= NOW_S), self._kept[0])
        took_s = self._last.at_s - before.at_s
        return (self._last.number - before.number) / took_s if took_s > 0 else None

    def rates(self) -> list[tuple[float, float]]:
        """The rate of each stretch, oldest first, with the seconds from its end to the last sample."""
        if self._last is None:
            return []
        samples = list(self._kept)
        if self._last.at_s - samples[-1].at_s >= SLOT_S / 2:
            samples.append(self._last)
        return [(self._last.at_s - late.at_s, (late.number - early.number) / (late.at_s - early.at_s)) for early, late in pairwise(samples)]


class Paces:
    """How fast the counts of single instances rise: observations per second, over the last minute."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, deque[Sample]] = OrderedDict()

    def take(self, name: str, at_s: float, counted: int) -> None:
        """Note what an instance that has not ended is counted to be."""
        samples = self._kept.get(name)
        if samples is None:
            samples = self._kept[name] = deque(maxlen=PER_INSTANCE)
            if len(self._kept) > MOST_PACED:
                self._kept.popitem(last=False)
        elif samples[-1].number != counted:
            self._kept.move_to_end(name)
        if not samples or at_s - samples[-1].at_s >= PACE_EVERY_S:
            samples.append(Sample(at_s, counted))

    def forget(self, name: str) -> None:
        """Forget an instance that has ended."""
        self._kept.pop(name, None)

    def of(self, name: str) -> float | None:
        """Observations per second; None where too little is known to say."""
        samples = self._kept.get(name)
        if not samples or samples[-1].at_s == samples[0].at_s:
            return None
        return max(0, samples[-1].number - samples[0].number) / (samples[-1].at_s - samples[0].at_s)

    def left_s(self, name: str, total: int | None, inserted: int) -> float | None:
        """Seconds until `total` is reached at the present pace; None where that cannot be told."""
        pace = self.of(name)
        return (total - inserted) / pace if total and pace and inserted < total else None

    def names(self) -> list[str]:
        """The instances whose pace is kept."""
        return list(self._kept)
