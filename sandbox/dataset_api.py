"""
A stand-in for the Dataset API that owns the import instances, in the generation of 2017 or of today.

    python -m sandbox.dataset_api --port 22000 [--generation 2017|today] [--token T] [--seed-file instances.json]

The routes that an import uses (health without a token):

    GET  /instances                                    POST /instances
    GET  /instances/{id}                               PUT  /instances/{id}
    PUT  /instances/{id}/inserted_observations/{n}     PUT  /instances/{id}/import_tasks   (today)
    GET  /healthcheck (2017)                           GET  /health (today)

and the control surface of `sandbox.control`. POST /instances takes an `id` besides what the original takes.
The seed file is {"instances": [...]} with instances as in `sandbox.instances`.

Only what may be asked of an import is here: no datasets, editions, versions or events, and a state is stored
without the editions and versions that the original would create beside it.
"""

import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

from sandbox.answers import (
    Answer,
    BadJson,
    BadPaging,
    ConnectionCut,
    Request,
    bearer_token,
    empty,
    json_answer,
    no_such_page,
    text,
    wrong_method,
)
from sandbox.control import StandIn
from sandbox.instances import KEPT, TASK_KINDS, InstanceStore, StoredInstance
from sandbox.serving import Generation, Options, option_parser, serve

STATES = frozenset({"created", "submitted", "completed", "edition-confirmed", "associated", "published", "failed"})
"""What today's API knows as a state."""

_NEEDS_2017 = {"edition-confirmed": "completed", "associated": "edition-confirmed", "published": "associated"}
_NEEDS_TODAY = {"submitted": "created", "completed": "submitted"} | _NEEDS_2017

_FIXED_LINKS = ("dataset", "dimensions", "edition", "job", "version", "self")
_INT64 = range(-(2**63), 2**63)


class Refusal(Exception):
    """The call ends here with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class DatasetApi:
    """The stored instances and the rules of one generation."""

    def __init__(self, generation: Generation = "today", token: str | None = None) -> None:
        self.generation = generation
        self.store = InstanceStore()
        self._token = token
        self._today = generation == "today"
        self._started = time.time()

    async def answer(self, request: Request) -> Answer:
        """Apply the call and answer it. Raises ConnectionCut where the original closes the connection."""
        try:
            return self._route(request)
        except Refusal as refusal:
            return refusal.answer

    def counts(self) -> dict[str, int]:
        """Observations inserted by instance id."""
        return {instance.id: instance.inserted or 0 for instance in self.store}

    def states(self) -> dict[str, str]:
        """State by instance id."""
        return {instance.id: instance.state for instance in self.store}

    def dump(self) -> dict[str, Any]:
        """Everything stored, in the form of the seed file."""
        return {"instances": [instance.dump() for instance in self.store]}

    def load(self, stored: dict[str, Any]) -> None:
        """Add or replace instances. Raises ValueError, naming what is wrong."""
        for given in stored["instances"]:
            self.store.put(given)

    def clear(self, prefix: str = "") -> None:
        """Forget the instances whose id begins with `prefix`."""
        self.store.clear(prefix)

    def _route(self, request: Request) -> Answer:
        match request.path.split("/")[1:]:
            case ["instances", instance_id, "inserted_observations", count] if instance_id and count:
                handlers = {"PUT": lambda: self._add_inserted(request, instance_id, count)}
            case ["instances", instance_id] if instance_id:
                handlers = {"GET": lambda: self._get(request, instance_id), "PUT": lambda: self._update(request, instance_id)}
            case ["instances", instance_id, "import_tasks"] if instance_id and self._today:
                handlers = {"PUT": lambda: self._update_tasks(request, instance_id)}
            case ["instances"]:
                handlers = {"GET": lambda: self._list(request), "POST": lambda: self._create(request)}
            case ["health"] if self._today:
                return json_answer(200, {"status": "OK", "uptime": int((time.time() - self._started) * 1000), "checks": []})
            case ["healthcheck"] if not self._today:
                return empty(200)
            case _:
                return no_such_page()
        handler = handlers.get(request.method)
        if handler is None:
            return wrong_method()
        self._authorise(request)
        return handler()

    def _authorise(self, request: Request) -> None:
        """2017 checks writes alone and says why; today checks all, and says nothing but the status."""
        if self._token is None:
            return
        if self._today:
            token = bearer_token(request)
            if token != self._token:
                raise Refusal(empty(403 if token else 401))
        elif request.method != "GET":
            given = request.header(b"internal-token")
            if not given:
                raise Refusal(text(401, "No authentication header provided"))
            if given != self._token:
                raise Refusal(text(401, "Unauthorised access to API"))

    def _find(self, instance_id: str) -> StoredInstance:
        instance = self.store.get(instance_id)
        if instance is None:
            raise Refusal(text(404, "instance not found" if self._today else "Instance not found"))
        return instance

    def _find_matching(self, request: Request, instance_id: str) -> StoredInstance:
        """Today's look-up: an `If-Match` that is neither absent, empty nor `*` must be the unquoted ETag."""
        instance = self._find(instance_id)
        wanted = request.header(b"if-match")
        if wanted and wanted not in {"*", instance.etag}:
            raise Refusal(text(409, "instance does not match the expected eTag"))
        return instance

    def _find_writable(self, request: Request, instance_id: str) -> StoredInstance:
        """
        What today's API checks before any PUT, in its order: known, ETag, published, `links.dataset`.

        The original dereferences `links.dataset` unchecked, so that the connection closes without an answer.
        """
        instance = self._find_matching(request, instance_id)
        if instance.state == "published":
            raise Refusal(text(403, "unable to update resource as it has been published"))
        if not instance.links.get("dataset"):
            raise ConnectionCut
        return instance

    def _show(self, instance: StoredInstance) -> dict[str, Any]:
        return instance.show_today() if self._today else instance.show_2017()

    def _get(self, request: Request, instance_id: str) -> Answer:
        if not self._today:
            return json_answer(200, self._find(instance_id).show_2017())
        instance = self._find_matching(request, instance_id)
        return json_answer(200, instance.show_today(), instance.etag)

    def _list(self, request: Request) -> Answer:
        """2017: all of one exact state, unpaged. Today: of several states and datasets, newest change first, paged."""
        given = request.parameter("state")
        if not self._today:
            return json_answer(200, {"items": [instance.show_2017() for instance in self.store if not given or instance.state == given]})
        try:
            offset, limit = request.paging()
        except BadPaging:
            return text(400, "invalid query parameter")
        states = given.split(",") if given else []
        unknown = [state for state in states if state not in STATES]
        if unknown:
            return text(400, f"bad request - invalid filter state values: [{' '.join(unknown)}]")
        datasets = (request.parameter("dataset") or "").split(",")
        found = [
            instance
            for instance in self.store.newest_first()
            if (not states or instance.state in states)
            and (datasets == [""] or (instance.links.get("dataset") or {}).get("id") in datasets)
        ]
        page = [instance.show_today() for instance in found[offset : offset + limit]]
        nothing_there = limit == 0 or (bool(found) and offset >= len(found))
        numbers = {"count": len(page), "offset": offset, "limit": limit, "total_count": len(found)}
        return json_answer(200, {"items": None if nothing_there else page, **numbers})

    def _create(self, request: Request) -> Answer:
        given = self._body(request, "failed to parse json body" if self._today else "Failed to parse json body: {error}")
        job = (given.get("links") or {}).get("job") or {}
        if not (job.get("id") and job.get("href")):
            return text(400, "missing job properties" if self._today else "Missing job properties")
        if self._today and given.get("state") and given["state"] not in STATES:
            return text(400, f"bad request - invalid instance state: {given['state']}")
        given.setdefault("id", str(uuid.uuid4()))
        if self.store.get(given["id"]) is not None:
            return text(409, "instance already exists")
        try:
            instance = self.store.put(given)
        except ValueError as error:
            return text(400, str(error))
        instance.links.setdefault("self", {"href": f"/instances/{instance.id}"})
        return json_answer(201, self._show(instance), instance.etag if self._today else None, applied=True)

    def _add_inserted(self, request: Request, instance_id: str, count: str) -> Answer:
        """Both add in every state (today: but published), also 0 and negatives, and check no total."""
        instance = self._find_writable(request, instance_id) if self._today else None
        try:
            delta = int(count) if re.fullmatch(r"[+-]?[0-9]+", count) else None
        except ValueError:  # more digits than Python will parse
            delta = None
        if delta is None or delta not in _INT64:
            if self._today:
                return text(400, "inserted observation request parameter not an integer")
            why = "invalid syntax" if delta is None else "value out of range"
            return text(400, f'strconv.ParseInt: parsing "{count}": {why}')
        instance = instance or self._find(instance_id)
        instance.inserted = (instance.inserted or 0) + delta
        instance.changed(f"+{delta}")
        return empty(200, instance.etag if self._today else None, applied=True)

    def _update(self, request: Request, instance_id: str) -> Answer:
        if not self._today:
            change = self._body(request, "Failed to parse json body: {error}")
            instance = self._find(instance_id)
            needed = _NEEDS_2017.get(change.get("state") or "")
            if needed and instance.state != needed:
                return text(403, "Unable to update resource, edition not confirmed")
            self._apply(instance, change)
            return empty(200, applied=True)
        instance = self._find_writable(request, instance_id)
        change = self._body(request, "failed to parse json body")
        refused = _fixed_fields(change)
        if refused:
            return text(400, f"unable to update instance contains invalid fields: [{' '.join(refused)}]")
        state = change.get("state") or instance.state
        if state != instance.state:
            if state not in STATES:
                return text(400, f"bad request - invalid instance state: {state}")
            needed = _NEEDS_TODAY.get(state, instance.state)
            if instance.state != needed:
                return text(403, f"unable to update resource, expected resource to have a state of {needed}")
        self._apply(instance, change)
        return json_answer(200, instance.show_today(), instance.etag, applied=True)

    def _apply(self, instance: StoredInstance, change: dict[str, Any]) -> None:
        """Overwrite what is given. A count given here replaces what was counted, as in the originals."""
        instance.state = change.get("state") or instance.state
        instance.fields |= {name: change[name] for name in KEPT if change.get(name) is not None}
        if self._today:
            observations = (change.get("import_tasks") or {}).get("import_observations") or {}
            instance.inserted = observations.get("total_inserted_observations", instance.inserted)
            instance.import_state = observations.get("state") or instance.import_state
            instance.has_tasks = instance.has_tasks or bool(change.get("import_tasks"))
        else:
            instance.inserted = change.get("total_inserted_observations", instance.inserted)
            instance.links |= change.get("links") or {}
        instance.changed(str(change))

    def _update_tasks(self, request: Request, instance_id: str) -> Answer:
        """Set tasks one after another: what went before a wrong one stays set. The first problem is told."""
        instance = self._find_writable(request, instance_id)
        problems: list[str] = []
        applied = False
        for kind, task, problem in _asked_tasks(self._body(request, "{error}")):
            if problem:
                problems.append(problem)
            elif instance.set_task(kind, task):
                instance.changed(f"{kind} {task}")
                applied = True
            else:
                return text(500, "mongo: no documents in result", applied=applied)
        if problems:
            return text(400, f"bad request - {problems[0]}", applied=applied)
        return empty(200, instance.etag, applied=applied)

    def _body(self, request: Request, refusal: str) -> dict[str, Any]:
        """Read the body. `state` must be a string and the total an integer, as Go's types demand; else 400 with `refusal`."""
        try:
            given = request.json_object()
            _check_types(given)
        except BadJson as error:
            raise Refusal(text(400, refusal.format(error=error))) from None
        return given


def _check_types(given: dict[str, Any]) -> None:
    """Raise BadJson for a field of a type that Go's would not take."""
    for name, kind in {"state": str, "total_observations": int, "links": dict, "import_tasks": dict}.items():
        value = given.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise BadJson(f"json: cannot unmarshal {type(value).__name__} into Go struct field .{name}")


def _fixed_fields(change: dict[str, Any]) -> list[str]:
    """The fields that PUT /instances/{id} may not set, in today's words and order."""
    links = change.get("links") or {}
    refused = [f"instance.Links.{name.title()}" for name in _FIXED_LINKS if links.get(name) is not None]
    return refused + [f"instance.{name.title()}" for name in ("events", "version") if change.get(name)]


def _asked_tasks(given: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Yield the kind, the task and what is wrong with it (or None), in the order in which the original looks at them."""
    observations = given.get("import_observations")
    if observations is not None:
        state = observations.get("state")
        wrong = f"invalid task state value for import observations: {state}" if state != "completed" else None
        yield "import_observations", observations, wrong if state else "invalid import observation task, must include state"
    for kind, name in TASK_KINDS.items():
        for task in given.get(kind) or []:
            missing = [field for field in ("dimension_name", "state") if not task.get(field)]
            wrong = f"invalid task state value: {task.get('state')}" if task.get("state") != "completed" else None
            yield kind, task, f"missing mandatory fields: [{' '.join(missing)}]" if missing else wrong
        if given.get(kind) == []:
            yield kind, {}, f"missing {name} task"
    if all(given.get(kind) is None for kind in ("import_observations", *TASK_KINDS)):
        yield "", {}, "request body does not contain any import tasks"


def main() -> None:
    """Serve from the command line."""
    options = option_parser("A stand-in for the Dataset API.").parse_args(namespace=Options())
    api = DatasetApi(options.generation, options.token)
    serve(StandIn(api, journal_size=options.journal, random_seed=options.random_seed), options)


if __name__ == "__main__":
    main()
