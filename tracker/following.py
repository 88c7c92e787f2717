"""
Use case: which instances are ours to follow.

At start-up and every `SYNC_INTERVAL` the full listing of submitted
instances finds what others did; jobs left submitted though all their instances are done are found by the same walk.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from tracker.instance import Instance, Job

PAGE = 1000
"""Instances a page: today's API allows no more. About 0.9 kB each."""

JOBS_EVERY = 10
"""Every so many listings the jobs left submitted are looked for."""


class Ledger(Protocol):
    """What following needs of the ledger."""

    def follow(self, state: str, instances: Iterable[Instance]) -> int:
        """Follow one page; how many were new."""

    def followed(self) -> set[str]:
        """The ids of all instances that have not ended."""

    def watch(self, instance_ids: Iterable[str]) -> None:
        """Have these looked at by the next check."""

    def expect_job(self, job_id: str) -> None:
        """Put a job among those pending."""


class InstancePage(Protocol):
    """One page of instances; `total` is None from an API that does not page."""

    @property
    def items(self) -> tuple[Instance, ...]:
        """The instances."""

    @property
    def total(self) -> int | None:
        """How many there are on all pages."""


class JobPage(Protocol):
    """One page of jobs, likewise."""

    @property
    def items(self) -> tuple[Job, ...]:
        """The jobs."""

    @property
    def total(self) -> int | None:
        """How many there are on all pages."""


class DatasetApi(Protocol):
    """What following needs of the Dataset API."""

    async def list_instances(self, state: str, offset: int, limit: int) -> InstancePage:
        """Read one page."""


class ImportApi(Protocol):
    """What following needs of the Import API."""

    async def list_jobs(self, state: str, offset: int, limit: int) -> JobPage:
        """Read one page."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a full listing came to: pages read, instances listed, new ones, followed ones that it lacks, jobs that it names."""

    pages: int
    listed: int
    new: int
    missing: tuple[str, ...]
    busy_jobs: frozenset[str]


async def sync(ledger: Ledger, dataset_api: DatasetApi) -> Listing:
    """
    Walk the full listing. Raises Transient; what was read until then is followed all the same.

    The sort order moves while pages are read, so an instance can be missing from all of them: that only has it
    asked for by itself, never dropped.
    """
    before = ledger.followed()
    listed: set[str] = set()
    busy_jobs: set[str] = set()
    pages = new = offset = 0
    while True:
        page = await dataset_api.list_instances("submitted", offset, PAGE)
        pages += 1
        new += ledger.follow("submitted", page.items)
        listed.update(instance.id for instance in page.items)
        busy_jobs.update(instance.job_id for instance in page.items if instance.job_id)
        offset += PAGE
        if page.total is None or not page.items or offset >= page.total:
            break
    missing = before - listed
    ledger.watch(missing)
    return Listing(pages, len(listed), new, tuple(sorted(missing)), frozenset(busy_jobs))


async def find_jobs(ledger: Ledger, import_api: ImportApi, busy: Collection[str]) -> int:
    """Have every submitted job looked at that has no submitted instance (`busy`); returns how many. Raises Transient."""
    offset = found = 0
    while True:
        page = await import_api.list_jobs("submitted", offset, PAGE)
        for job in page.items:
            if job.id not in busy and job.instance_ids:
                ledger.expect_job(job.id)
                found += 1
        offset += PAGE
        if page.total is None or not page.items or offset >= page.total:
            return found
