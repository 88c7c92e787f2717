"""
The room of the Import API: import jobs, their state and which instances they have.

    GET /jobs?state=…&offset=…&limit=…     a page of jobs, 404 for none; a bare array of everything from 2017's API
    GET /jobs/{id}                         one job
    PUT /jobs/{id}  {"state": …}           sets the state; 2017's API makes a job of an id it does not know
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from tracker.api_client import LISTING_LIMIT, ApiClient, member, read_listing, segment, short_text
from tracker.errors import UnknownJob
from tracker.instance import Job

NOT_FOUND = {"job not found": UnknownJob, "resource not found": UnknownJob}

NONE_IN_THAT_STATE = {"job not found": UnknownJob}


@dataclass(frozen=True, slots=True)
class JobPage:
    """
    One page of a listing of jobs.

    `total` is None from an API that does not page, `unreadable` how many items were none.
    """

    items: tuple[Job, ...]
    total: int | None
    unreadable: int = 0


class ImportApi(ApiClient):
    """The Import API. Which error means what is told in `api_client`."""

    async def get_job(self, job_id: str) -> Job:
        """Read one job. Raises UnknownJob, and Transient, also where the answer is another job."""

        def read(answer: object, _: str | None) -> Job:
            job = read_job(answer)
            if job.id != job_id:
                raise ValueError("another id")
            return job

        return await self.get(_path(job_id), read, not_found=NOT_FOUND)

    async def list_jobs(self, state: str, offset: int, limit: int) -> JobPage:
        """Read one page of the jobs in a state. Raises Transient."""
        query = urlencode({"state": state, "offset": offset, "limit": limit})
        try:
            return await self.get(
                f"/jobs?{query}",
                lambda answer, _: JobPage(*read_listing(answer, read_job)),
                limit=LISTING_LIMIT,
                not_found=NONE_IN_THAT_STATE,
            )
        except UnknownJob:
            # No job from this offset on: today's API says so with a 404.
            return JobPage((), total=offset)

    async def put_state(self, job_id: str, state: str, *, allowed_at: float) -> None:
        """Set the state. Raises what `ApiClient.put` does."""
        await self.put(_path(job_id), {"state": state}, allowed_at=allowed_at)


def read_job(answer: object) -> Job:
    """
    Read a job.

    Raises ValueError where a field that is read has another type, or an id is too long: an instance left out would end the job too early.
    """
    job_id = short_text(answer, "id")
    if not job_id:
        raise ValueError("no id")
    instances = member(answer, "links", "instances")
    if not isinstance(instances, list | None):
        raise ValueError("links.instances is no list")  # noqa: TRY004 -- the answer's fault, not the caller's
    ids = [short_text(instance, "id") for instance in instances or []]
    if not all(ids):
        raise ValueError("links.instances has an entry without id")
    return Job(id=job_id, state=short_text(answer, "state"), instance_ids=tuple(dict.fromkeys(ids)))


def _path(job_id: str) -> str:
    return f"/jobs/{segment(job_id, UnknownJob)}"
