"""
A stand-in for the Import API that owns the import jobs, in the generation of 2017 or of today.

    python -m sandbox.import_api --port 21800 [--generation 2017|today] [--token T] [--seed-file jobs.json]
                                 [--dataset-api http://127.0.0.1:22000] [--dataset-api-token T]

    GET  /jobs          POST /jobs          GET  /healthcheck (2017), /health (today)
    GET  /jobs/{id}     PUT  /jobs/{id}     PUT  /jobs/{id}/files

and the control surface of `sandbox.control`. POST /jobs takes, besides the original's `recipe`, `files` and `state`,
an `id` and the instances to make: `"instance_ids": ["i-1", "i-2"]` (default: one, of a new id), as there is no recipe to
say so. They are created at the Dataset API, and set to `submitted` there when the job is, if its address is given;
otherwise the job only names them. No Kafka message is sent: that is for `sandbox.publishers`.
The seed file is {"jobs": [...]} with jobs as GET /jobs/{id} shows them.
"""

import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx

from sandbox.answers import Answer, BadJson, BadPaging, Request, bearer_token, empty, json_answer, no_such_page, text, wrong_method
from sandbox.control import StandIn
from sandbox.serving import Generation, Options, option_parser, serve

STATES = frozenset({"created", "submitted", "completed", "failed"})
"""What today's API takes as a state; "" is taken too and changes nothing. `error` is refused."""

Handler = Callable[[Request], Awaitable[Answer]]
Handlers = dict[str, Handler]

DATASET_ID = "sandbox-dataset"


class DatasetApiFailed(Exception):
    """The Dataset API did not do what a job needs."""


class DatasetInstances:
    """What the Import API asks of the Dataset API, with both generations' tokens."""

    def __init__(self, base_url: str, token: str | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.base_url = base_url
        headers = {"Internal-token": token, "Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=10, transport=transport)

    async def create(self, instance_id: str, job: dict[str, str]) -> None:
        """Make an instance of the job. Raises DatasetApiFailed."""
        dataset = {"id": DATASET_ID, "href": f"{self.base_url}/datasets/{DATASET_ID}"}
        await self._call("POST", "/instances", {"id": instance_id, "links": {"job": job, "dataset": dataset}, "dimensions": []}, 201)

    async def submit(self, instance_id: str) -> None:
        """Set an instance to `submitted`. Raises DatasetApiFailed."""
        await self._call("PUT", f"/instances/{quote(instance_id, safe='')}", {"state": "submitted"}, 200)

    async def _call(self, method: str, path: str, body: dict[str, Any], expected: int) -> None:
        try:
            response = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise DatasetApiFailed(str(error)) from error
        if response.status_code != expected:
            raise DatasetApiFailed(f"{method} {path}: {response.status_code} {response.text.strip()}")


class ImportApi:
    """The stored jobs and the rules of one generation."""

    def __init__(self, generation: Generation = "today", token: str | None = None, instances: DatasetInstances | None = None) -> None:
        self.generation = generation
        self.jobs: dict[str, dict[str, Any]] = {}
        self._token = token
        self._instances = instances
        self._today = generation == "today"
        self._started = time.time()

    async def answer(self, request: Request) -> Answer:
        """Apply the call and answer it."""
        match request.path.split("/")[1:]:
            case ["jobs"]:
                handlers: Handlers = {"GET": self._list, "POST": self._create}
            case ["jobs", job_id] if job_id:
                handlers = {"GET": partial(self._get, job_id), "PUT": partial(self._update, job_id)}
            case ["jobs", job_id, "files"] if job_id:
                handlers = {"PUT": partial(self._add_file, job_id)}
            case ["health"] if self._today:
                return json_answer(200, {"status": "OK", "uptime": int((time.time() - self._started) * 1000), "checks": []})
            case ["healthcheck"] if not self._today:
                return empty(200)
            case _:
                return no_such_page()
        handler = handlers.get(request.method)
        return wrong_method() if handler is None else await self._authorised(handler, request)

    async def _authorised(self, handler: Handler, request: Request) -> Answer:
        """Today every call needs the token; 2017 reads one and ignores what it finds."""
        if self._today and self._token is not None and bearer_token(request) != self._token:
            return empty(401)
        try:
            return await handler(request)
        except BadJson:
            return text(400, "failed to parse json body" if self._today else "Failed to parse json body")

    def counts(self) -> dict[str, int]:
        """None: jobs have no observations."""
        return {}

    def states(self) -> dict[str, str]:
        """State by job id."""
        return {job_id: job.get("state", "") for job_id, job in self.jobs.items()}

    def dump(self) -> dict[str, Any]:
        """Everything stored, in the form of the seed file."""
        return {"jobs": list(self.jobs.values())}

    def load(self, stored: dict[str, Any]) -> None:
        """Add or replace jobs. Raises ValueError, naming what is wrong."""
        for job in stored["jobs"]:
            if not isinstance(job.get("id"), str) or not job["id"]:
                raise ValueError(f"job id {job.get('id')!r}: expected a string")
            self.jobs[job["id"]] = self._new(job["id"]) | job

    def clear(self, prefix: str = "") -> None:
        """Forget the jobs whose id begins with `prefix`."""
        for job_id in [each for each in self.jobs if each.startswith(prefix)]:
            del self.jobs[job_id]

    def _new(self, job_id: str) -> dict[str, Any]:
        links = {"instances": [], "self": {"id": "", "href": f"/jobs/{job_id}"}}
        job = {"id": job_id, "recipe": "", "state": "created", "files": [], "links": links, "last_updated": _now()}
        return job | {"processed_instances": []} if self._today else job

    def _unknown(self) -> Answer:
        return text(404, "job not found" if self._today else "resource not found")

    async def _list(self, request: Request) -> Answer:
        """2017: a bare array, unpaged. Today: a page, and 404 where there is no job of the states, known or not."""
        given = request.parameter("state")
        states = given.split(",") if given else []
        found = [job for job in self.jobs.values() if not states or job.get("state") in states]
        if not self._today:
            return json_answer(200, found)
        try:
            offset, limit = request.paging()
        except BadPaging:
            return text(400, "invalid query parameter")
        if not found:
            return self._unknown()
        page = found[offset : offset + limit]
        numbers = {"count": len(page), "offset": offset, "limit": limit, "total_count": len(found)}
        return json_answer(200, {**numbers, "items": page or None})

    async def _get(self, job_id: str, _: Request) -> Answer:
        job = self.jobs.get(job_id)
        return self._unknown() if job is None else json_answer(200, job)

    async def _create(self, request: Request) -> Answer:
        """The job is saved before its instances are made, so a failure (500) leaves it with those made so far."""
        given = request.json_object()
        if not isinstance(given.get("recipe"), str) or not given["recipe"]:
            return text(400, "missing properties to create import job")
        if self._today and given.get("state", "") not in STATES | {""}:
            return text(400, "invalid state")
        job = self._new(given.get("id") or str(uuid.uuid4()))
        job |= {"recipe": given["recipe"], "state": given.get("state") or "created", "files": given.get("files") or []}
        self.jobs[job["id"]] = job
        base_url = self._instances.base_url if self._instances else ""
        for instance_id in given.get("instance_ids") or [str(uuid.uuid4())]:
            if self._instances:
                try:
                    await self._instances.create(instance_id, {"id": job["id"], "href": job["links"]["self"]["href"]})
                except DatasetApiFailed:
                    return self._failed(applied=True)
            job["links"]["instances"].append({"id": instance_id, "href": f"{base_url}/instances/{instance_id}"})
            if self._today:
                job["processed_instances"].append({"id": instance_id, "required_count": 0})
        return json_answer(201, job, applied=True)

    async def _update(self, job_id: str, request: Request) -> Answer:
        """
        Set the job's fields; any known state follows any other.

        `submitted` also submits the instances, one after another. Where the Dataset API refuses one, the answer is 500
        although the job is `submitted`.
        """
        change = request.json_object()
        state = change.get("state") or ""
        if not isinstance(state, str):
            raise BadJson("json: cannot unmarshal the value into Go struct field Job.state of type string")
        if self._today and state not in STATES | {""}:
            return text(400, "invalid state")
        job = self._find_or_make(job_id)
        if job is None:
            return self._unknown()
        job |= {name: change[name] for name in ("recipe", "files", "links") if change.get(name)} | {"last_updated": _now()}
        job["state"] = state or job.get("state", "")
        if state == "submitted" and self._instances:
            try:
                for link in job["links"]["instances"]:
                    await self._instances.submit(link["id"])
            except DatasetApiFailed:
                return self._failed(applied=True)
        return empty(200, applied=True)

    async def _add_file(self, job_id: str, request: Request) -> Answer:
        given = request.json_object()
        if not given.get("alias_name") or not given.get("url"):
            return text(400, "invalid file: alias_name and url are needed")
        job = self._find_or_make(job_id)
        if job is None:
            return self._unknown()
        job["files"].append({"alias_name": given["alias_name"], "url": given["url"]})
        job["last_updated"] = _now()
        return empty(200, applied=True)

    def _find_or_make(self, job_id: str) -> dict[str, Any] | None:
        """The job; in 2017 a stray one is made of an unknown id, today there is None."""
        if self._today:
            return self.jobs.get(job_id)
        return self.jobs.setdefault(job_id, self._new(job_id))

    def _failed(self, *, applied: bool) -> Answer:
        return text(500, "internal error" if self._today else "Failed to call the dataset api", applied=applied)


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class ImportOptions(Options):
    """The options of both stand-ins and the address of the other one."""

    dataset_api: str | None
    dataset_api_token: str | None


def main() -> None:
    """Serve from the command line."""
    parser = option_parser("A stand-in for the Import API.")
    parser.add_argument("--dataset-api", help="base URL where instances are created and submitted (default: nowhere)")
    parser.add_argument("--dataset-api-token", help="token for the Dataset API")
    options = parser.parse_args(namespace=ImportOptions())
    instances = DatasetInstances(options.dataset_api.rstrip("/"), options.dataset_api_token) if options.dataset_api else None
    api = ImportApi(options.generation, options.token, instances)
    serve(StandIn(api, journal_size=options.journal, random_seed=options.random_seed), options)


if __name__ == "__main__":
    main()
