"""
A stand-in: one API behind its faults, with its journal and the control surface that tests and people use.

The control surface (JSON in and out; never subject to faults, auth or the journal):

    POST   /sandbox/faults         one fault or a list of them (see `sandbox.faults`) → 201 {"ids": [1, …]}; 400 when wrong
    GET    /sandbox/faults         {"faults": [{…, "id": 1, "hits": 3}, …]}
    DELETE /sandbox/faults         all off, all held calls go on → 204
    DELETE /sandbox/faults/{id}    one off, what it holds goes on → 204; 404
    POST   /sandbox/hold           short for a `hold` fault; body as a fault without "do", or none → 201 {"ids": [1]}
    POST   /sandbox/release        all held calls go on and holding ends; body {"count": n}: the n longest-waiting go on
                                   and holding stays → 200 {"released": n}
    GET    /sandbox/held           {"held": [{"seq", "method", "path", "when", "fault"}, …]}; with ?at_least=1&timeout_s=5
                                   waits until so many are held, 504 (same body) when they are not
    GET    /sandbox/calls          {"total": n, "calls": [{"seq", "at", "took_s", "method", "path", "query", "headers", "body",
                                   "status" (null: cut), "applied"}, …]} in the order they ended; filters ?since=seq&method=PUT
                                   &path=regex&applied=true|false&limit=n (the last n); ?at_least=&timeout_s= wait as above
    DELETE /sandbox/calls          forget them (sequence numbers go on) → 204
    GET    /sandbox/counts         {instance id: observations inserted}; {} at the Import API
    GET    /sandbox/states         {instance or job id: state}
    GET    /sandbox/stats          {"generation", "calls", "applied", "cut", "answers": {"PUT 200": n, …}, "held",
                                   "faults_hit", "journal"}
    GET    /sandbox/state          everything the API stores, in the form of the seed file
    POST   /sandbox/state          add or replace from that form → 204
    DELETE /sandbox/state          forget everything stored → 204
    POST   /sandbox/outage         {"seconds": s}: open connections are cut and new ones refused for so long → 202
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import httpx
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request as ControlRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sandbox.faults import Fault, Faults, Journal, Reset, held_to_json
from sandbox.answers import Answer, ConnectionCut, Request

_POLL_S = 0.01
_FAULTS = TypeAdapter(list[Fault])


class Api(Protocol):
    """One of the two APIs: answers calls, and shows and takes what it stores."""

    generation: str

    async def answer(self, request: Request) -> Answer:
        """Apply the call and answer it. Raises ConnectionCut where the original closes the connection."""
        ...

    def counts(self) -> dict[str, int]:
        """Observations inserted by instance id."""
        ...

    def states(self) -> dict[str, str]:
        """State by id."""
        ...

    def dump(self) -> dict[str, Any]:
        """Everything stored, as JSON."""
        ...

    def load(self, stored: dict[str, Any]) -> None:
        """Add or replace what `dump` gave. Raises ValueError, naming what is wrong."""
        ...

    def clear(self) -> None:
        """Forget everything stored."""
        ...


class StandIn:
    """
    The ASGI application of one stand-in.

    `outage` is set by the server: it cuts all connections and refuses new ones for a number of seconds.
    """

    def __init__(self, api: Api, *, journal_size: int = 20_000, random_seed: int | None = None) -> None:
        self.api = api
        self.faults = Faults(random_seed)
        self.journal = Journal(journal_size)
        self.outage: Callable[[float], None] | None = None
        self._control = Starlette(routes=_routes(self))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/sandbox/"):
            await self._serve(scope, receive, send)
        else:
            await self._control(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = time.time()
        body = await _body(receive)
        if body is None:
            return
        request = Request(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), scope["headers"], body)
        applied = False
        try:
            answer = await self.faults.meet(request, "before")
            if answer is None:
                answer = await self.api.answer(request)
                applied = answer.applied
                answer = await self.faults.meet(request, "after") or answer
        except ConnectionCut as cut:
            self.journal.note(request, arrived, None, applied=applied)
            await _cut(scope, receive, reset=isinstance(cut, Reset))
            return
        self.journal.note(request, arrived, answer.status, applied=applied)
        headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when the caller went away before its end."""
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _cut(scope: Scope, receive: Receive, *, reset: bool) -> None:
    """
    Close the transport without a byte of an answer.

    Without a socket (httpx's ASGITransport) the caller is given the error that httpx makes of such a close.
    """
    cut = scope.get("state", {}).get("cut")
    if cut is None:
        if reset:
            raise httpx.ReadError("connection reset")
        raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
    cut(reset)
    while (await receive())["type"] != "http.disconnect":
        pass


def _routes(stand_in: StandIn) -> list[Route]:
    """The control surface described at the top."""
    api, faults, journal = stand_in.api, stand_in.faults, stand_in.journal

    async def make_faults(request: ControlRequest) -> Response:
        value = await _json(request)
        return _switch_on(faults, value if isinstance(value, list) else [value])

    async def list_faults(_: ControlRequest) -> Response:
        return JSONResponse({"faults": [fault.model_dump(mode="json") for fault in faults.active]})

    async def clear_faults(_: ControlRequest) -> Response:
        faults.clear()
        return Response(status_code=204)

    async def remove_fault(request: ControlRequest) -> Response:
        return Response(status_code=204 if faults.remove(request.path_params["id"]) else 404)

    async def hold(request: ControlRequest) -> Response:
        return _switch_on(faults, [{**(await _json(request)), "do": "hold"}])

    async def release(request: ControlRequest) -> Response:
        return JSONResponse({"released": faults.release((await _json(request)).get("count"))})

    async def held(request: ControlRequest) -> Response:
        enough = await _wait(request, lambda: len(faults.held))
        return JSONResponse({"held": [held_to_json(call) for call in faults.held]}, 200 if enough else 504)

    async def calls(request: ControlRequest) -> Response:
        query = request.query_params
        applied = {"true": True, "false": False}.get(query.get("applied", ""))
        since, limit = int(query.get("since", 0)), int(query.get("limit", 1_000_000))

        def found() -> list[Any]:
            return journal.find(since=since, method=query.get("method"), path=query.get("path", ""), applied=applied)

        enough = await _wait(request, lambda: len(found()))
        last = found()[-limit:] if limit else []
        return JSONResponse({"total": journal.total, "calls": [call.to_json() for call in last]}, 200 if enough else 504)

    async def forget_calls(_: ControlRequest) -> Response:
        journal.clear()
        return Response(status_code=204)

    async def counts(_: ControlRequest) -> Response:
        return JSONResponse(api.counts())

    async def states(_: ControlRequest) -> Response:
        return JSONResponse(api.states())

    async def stats(_: ControlRequest) -> Response:
        return JSONResponse(
            {
                "generation": api.generation,
                "calls": journal.total,
                "applied": journal.applied,
                "cut": journal.cut,
                "answers": dict(journal.by_answer),
                "held": len(faults.held),
                "faults_hit": faults.hits,
                "journal": len(journal.find()),
            },
        )

    async def dump(_: ControlRequest) -> Response:
        return JSONResponse(api.dump())

    async def load(request: ControlRequest) -> Response:
        api.load(await _json(request))
        return Response(status_code=204)

    async def forget_state(_: ControlRequest) -> Response:
        api.clear()
        return Response(status_code=204)

    async def outage(request: ControlRequest) -> Response:
        if stand_in.outage is None:
            return JSONResponse({"error": "no server socket to close"}, 501)
        stand_in.outage(float((await _json(request))["seconds"]))
        return Response(status_code=202)

    def route(method: str, path: str, endpoint: Callable[[ControlRequest], Awaitable[Response]]) -> Route:
        async def checked(request: ControlRequest) -> Response:
            try:
                return await endpoint(request)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)

        return Route(f"/sandbox/{path}", checked, methods=[method])

    return [
        route("POST", "faults", make_faults),
        route("GET", "faults", list_faults),
        route("DELETE", "faults", clear_faults),
        route("DELETE", "faults/{id:int}", remove_fault),
        route("POST", "hold", hold),
        route("POST", "release", release),
        route("GET", "held", held),
        route("GET", "calls", calls),
        route("DELETE", "calls", forget_calls),
        route("GET", "counts", counts),
        route("GET", "states", states),
        route("GET", "stats", stats),
        route("GET", "state", dump),
        route("POST", "state", load),
        route("DELETE", "state", forget_state),
        route("POST", "outage", outage),
    ]


async def _json(request: ControlRequest) -> Any:  # noqa: ANN401 - JSON is any shape
    """The body, {} when there is none."""
    body = await request.body()
    return json.loads(body) if body.strip() else {}


def _switch_on(faults: Faults, values: list[Any]) -> Response:
    """Add all the faults, or none where one of them is wrong."""
    try:
        made = _FAULTS.validate_python(values)
    except ValidationError as error:
        return JSONResponse({"error": error.errors(include_url=False, include_context=False, include_input=False)}, 400)
    return JSONResponse({"ids": [faults.add(fault).id for fault in made]}, 201)


async def _wait(request: ControlRequest, count: Callable[[], int]) -> bool:
    """Wait for the query's `at_least`, up to its `timeout_s` (default 5); True when there are so many."""
    at_least = int(request.query_params.get("at_least", 0))
    deadline = asyncio.get_running_loop().time() + float(request.query_params.get("timeout_s", 5))
    while count() < at_least:
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True
