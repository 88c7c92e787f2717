"""
What the stand-in Dataset API stores: instances, and how each generation of the API shows them.

An instance is given (POST /instances, the seed file, POST /sandbox/state) in today's shape or 2017's; all but `id` may
be left out:

    {"id": "i-1", "state": "submitted", "links": {"job": {"id": "j-1", "href": "…"}, "dataset": {"id": "cpi", "href": "…"}},
     "total_observations": 1510, "total_inserted_observations": 0,
     "import_tasks": {"import_observations": {"total_inserted_observations": 0, "state": "created"},
                      "build_hierarchies": [{"dimension_name": "geo", "code_list_id": "cl", "state": "created"}],
                      "build_search_indexes": [{"dimension_name": "geo", "state": "created"}]}}

`"import_tasks": null` makes an instance without import tasks; of a count given in both places the one at the top counts.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

KEPT = ("total_observations", "headers", "dimensions", "events", "edition", "version", "release_date", "alerts", "type")
"""Fields taken as they come and shown again."""

TASK_KINDS = {"build_hierarchies": "hierarchy", "build_search_indexes": "search index"}
"""The kinds of import tasks that there is one of for each dimension, and what error texts call them."""

_NO_LINK = {"id": "", "href": ""}


class StoredInstance:
    """
    One instance.

    `inserted` is None until the first increment (2017 shows no field then). `task_lists` has for
    each of `TASK_KINDS` the tasks, or None where there are none; `has_tasks` is False where today's API shows `"import_tasks": null`.
    """

    __slots__ = ("etag", "fields", "has_tasks", "id", "import_state", "inserted", "links", "state", "task_lists", "updated")

    def __init__(self, given: dict[str, Any]) -> None:
        tasks = given.get("import_tasks", {})
        observations = (tasks or {}).get("import_observations") or {}
        self.id: str = given["id"]
        self.state: str = given.get("state") or "created"
        self.links: dict[str, Any] = dict(given.get("links") or {})
        self.fields = {name: given[name] for name in KEPT if given.get(name) is not None}
        self.has_tasks = tasks is not None
        self.inserted: int | None = given.get("total_inserted_observations", observations.get("total_inserted_observations"))
        self.import_state: str = observations.get("state") or "created"
        self.task_lists: dict[str, list[dict[str, Any]] | None] = {kind: (tasks or {}).get(kind) or None for kind in TASK_KINDS}
        self.updated = time.time()
        self.etag: str = given.get("etag") or hashlib.sha1(json.dumps(given, sort_keys=True).encode(), usedforsecurity=False).hexdigest()

    def changed(self, change: str) -> None:
        """Give the instance a new ETag and the time of now, also when the change changed nothing."""
        self.updated = time.time()
        self.etag = hashlib.sha1(f"{self.etag} {change}".encode(), usedforsecurity=False).hexdigest()

    def set_task(self, kind: str, task: dict[str, Any]) -> bool:
        """Set a task's state. Returns False when the instance has no such task; changes no ETag."""
        if kind == "import_observations":
            self.import_state = task["state"]
            return self.has_tasks
        for known in self.task_lists[kind] or []:
            if known["dimension_name"] == task["dimension_name"]:
                known["state"] = task["state"]
                return True
        return False

    def show_2017(self) -> dict[str, Any]:
        """The JSON of 2017: the count at top level and absent before the first increment, links always there."""
        shown = self._common()
        shown["links"] = {name: self.links.get(name) or _NO_LINK for name in ("job", "dataset", "version")} | self.links
        if self.inserted is not None:
            shown["total_inserted_observations"] = self.inserted
        return shown

    def show_today(self) -> dict[str, Any]:
        """The JSON of today: the count in the import tasks, 0 from the start; `job` always there, null without one."""
        shown = self._common()
        shown["links"] = {"job": None} | {name: link for name, link in self.links.items() if link is not None}
        shown["import_tasks"] = self.tasks() if self.has_tasks else None
        return shown

    def dump(self) -> dict[str, Any]:
        """As it can be loaded again, ETag included."""
        return self.show_today() | {"etag": self.etag, "total_inserted_observations": self.inserted}

    def tasks(self) -> dict[str, Any]:
        """The import tasks; kinds of which there are none are null."""
        return {
            "import_observations": {"total_inserted_observations": self.inserted or 0, "state": self.import_state},
            **self.task_lists,
        }

    def _common(self) -> dict[str, Any]:
        updated = datetime.fromtimestamp(self.updated, UTC).isoformat().replace("+00:00", "Z")
        return {"id": self.id, "state": self.state, "last_updated": updated, **self.fields}


class InstanceStore:
    """The instances by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, StoredInstance] = {}

    def __iter__(self) -> Iterator[StoredInstance]:
        return iter(self._by_id.values())

    def get(self, instance_id: str) -> StoredInstance | None:
        """The instance, or None."""
        return self._by_id.get(instance_id)

    def put(self, given: dict[str, Any]) -> StoredInstance:
        """Add or replace an instance. Raises ValueError when it has no usable id or its fields are of wrong types."""
        if not isinstance(given.get("id"), str) or not given["id"]:
            raise ValueError(f"instance id {given.get('id')!r}: expected a string")
        try:
            instance = StoredInstance(given)
        except (AttributeError, TypeError) as error:
            raise ValueError(f"instance {given['id']}: {error}") from error
        self._by_id[instance.id] = instance
        return instance

    def clear(self, prefix: str = "") -> None:
        """Forget those whose id begins with `prefix`."""
        for instance_id in [each for each in self._by_id if each.startswith(prefix)]:
            del self._by_id[instance_id]

    def newest_first(self) -> list[StoredInstance]:
        """All, by `last_updated` descending: an instance moves to the front whenever it changes."""
        return sorted(self._by_id.values(), key=lambda instance: instance.updated, reverse=True)
