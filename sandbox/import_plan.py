"""What the demo imports, and how its outcome is judged. Pure: no input, no output."""

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.publishers import in_batches

INSTANCES_PER_JOB = (1, 4, 2, 3, 2)
FAILING = (1, 2)
"""Job and instance, counted from 0, that the import reporter sets to `failed` half-way."""

BATCH_SIZE = 1000
"""Observations in a full record, as the importer of 2017 announced them."""


@dataclass(frozen=True, slots=True)
class PlannedInstance:
    """`total` is what the dimension extractor will say; where the instance `fails`, only the first half of it is announced."""

    id: str
    job_id: str
    total: int
    fails: bool

    @property
    def halves(self) -> tuple[int, int]:
        """The observations announced before and after the extractor and the reporter speak."""
        first = self.total // 2
        return first, 0 if self.fails else self.total - first

    @property
    def published(self) -> int:
        """All observations announced."""
        return sum(self.halves)

    @property
    def records(self) -> int:
        """The Kafka records that this takes."""
        return sum(1 for half in self.halves for _ in in_batches(half, BATCH_SIZE))

    @property
    def end_state(self) -> str:
        """The state to end in."""
        return "failed" if self.fails else "completed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the two APIs say of one instance. `took_s`: from its last record to `completed`; None where that is not known."""

    planned: PlannedInstance
    counted: int
    state: str
    job_state: str
    took_s: float | None = None


def plan(observations: int) -> list[PlannedInstance]:
    """Share so many observations out among the instances, unevenly, so that most leave a remainder. Each has 2 or more."""
    places = [(job, number) for job, instances in enumerate(INSTANCES_PER_JOB) for number in range(instances)]
    weights = [3 + (5 * place) % 7 for place in range(len(places))]
    totals = [max(2, observations * weight // sum(weights)) for weight in weights]
    totals[0] += max(0, observations - sum(totals))
    return [
        PlannedInstance(f"instance-{job + 1}-{number + 1}", f"job-{job + 1}", total, (job, number) == FAILING)
        for (job, number), total in zip(places, totals, strict=True)
    ]


def job_end_state(planned: Sequence[PlannedInstance], job_id: str) -> str:
    """The state that the job has to end in: one failed instance fails it."""
    return "failed" if any(each.fails for each in planned if each.job_id == job_id) else "completed"


def disagreements(outcomes: Sequence[Outcome]) -> list[str]:
    """Every figure and state that is not as planned, in words."""
    found = []
    planned = [outcome.planned for outcome in outcomes]
    for outcome in outcomes:
        if outcome.counted != outcome.planned.published:
            found.append(f"{outcome.planned.id}: {outcome.planned.published:,} published, {outcome.counted:,} counted")
        if outcome.state != outcome.planned.end_state:
            found.append(f"{outcome.planned.id}: {outcome.state}, expected {outcome.planned.end_state}")
    for job_id, state in {outcome.planned.job_id: outcome.job_state for outcome in outcomes}.items():
        expected = job_end_state(planned, job_id)
        if state != expected:
            found.append(f"{job_id}: {state}, expected {expected}")
    return found
