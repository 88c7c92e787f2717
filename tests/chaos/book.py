"""
The book of a round: every record that was published, by instance and by place in Kafka, and what the two APIs must say in the end.

Each record counts a number of observations of its own, drawn from a thousand million. So where an instance's count is wrong,
the difference tells which of its records were lost or doubled (`Book.explain`). Pure; whoever shares a book among threads
holds its `lock`.
"""

import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

LARGEST_COUNT = 1 << 30
"""Of one record, whose count is signed and of 32 bits."""

SHORTEST_FAILING = 3
"""Records of an instance that fails on its way: it must not be complete before it has failed."""

MOST_NAMED = 3000
"""Records of one instance beyond which `explain` looks for single ones only: pairs are tried one by one."""


@dataclass(slots=True)
class Instance:
    """
    One instance and what is known of its records.

    `plan` holds the counts of all its records, sent up to `sent`. `lost` holds the counts that a recorded loss took, `by_hand`
    what a person added. `fails` True: the import reporter sets it to `failed` when half of it is in.
    """

    id: str
    job_id: str
    plan: list[int]
    told_early: bool
    fails: bool
    sent: int = 0
    sent_sum: int = 0
    acked: int = 0
    acked_sum: int = 0
    lost: list[int] = field(default_factory=list)
    by_hand: int = 0
    told: int | None = None
    failed: bool = False

    @property
    def closed(self) -> bool:
        """Whether no record of it is to come."""
        return self.sent == len(self.plan)

    @property
    def total(self) -> int:
        """How many rows its file has: what the dimension extractor tells."""
        return sum(self.plan) + self.by_hand - sum(self.lost)

    @property
    def ends(self) -> bool:
        """Whether it must be completed. One of which nothing is left has a total of 0, and is never complete."""
        return self.closed and self.sent == self.acked and self.told == self.total > 0

    @property
    def expected(self) -> int:
        """What the Dataset API must have of it now, or soon."""
        return self.acked_sum + self.by_hand - sum(self.lost)

    def take(self) -> int:
        """The count of its next record, which is about to be sent."""
        count = self.plan[self.sent]
        self.sent += 1
        self.sent_sum += count
        return count

    def cut_short(self) -> None:
        """Let what is sent be all, but one record at least. One that was to fail later does not."""
        self.fails &= self.sent > len(self.plan) // 2
        del self.plan[max(self.sent, 1) :]


@dataclass(slots=True)
class Job:
    """One import job."""

    id: str
    instances: list[Instance]

    @property
    def closed(self) -> bool:
        """Whether it must have ended: each of its instances has failed, or is wholly in Kafka and its total told."""
        return all(each.failed or each.ends for each in self.instances)

    @property
    def state(self) -> str:
        """What the Import API must say when it has ended."""
        return "failed" if any(each.failed for each in self.instances) else "completed"


@dataclass(frozen=True, slots=True)
class Findings:
    """What does not agree: too much can never be mended, too little may only be late."""

    doubled: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.doubled or self.wrong or self.missing)

    def lines(self) -> list[str]:
        """All of it in words."""
        return [*self.doubled, *self.wrong, *self.missing]


class Book:
    """What was published in a round. `instances` and `jobs` by id; `log` by life of the topic and partition, in the order of offsets."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.instances: dict[str, Instance] = {}
        self.jobs: dict[str, Job] = {}
        self.log: dict[tuple[int, int], list[tuple[int, Instance, int]]] = defaultdict(list)
        self.records = 0

    def add(self, job: Job) -> None:
        """Take a job in, before its first record is sent."""
        with self.lock:
            self.jobs[job.id] = job
            self.instances |= {each.id: each for each in job.instances}

    def acknowledge(self, life: int, partition: int, offset: int, instance: Instance, count: int) -> None:
        """Kafka has the record, at this place."""
        with self.lock:
            self.log[life, partition].append((offset, instance, count))
            instance.acked += 1
            instance.acked_sum += count
            self.records += 1

    def write_off(self, gone: Mapping[tuple[int, int], Callable[[int], bool]]) -> int:
        """
        Expect no longer what is `gone`, by life, partition and offset; what was written off before is not any more.

        Returns the number of records.
        """
        with self.lock:
            for instance in self.instances.values():
                instance.lost.clear()
            records = 0
            for at, is_gone in gone.items():
                for offset, instance, count in self.log.get(at, ()):
                    if is_gone(offset):
                        instance.lost.append(count)
                        records += 1
            return records

    def too_early(self, states: Mapping[str, str]) -> list[str]:
        """The instances that are completed already though records of theirs were still to be sent. `states` were read before this."""
        with self.lock:
            return [
                f"{each.id} is completed after {each.sent} of {len(each.plan)} records"
                for each in self.instances.values()
                if states.get(each.id) == "completed" and not each.closed
            ]

    def too_much(self, counts: Mapping[str, int]) -> list[str]:
        """The instances of which more is counted than was sent. `counts` were read before this."""
        with self.lock:
            return [
                self.explain(each, counts[each.id])
                for each in self.instances.values()
                if counts.get(each.id, 0) > each.sent_sum + each.by_hand
            ]

    def check(self, counts: Mapping[str, int], states: Mapping[str, str], jobs: Mapping[str, str], *, explain: bool = True) -> Findings:
        """Compare everything with what the two APIs say; without `explain` the records that make a difference are not looked for."""
        doubled: list[str] = []
        wrong: list[str] = []
        missing: list[str] = []
        with self.lock:
            for each in self.instances.values():
                found = counts.get(each.id, 0)
                if found != each.expected:
                    (doubled if found > each.expected else missing).append(
                        self.explain(each, found) if explain else f"{each.id}: {found:,} instead of {each.expected:,}"
                    )
            for job in self.jobs.values():
                # A job and its instances end when all is in; until then all of them are as they were made, but for those that failed.
                for each in job.instances:
                    wanted = "failed" if each.failed else "completed" if each.ends else "submitted"
                    if states.get(each.id) != wanted:
                        late = states.get(each.id) == "submitted"
                        (missing if late else wrong).append(f"{each.id} is {states.get(each.id)}, not {wanted}")
                wanted = job.state if job.closed else "submitted"
                if jobs.get(job.id) != wanted:
                    late = jobs.get(job.id) == "submitted" or {jobs.get(job.id), wanted} == {"completed", "failed"}
                    (missing if late else wrong).append(f"job {job.id} is {jobs.get(job.id)}, not {wanted}")
        return Findings(tuple(doubled), tuple(wrong), tuple(missing))

    def explain(self, instance: Instance, found: int) -> str:
        """Say which records make the difference between what was found and what was expected, as far as few records do."""
        off = found - instance.expected
        text = f"{instance.id}: {found:,} instead of {instance.expected:,}"
        where = [(f"{life}:{p}:{at}", count) for (life, p), entries in self.log.items() for at, i, count in entries if i is instance]
        names = _few(abs(off), where)
        kind = "doubled" if off > 0 else "lost"
        return f"{text}, {kind}: {', '.join(names)}" if names else f"{text}, off by {off:,} of {instance.sent} records"


def _few(difference: int, records: list[tuple[str, int]]) -> list[str]:
    """One or two records that make up the difference together; none if there are no such."""
    by_count = {count: place for place, count in records}
    if difference in by_count:
        return [by_count[difference]]
    for place, count in records if len(records) <= MOST_NAMED else ():
        other = by_count.get(difference - count)
        if other is not None and other != place:
            return [place, other]
    return []


def plan_jobs(random_numbers: random.Random, prefix: str, *, longest: int = 1200) -> Iterator[Job]:
    """
    Jobs without end, of one to four instances, half of them short (up to 40 records) and half long (up to `longest`).

    A third of the totals is told before the first record. Of one job in twelve one instance fails on its way.
    """
    number = 0
    while True:
        number += 1
        job = Job(f"{prefix}-{number}", [])
        size = random_numbers.choice((1, 1, 2, 3, 4))
        failing = random_numbers.randrange(size) if random_numbers.random() < 1 / 12 else None
        for each in range(size):
            records = random_numbers.randint(1, 40) if random_numbers.random() < 0.5 else random_numbers.randint(40, max(longest, 41))
            plan = [random_numbers.randint(1, LARGEST_COUNT) for _ in range(records)]
            early = random_numbers.random() < 1 / 3
            job.instances.append(Instance(f"{job.id}-{each + 1}", job.id, plan, early, each == failing and records >= SHORTEST_FAILING))
        yield job


def in_ranges(ranges: Iterable[tuple[int, int]]) -> Callable[[int], bool]:
    """Whether an offset lies in one of the stretches `[start, end)`."""
    kept = tuple(ranges)
    return lambda offset: any(start <= offset < end for start, end in kept)
