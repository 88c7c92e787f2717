"""
The room of the Dataset API: its instances, their state and their counts.

    GET /instances?state=…&offset=…&limit=…               a page of instances; everything from 2017's API
    GET /instances/{id}                                   one instance; today with an ETag
    PUT /instances/{id}/inserted_observations/{delta}     adds delta to the inserted count, each time it arrives
    PUT /instances/{id}  {"state": …}                     sets the state

2017's API has the inserted count at the top level and no ETags, today's has it in `import_tasks.import_observations`.
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from tracker.api_client import LISTING_LIMIT, ApiClient, member, read_listing, segment, short_text, whole_number
from tracker.errors import UnknownInstance
from tracker.instance import Instance

NOT_FOUND = {"instance not found": UnknownInstance}

TASKS = (("build_hierarchies", "hierarchy"), ("build_search_indexes", "search index"))


@dataclass(frozen=True, slots=True)
class Page:
    """
    One page of a listing of instances, without ETags.

    `total` is None from an API that does not page, `unreadable` how many items were none.
    """

    items: tuple[Instance, ...]
    total: int | None
    unreadable: int = 0


class DatasetApi(ApiClient):
    """The Dataset API. Which error means what is told in `api_client`."""

    async def get_instance(self, instance_id: str) -> Instance:
        """Read one instance. Raises UnknownInstance, and Transient, also where the answer is another instance."""

        def read(answer: object, etag: str | None) -> Instance:
            instance = read_instance(answer, etag)
            if instance.id != instance_id:
                raise ValueError("another id")
            return instance

        return await self.get(_path(instance_id), read, not_found=NOT_FOUND)

    async def list_instances(self, state: str, offset: int, limit: int) -> Page:
        """Read one page of the instances in a state. Raises Transient."""
        query = urlencode({"state": state, "offset": offset, "limit": limit})
        return await self.get(f"/instances?{query}", lambda answer, _: Page(*read_listing(answer, read_instance)), limit=LISTING_LIMIT)

    async def add_inserted(self, instance_id: str, delta: int, etag: str | None, *, allowed_at: float) -> str | None:
        """Add to the inserted count: not idempotent. Returns the new ETag; raises what `ApiClient.put` does."""
        return await self.put(f"{_path(instance_id)}/inserted_observations/{delta}", etag=etag, allowed_at=allowed_at)

    async def put_state(self, instance_id: str, state: str, etag: str | None, *, allowed_at: float) -> str | None:
        """Set the state. Returns the new ETag; raises what `ApiClient.put` does."""
        return await self.put(_path(instance_id), {"state": state}, etag=etag, allowed_at=allowed_at)


def read_instance(answer: object, etag: str | None = None) -> Instance:
    """
    Read an instance of either generation; what is absent or null counts as not set.

    Raises ValueError where a field that is read has another type, or an id is too long: a count that cannot be read is not a count of 0.
    """
    instance_id = short_text(answer, "id")
    if not instance_id:
        raise ValueError("no id")
    total = whole_number(answer, "total_observations")
    inserted = whole_number(answer, "import_tasks", "import_observations", "total_inserted_observations")
    if inserted is None:
        inserted = whole_number(answer, "total_inserted_observations")
    return Instance(
        id=instance_id,
        state=short_text(answer, "state"),
        job_id=short_text(answer, "links", "job", "id") or None,
        total_observations=None if total is None else max(0, total),
        inserted_observations=inserted or 0,
        etag=etag,
        open_tasks=tuple(_open_tasks(answer)),
    )


def _open_tasks(answer: object) -> list[str]:
    """Name the tasks that are not completed; one that cannot be read is open."""
    names = []
    for field, what in TASKS:
        tasks = member(answer, "import_tasks", field)
        if tasks is None:
            continue
        if not isinstance(tasks, list):
            raise ValueError(f"import_tasks.{field} is no list")  # noqa: TRY004 -- the answer's fault, not the caller's
        names += [f"{what} of {short_text(task, 'dimension_name') or '?'}" for task in tasks if member(task, "state") != "completed"]
    return names


def _path(instance_id: str) -> str:
    return f"/instances/{segment(instance_id, UnknownInstance)}"
