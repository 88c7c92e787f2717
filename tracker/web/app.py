"""
The web application: health, readiness, instances and jobs.

    GET /healthcheck, /health    the health of the whole system, in the original's form: 200 OK, 429 WARNING, 500 CRITICAL
    GET /livez                   this process alone: 200
    GET /readyz                  whether this process can answer the rest: 200 or 503
    GET /figures                 the tracker in numbers
    GET /instances, /jobs        lists: ?state=…&limit=100&offset=0
    GET /instances/{id}, /jobs/{id}
    GET /dead-letters            the newest: ?limit=100

Health is answered from the last look at each part, so no neighbour can make it slow. The rest reads Redis when asked.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from html import escape

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tracker.errors import BadInput, LedgerUnavailable
from tracker.findings import Finding
from tracker.health import HTTP_STATUS, REDIS, ROUND_S, Board
from tracker.overview import Overview
from tracker.views import as_json
from tracker.web.answers import Json, failure, known_only, number_of, page_of
from tracker.web.requests import RequestLog

log = structlog.get_logger(__name__)

Examine = Callable[[Callable[[Mapping[str, Finding]], object]], Awaitable[None]]
"""Looks at every part once and records what it finds."""

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
"""The original's health endpoint answers to any method."""


class Web:
    """What the routes share: the board of health, the overview, and the task that keeps looking."""

    def __init__(self, overview: Overview, board: Board, examine: Examine, beat: Callable[[], None] | None = None) -> None:
        """`beat` says that this process is alive; it blocks, and may raise LedgerUnavailable."""
        self.overview = overview
        self.board = board
        self._examine = examine
        self._beat = beat

    def app(self) -> Starlette:
        """Build the application."""
        routes = [
            *(Route(path, self.health, methods=METHODS) for path in ("/healthcheck", "/health")),
            Route("/livez", self.live),
            Route("/readyz", self.ready),
            Route("/figures", self.figures),
            Route("/instances", self.instances),
            Route("/instances/{id:path}", self.instance),
            Route("/jobs", self.jobs),
            Route("/jobs/{id:path}", self.job),
            Route("/dead-letters", self.dead_letters),
            Route("/", self.front),
        ]
        app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _http_error, BadInput: _bad_input, LedgerUnavailable: _redis_away},
        )
        app.add_middleware(RequestLog)
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(self._keep_looking(), name="health")
        try:
            yield
        finally:
            looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await looking

    async def _keep_looking(self) -> None:
        while True:
            if self._beat:
                with contextlib.suppress(LedgerUnavailable):  # health says it already
                    await asyncio.to_thread(self._beat)
            await self._examine(self._record)
            await asyncio.sleep(ROUND_S)

    def _record(self, found: Mapping[str, Finding]) -> None:
        """Note what was found, and log what is another than before."""
        for name in self.board.record(found):
            finding = found[name]
            said = log.info if finding.status == "OK" else log.warning
            said("health_changed", check=name, status=finding.status, message=finding.message)

    # -- routes. Those that read Redis are no coroutines: Starlette runs them in a thread. ---------------------------

    async def health(self, _: Request) -> Response:
        """Answer with the health of the whole system."""
        answer = self.board.as_json()
        return Json(answer, HTTP_STATUS[answer["status"]])

    async def live(self, _: Request) -> Response:
        """Answer that this process runs."""
        return Json({"status": "OK"})

    async def ready(self, _: Request) -> Response:
        """Answer whether every check has run once and Redis answers."""
        finding = self.board.checks[REDIS].finding
        if not self.board.started or finding is None:
            return failure(503, "not every check has run yet")
        return failure(503, finding.message) if finding.status == "CRITICAL" else Json({"status": "OK"})

    def figures(self, request: Request) -> Response:
        """Answer with the tracker in numbers."""
        known_only(request)
        return Json(as_json(self.overview.figures()))

    def instances(self, request: Request) -> Response:
        """Answer with one page of instances."""
        known_only(request, "state", "limit", "offset")
        limit, offset = page_of(request)
        return Json(as_json(self.overview.instances(request.query_params.get("state", "all"), limit=limit, offset=offset)))

    def instance(self, request: Request) -> Response:
        """Answer with one instance."""
        known_only(request)
        view = self.overview.instance(request.path_params["id"])
        return Json(as_json(view)) if view else failure(404, f"no such instance is known: {request.path_params['id']}")

    def jobs(self, request: Request) -> Response:
        """Answer with one page of jobs."""
        known_only(request, "state", "limit", "offset")
        limit, offset = page_of(request)
        return Json(as_json(self.overview.jobs(request.query_params.get("state", "all"), limit=limit, offset=offset)))

    def job(self, request: Request) -> Response:
        """Answer with one job."""
        known_only(request)
        view = self.overview.job(request.path_params["id"])
        return Json(as_json(view)) if view else failure(404, f"no such job is known: {request.path_params['id']}")

    def dead_letters(self, request: Request) -> Response:
        """Answer with the newest dead letters."""
        known_only(request, "limit")
        return Json({"items": [as_json(letter) for letter in self.overview.dead_letters(number_of(request, "limit", 100, 1, 1000))]})

    async def front(self, _: Request) -> Response:
        """Answer with a page of links."""
        paths = ("/health", "/livez", "/readyz", "/figures", "/instances", "/jobs", "/dead-letters")
        links = "".join(f'<li><a href="{path}">{escape(path)}</a></li>' for path in paths)
        status = escape(self.board.status)
        head = f"<!doctype html><html lang=en><title>Import tracker: {status}</title>"
        return HTMLResponse(f"{head}<h1>Import tracker</h1><p>{status}</p><ul>{links}</ul></html>")


def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- it is registered for no other
    texts = {404: "no such page", 405: "this page is only read: use GET"}
    answer = failure(error.status_code, texts.get(error.status_code, error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _bad_input(_: Request, error: Exception) -> Response:
    return failure(400, str(error))


def _redis_away(_: Request, error: Exception) -> Response:
    return failure(503, str(error))
