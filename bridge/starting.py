"""
Whether the ledger may be trusted, and where each partition starts. Decides; does no input or output.

The evidence is gathered in a fixed order, and each reading must be later than the one it is compared with:

1. the commits, **before** the ledger's state: a commit carries the version that the ledger had when it was made, so a
   state read later is at least as new, unless the ledger has lost writes. Read the other way round, the commit of
   another bridge, made in between, would look like that loss;
2. the ledger's state;
3. topic ids, ends and records, **after** it: nothing can be applied that Kafka does not hold, so an end read later lies
   at or above `next`, unless the log was truncated; and an epoch that another bridge has already begun is seen as such.

A horizon must be read when no older ledger can be applied to any more; hence `seal`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tracker.events import Partition
from tracker.ledger_state import LedgerState, PartitionStart, PartitionState, Positions

SEAL_S = 365 * 24 * 3600.0
"""How long a ledger without partitions stays closed for pushes: until the birth that follows at once, at any rate."""


@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """What a ledger was when a commit was made: its number and its version, which every change raises."""

    number: int
    version: int

    @classmethod
    def of(cls, positions: Positions) -> "Stamp":
        """The stamp of the ledger that was read; number 0 where there is none."""
        return cls(int((positions.ledger or "0").partition("-")[0]), positions.version)

    def __str__(self) -> str:
        return f"number {self.number} version {self.version}"


@dataclass(frozen=True, slots=True)
class Commit:
    """A group's commit for one partition. `metadata` is whatever its writer put beside it, "" for nothing."""

    offset: int
    metadata: str

    @property
    def stamp(self) -> Stamp | None:
        """The stamp of our ledger, None where somebody else committed."""
        return parse_metadata(self.metadata)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A partition's oldest offset still kept, and the offset behind its newest (committed) record."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What was seen, in the order given at the top.

    `topic_ids` has "" for a topic whose broker has no ids. `checksums` holds, for partitions whose record at `next - 1`
    was found, that record's checksum. `seen` is the highest stamp this bridge has read itself, ever.
    """

    counts_topic: str
    commits: Mapping[Partition, Commit]
    state: LedgerState
    topic_ids: Mapping[str, str]
    bounds: Mapping[Partition, Bounds]
    checksums: Mapping[Partition, str] = field(default_factory=dict)
    seen: Stamp | None = None

    def counts(self) -> list[Partition]:
        """The partitions of the counts topic, as Kafka has them."""
        return sorted(partition for partition in self.bounds if partition.topic == self.counts_topic)

    def highest(self) -> tuple[Stamp, str] | None:
        """The highest stamp known from outside the ledger, and where it stands."""
        stamps = [(stamp, f"the commit of {partition}") for partition, commit in self.commits.items() if (stamp := commit.stamp)]
        if self.seen:
            stamps.append((self.seen, "what this bridge has seen"))
        return max(stamps, default=None)

    def recreated(self, state: PartitionState) -> bool:
        """Whether the topic has another id than the partition's epoch. An unknown id is no evidence."""
        topic_id = self.topic_ids.get(state.partition.topic, "")
        return bool(topic_id and state.epoch) and topic_id != state.epoch


@dataclass(frozen=True, slots=True)
class Birth:
    """A new ledger: the arguments of `Ledger.birth`."""

    expected: str | None
    number: int
    starts: tuple[PartitionStart, ...]
    settle_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Loss:
    """Records `[start, end)` that Kafka no longer holds and that were never applied."""

    partition: Partition
    epoch: str
    start: int
    end: int
    reason: str


def format_metadata(ledger: str, version: int) -> str:
    """Write what goes into a commit beside its offset."""
    return f"import-tracker:1:{ledger}:{version}"


_METADATA = re.compile(r"import-tracker:\d+:(\d{1,18})-[^:]+:(\d{1,18})(?::.*)?")


def parse_metadata(metadata: str) -> Stamp | None:
    """Read a commit's metadata, that of a newer bridge too; None when it is not ours."""
    match = _METADATA.fullmatch(metadata)
    return Stamp(int(match[1]), int(match[2])) if match else None


def judge(evidence: Evidence) -> str | None:
    """Say in words why the ledger must be born anew, or None when it can be trusted."""
    if evidence.state.id is None:
        return "there is no ledger"
    if evidence.state.void:
        return evidence.state.void
    return (
        _behind(evidence)
        or next((reason for p in sorted(evidence.bounds) if (reason := _contradicted(evidence, p))), None)
        or _stranded(evidence)
    )


def _behind(evidence: Evidence) -> str | None:
    """Look for a ledger that has lost what it once had."""
    state, highest = evidence.state, evidence.highest()
    if highest and Stamp(state.number, state.version) < highest[0]:
        stamp, where = highest
        return (
            f"the ledger has number {state.number} version {state.version}, {where} has {stamp}: "
            "Redis has lost writes, or an older copy of it was put back"
        )
    return None if state.partitions else "the ledger knows no partition: its birth was not finished"


def _stranded(evidence: Evidence) -> str | None:
    """Look for a horizon that can never be passed."""
    for partition, known in sorted(evidence.state.partitions.items()):
        if known.horizon is not None and partition not in evidence.bounds:
            return f"{partition} is gone, and with it the horizon {known.horizon} that was to be passed"
    return None


def _contradicted(evidence: Evidence, partition: Partition) -> str | None:
    """Look for what Kafka says otherwise than the ledger about one partition."""
    others = _consumed_by_others(evidence, partition) if partition.topic == evidence.counts_topic else None
    return others or _truncated(evidence, partition)


def _consumed_by_others(evidence: Evidence, partition: Partition) -> str | None:
    """
    Look for a commit that is not ours above what the ledger has applied.

    Before a partition has passed its horizon the commit of whoever consumed before us still stands there and says
    nothing; beyond the horizon, and within the log, it is news.
    """
    commit, state = evidence.commits.get(partition), evidence.state.partitions.get(partition)
    if commit is None or commit.stamp is not None:
        return None
    bounds = evidence.bounds[partition]
    if state is None or evidence.recreated(state):
        applied = bounds.start
    elif state.horizon is None:
        applied = state.next
    elif commit.offset > bounds.end:
        return None
    else:
        applied = max(state.next, state.horizon)
    if commit.offset <= applied:
        return None
    return f"somebody else has consumed {partition} up to {commit.offset}, the ledger up to {applied}"


def _truncated(evidence: Evidence, partition: Partition) -> str | None:
    state = evidence.state.partitions.get(partition)
    if state is None or evidence.recreated(state):
        return None
    end = evidence.bounds[partition].end
    if end < state.next:
        return f"{partition} ends at {end}, the ledger has applied up to {state.next}: the topic was truncated or made anew"
    if state.horizon is not None and end < state.horizon:
        return f"{partition} ends at {end}, its horizon is {state.horizon}: the topic was truncated or made anew"
    found = evidence.checksums.get(partition, "")
    if found and state.checksum and found != state.checksum:
        return f"{partition} holds another record at {state.next - 1} than was applied: the topic was truncated or made anew"
    return None


def seal(evidence: Evidence, reason: str) -> Birth | None:
    """
    The first of the two steps in which a ledger takes another's place; None where the second can be taken at once.

    While the old ledger is in force, records are applied and pushed under it. A horizon read then would be too low, and
    what was pushed above it would be counted again. So a ledger without partitions first ends the old one; nothing is
    applied to it and nothing pushed from it, and the horizons read after it are right. A void ledger is closed already.
    """
    state = evidence.state
    if state.id is None or state.void or not state.partitions:
        return None
    return Birth(state.id, _next_number(evidence), (), SEAL_S, f"{reason} (the old ledger is closed first)")


def plan_birth(evidence: Evidence, reason: str, *, oldest: bool, registrations_topic: str, wait_s: float) -> Birth:
    """
    Plan the birth of a ledger in which every partition has its start.

    Counts start at the oldest record, with the end as horizon. With `oldest` off they start at the newest, but only where
    the group has no commit on any partition: commits say that somebody has counted here before, and then only
    the whole log tells what is missing. Registrations start at their commit, else at the newest; the listing finds the
    rest. `wait_s` bounds how long an older request can be on its way. There can be none where every counts partition's end
    is 0 and no ledger of ours was ever here: one could have pushed counts given by hand.
    """
    from_oldest = oldest or any(partition in evidence.commits for partition in evidence.counts())
    starts = []
    for partition, bounds in sorted(evidence.bounds.items()):
        epoch = evidence.topic_ids.get(partition.topic, "")
        if partition.topic == evidence.counts_topic:
            starts.append(PartitionStart(partition, epoch, bounds.start if from_oldest else bounds.end, bounds.end))
        elif partition.topic == registrations_topic:
            starts.append(PartitionStart(partition, epoch, _registrations_start(evidence.commits.get(partition), bounds), None))
    first = evidence.state.id is None and evidence.highest() is None
    untouched = first and all(evidence.bounds[partition].end == 0 for partition in evidence.counts())
    return Birth(evidence.state.id, _next_number(evidence), tuple(starts), 0.0 if untouched else wait_s, reason)


def _registrations_start(commit: Commit | None, bounds: Bounds) -> int:
    if commit is None:
        return bounds.end
    if bounds.start <= commit.offset <= bounds.end:
        return commit.offset
    return bounds.start  # deleted up to there, or truncated: all that is left is news


def _next_number(evidence: Evidence) -> int:
    highest = evidence.highest()
    return max(evidence.state.number, highest[0].number if highest else 0) + 1


def plan_starts(evidence: Evidence) -> tuple[Sequence[PartitionStart], Sequence[Loss]]:
    """
    For a ledger that is trusted: which partitions begin in it, and what Kafka deleted before it was applied.

    A partition that the ledger does not know was added to its topic; one of another topic id belongs to a topic made
    anew. Both begin at their oldest record, and all of it counts: no horizon.
    """
    starts: list[PartitionStart] = []
    losses: list[Loss] = []
    for partition, bounds in sorted(evidence.bounds.items()):
        state = evidence.state.partitions.get(partition)
        if state is None or evidence.recreated(state):
            replaces = state.epoch if state else None
            starts.append(PartitionStart(partition, evidence.topic_ids.get(partition.topic, ""), bounds.start, None, replaces))
        elif bounds.start > state.next:
            reason = f"{partition} begins at {bounds.start}: Kafka deleted {bounds.start - state.next} offsets before they were read"
            losses.append(Loss(partition, state.epoch, state.next, bounds.start, reason))
    return starts, losses
