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
    DELETE /sandbox/state          forget everything stored; with ?prefix=… what has such an id → 204
    POST   /sandbox/outage         {"seconds": s}: open connections are cut and new ones refused for so long → 202
"""

import asyncio
import json
import re
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

from sandbox.answers import Answer, ConnectionCut, Request
from sandbox.faults import Call, Fault, Faults, Journal, Reset

_POLL_S = 0.01
_FAULTS = TypeAdapter(list[Fault])


class Api(Protocol):
    """One of the two APIs: answers calls, and shows and takes what it stores."""

    @property
    def generation(self) -> str:
        """`2017` or `today`."""
        ...

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

    def clear(self, prefix: str = "") -> None:
        """Forget everything stored whose id begins with `prefix`."""
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
        self._control = Starlette(routes=ControlSurface(self).routes())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call of the API, or one of the control surface."""
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


class ControlSurface:
    """The routes described at the top."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self._api, self._faults, self._journal = stand_in.api, stand_in.faults, stand_in.journal

    def routes(self) -> list[Route]:
        """All of them; a wrong value in a call is answered 400 with the reason."""
        return [
            _route("POST", "faults", self._make_faults),
            _route("GET", "faults", self._list_faults),
            _route("DELETE", "faults", self._clear_faults),
            _route("DELETE", "faults/{id:int}", self._remove_fault),
            _route("POST", "hold", self._hold),
            _route("POST", "release", self._release),
            _route("GET", "held", self._held),
            _route("GET", "calls", self._calls),
            _route("DELETE", "calls", self._forget_calls),
            _route("GET", "counts", self._counts),
            _route("GET", "states", self._states),
            _route("GET", "stats", self._stats),
            _route("GET", "state", self._dump),
            _route("POST", "state", self._load),
            _route("DELETE", "state", self._forget_state),
            _route("POST", "outage", self._outage),
        ]

    async def _make_faults(self, request: ControlRequest) -> Response:
        value = await _json(request)
        return self._switch_on(value if isinstance(value, list) else [value])

    async def _list_faults(self, _: ControlRequest) -> Response:
        return JSONResponse({"faults": [fault.model_dump(mode="json") for fault in self._faults.active]})

    async def _clear_faults(self, _: ControlRequest) -> Response:
        self._faults.clear()
        return Response(status_code=204)

    async def _remove_fault(self, request: ControlRequest) -> Response:
        return Response(status_code=204 if self._faults.remove(request.path_params["id"]) else 404)

    async def _hold(self, request: ControlRequest) -> Response:
        return self._switch_on([{**(await _json(request)), "do": "hold"}])

    async def _release(self, request: ControlRequest) -> Response:
        return JSONResponse({"released": self._faults.release((await _json(request)).get("count"))})

    async def _held(self, request: ControlRequest) -> Response:
        enough = await _wait(request, lambda: len(self._faults.held))
        return JSONResponse({"held": [held.to_json() for held in self._faults.held]}, 200 if enough else 504)

    async def _calls(self, request: ControlRequest) -> Response:
        query = request.query_params
        applied = {"true": True, "false": False}.get(query.get("applied", ""))
        since, limit = int(query.get("since", 0)), int(query.get("limit", 1_000_000))

        def found() -> list[Call]:
            return self._journal.find(since=since, method=query.get("method"), path=query.get("path", ""), applied=applied)

        enough = await _wait(request, lambda: len(found()))
        last = found()[-limit:] if limit else []
        return JSONResponse({"total": self._journal.total, "calls": [call.to_json() for call in last]}, 200 if enough else 504)

    async def _forget_calls(self, _: ControlRequest) -> Response:
        self._journal.clear()
        return Response(status_code=204)

    async def _counts(self, _: ControlRequest) -> Response:
        return JSONResponse(self._api.counts())

    async def _states(self, _: ControlRequest) -> Response:
        return JSONResponse(self._api.states())

    async def _stats(self, _: ControlRequest) -> Response:
        journal = self._journal
        return JSONResponse(
            {
                "generation": self._api.generation,
                "calls": journal.total,
                "applied": journal.applied,
                "cut": journal.cut,
                "answers": dict(journal.by_answer),
                "held": len(self._faults.held),
                "faults_hit": self._faults.hits,
                "journal": len(journal),
            },
        )

    async def _dump(self, _: ControlRequest) -> Response:
        return JSONResponse(self._api.dump())

    async def _load(self, request: ControlRequest) -> Response:
        self._api.load(await _json(request))
        return Response(status_code=204)

    async def _forget_state(self, request: ControlRequest) -> Response:
        self._api.clear(request.query_params.get("prefix", ""))
        return Response(status_code=204)

    async def _outage(self, request: ControlRequest) -> Response:
        if self._stand_in.outage is None:
            return JSONResponse({"error": "no server socket to close"}, 501)
        self._stand_in.outage(float((await _json(request))["seconds"]))
        return Response(status_code=202)

    def _switch_on(self, values: list[Any]) -> Response:
        """Add all the faults, or none where one of them is wrong."""
        try:
            made = _FAULTS.validate_python(values)
        except ValidationError as error:
            return JSONResponse({"error": error.errors(include_url=False, include_context=False, include_input=False)}, 400)
        return JSONResponse({"ids": [self._faults.add(fault).id for fault in made]}, 201)


def _route(method: str, path: str, endpoint: Callable[[ControlRequest], Awaitable[Response]]) -> Route:
    async def checked(request: ControlRequest) -> Response:
        try:
            return await endpoint(request)
        except (ValueError, KeyError, TypeError, AttributeError, re.error) as error:
            return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)

    return Route(f"/sandbox/{path}", checked, methods=[method])


async def _json(request: ControlRequest) -> Any:  # noqa: ANN401 - JSON is any shape
    """Read the body, {} when there is none."""
    body = await request.body()
    return json.loads(body) if body.strip() else {}


async def _wait(request: ControlRequest, count: Callable[[], int]) -> bool:
    """Wait for the query's `at_least`, up to its `timeout_s` (default 5); True when there are so many."""
    at_least = int(request.query_params.get("at_least", 0))
    deadline = asyncio.get_running_loop().time() + float(request.query_params.get("timeout_s", 5))
    while count() < at_least:
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True
