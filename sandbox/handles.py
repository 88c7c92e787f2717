"""Handles on the two stand-in APIs, for tests and the demo to seed, read and disturb them (see `sandbox.control`)."""

import functools
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

WAIT_S = 15.0
"""How long a waiting request may take unless told otherwise."""


@functools.cache
def _context(authorities: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authorities)


class StandInHandle:
    """
    What both stand-ins offer. `url` is the API's base URL, `authorities` the file that an https one is verified by.

    Every call raises httpx.HTTPError when the stand-in is away or refuses what it was asked.
    """

    def __init__(self, url: str, token: str | None, authorities: Path | None = None) -> None:
        self.url = url
        headers = {"Internal-token": token, "Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=WAIT_S, trust_env=False, verify=_context(authorities))

    def answers(self) -> bool:
        """Whether the stand-in is there."""
        try:
            return self._client.get("/sandbox/stats").is_success
        except httpx.HTTPError:
            return False

    def states(self) -> dict[str, str]:
        """State by instance or job id."""
        states: dict[str, str] = self._ask("GET", "/sandbox/states")
        return states

    def stored(self) -> dict[str, Any]:
        """Everything stored, in the form of the seed file."""
        stored: dict[str, Any] = self._ask("GET", "/sandbox/state")
        return stored

    def store(self, stored: Mapping[str, Any]) -> None:
        """Add or replace what is given in the form of the seed file."""
        self._ask("POST", "/sandbox/state", stored)

    def forget(self, prefix: str = "") -> None:
        """Forget everything stored whose id begins with `prefix`."""
        self._ask("DELETE", f"/sandbox/state?prefix={quote(prefix)}")

    def stats(self) -> dict[str, Any]:
        """Counters over all calls, see `sandbox.control`."""
        stats: dict[str, Any] = self._ask("GET", "/sandbox/stats")
        return stats

    def calls(self, *, at_least: int = 0, timeout_s: float = WAIT_S, **filters: object) -> list[dict[str, Any]]:
        """
        The finished calls that match `filters`: since, method, path (a regular expression), applied, limit.

        Waits until there are `at_least` so many. Raises httpx.HTTPStatusError (504) when there are not in time.
        """
        asked = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in filters.items()}
        calls: list[dict[str, Any]] = self._wait("/sandbox/calls", asked, at_least, timeout_s)["calls"]
        return calls

    def forget_calls(self) -> None:
        """Empty the journal; sequence numbers go on."""
        self._ask("DELETE", "/sandbox/calls")

    def fault(self, do: str, **fields: object) -> int:
        """Switch a fault on, see `sandbox.faults`. Returns its id."""
        made: dict[str, list[int]] = self._ask("POST", "/sandbox/faults", {"do": do, **fields})
        return made["ids"][0]

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are on, with the number of calls that each has met as `hits`."""
        found: list[dict[str, Any]] = self._ask("GET", "/sandbox/faults")["faults"]
        return found

    def end_fault(self, fault: int) -> None:
        """Switch one fault off; what it holds goes on."""
        self._ask("DELETE", f"/sandbox/faults/{fault}")

    def end_faults(self) -> None:
        """Switch all faults off; all that is held goes on."""
        self._ask("DELETE", "/sandbox/faults")

    def hold(self, **fields: object) -> int:
        """Hold matching calls until they are released: before they are applied, or `when="after"`. Returns the fault's id."""
        return self.fault("hold", **fields)

    def held(self, *, at_least: int = 0, timeout_s: float = WAIT_S) -> list[dict[str, Any]]:
        """The held calls; waits until there are `at_least` so many, as `calls` does."""
        held: list[dict[str, Any]] = self._wait("/sandbox/held", {}, at_least, timeout_s)["held"]
        return held

    def release(self, count: int | None = None) -> int:
        """Let the `count` longest-held calls go on, or all and hold no more. Returns how many went on."""
        released: int = self._ask("POST", "/sandbox/release", {} if count is None else {"count": count})["released"]
        return released

    def be_away(self, seconds: float) -> None:
        """Cut every connection and refuse new ones for so long; what is stored stays."""
        self._ask("POST", "/sandbox/outage", {"seconds": seconds})

    def _wait(self, path: str, asked: dict[str, str], at_least: int, timeout_s: float) -> dict[str, Any]:
        parameters = asked | {"at_least": str(at_least), "timeout_s": str(timeout_s)}
        found: dict[str, Any] = self._checked(self._client.get(path, params=parameters, timeout=timeout_s + 5))
        return found

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever JSON the path gives
        return self._checked(self._client.request(method, path, json=body))

    def _checked(self, response: httpx.Response) -> Any:  # noqa: ANN401 - as `_ask`
        if response.is_error:
            said = f"{response.request.method} {response.request.url}: {response.status_code} {response.text.strip()[:500]}"
            raise httpx.HTTPStatusError(said, request=response.request, response=response)
        return response.json() if response.content else None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class DatasetApiHandle(StandInHandle):
    """The stand-in Dataset API; also speaks to it as the dimension extractor and the import reporter do."""

    def add_instance(
        self,
        instance_id: str,
        job_id: str | None = None,
        *,
        total: int | None = None,
        state: str = "submitted",
        inserted: int | None = None,
        tasks: Mapping[str, Any] | None = None,
    ) -> None:
        """Store an instance. `total` None: the dimension extractor has not spoken; `tasks` as in `sandbox.instances`."""
        links = {"dataset": {"id": "sandbox", "href": f"{self.url}/datasets/sandbox"}}
        if job_id is not None:
            links["job"] = {"id": job_id, "href": f"/jobs/{job_id}"}
        stored: dict[str, Any] = {"id": instance_id, "state": state, "links": links}
        optional = {"total_observations": total, "total_inserted_observations": inserted, "import_tasks": tasks}
        self.store({"instances": [stored | {name: value for name, value in optional.items() if value is not None}]})

    def set_total(self, instance_id: str, total: int) -> None:
        """As the dimension extractor: the number of rows of the file is known now."""
        self._ask("PUT", self._path(instance_id), {"headers": ["V4_0", "time", "geography"], "total_observations": total})

    def set_state(self, instance_id: str, state: str) -> None:
        """As the import reporter (`failed`) or an editor (states past `completed`)."""
        self._ask("PUT", self._path(instance_id), {"state": state})

    def insert(self, instance_id: str, observations: int) -> None:
        """As another tracker would: count so many."""
        self._ask("PUT", f"{self._path(instance_id)}/inserted_observations/{observations}")

    def finish_task(self, instance_id: str, kind: str, dimension: str) -> None:
        """As the tracker of hierarchies and search indexes: one of `kind` (see `sandbox.instances`) is built. Today's API only."""
        self._ask("PUT", f"{self._path(instance_id)}/import_tasks", {kind: [{"dimension_name": dimension, "state": "completed"}]})

    def get(self, instance_id: str) -> dict[str, Any]:
        """The instance as the API shows it."""
        instance: dict[str, Any] = self._ask("GET", self._path(instance_id))
        return instance

    def counts(self) -> dict[str, int]:
        """Observations inserted by instance id."""
        counts: dict[str, int] = self._ask("GET", "/sandbox/counts")
        return counts

    @staticmethod
    def _path(instance_id: str) -> str:
        return f"/instances/{quote(instance_id, safe='')}"


class ImportApiHandle(StandInHandle):
    """The stand-in Import API."""

    def add_job(self, job_id: str, instance_ids: Iterable[str], *, state: str = "submitted") -> None:
        """Store a job that names these instances; they are not created by this."""
        links = {"instances": [{"id": each, "href": f"/instances/{each}"} for each in instance_ids]}
        links |= {"self": {"id": "", "href": f"/jobs/{job_id}"}}  # type: ignore[dict-item]
        self.store({"jobs": [{"id": job_id, "recipe": "sandbox", "state": state, "links": links}]})

    def get(self, job_id: str) -> dict[str, Any]:
        """The job as the API shows it."""
        job: dict[str, Any] = self._ask("GET", f"/jobs/{quote(job_id, safe='')}")
        return job
