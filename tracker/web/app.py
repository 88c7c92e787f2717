"""
The web application: pages for people, and health, readiness, instances and jobs as JSON.

    GET /, /job/{id}, /instance/{id}, /parked, /letters, /events, /parts    the pages (`asking` reads their paths and parameters)
    GET /live?of=…               what is new of a page, as server-sent events
    GET /static/…                the pages' style and script

    GET /healthcheck, /health    the health of the whole system, in the original's form: 200 OK, 429 WARNING, 500 CRITICAL
    GET /livez                   this process alone: 200
    GET /readyz                  whether this process can answer the rest: 200 or 503
    GET /figures                 the tracker in numbers
    GET /instances, /jobs        lists: ?state=…&limit=100&offset=0
    GET /instances/{id}, /jobs/{id}
    GET /dead-letters            the newest: ?limit=100
    GET /metrics                 for Prometheus
    GET /history                 what has happened: ?job=…&instance=…&what=…&since=2h&limit=100

Health is answered from the last look at each part, so no neighbour can make it slow. The rest reads Redis when asked.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tracker.errors import BadInput, LedgerUnavailable
from tracker.findings import Finding
from tracker.health import HTTP_STATUS, REDIS, ROUND_S, Board
from tracker.history import entries
from tracker.history.reading import Database, History
from tracker.history.stream import HistoryStream
from tracker.overview import Overview
from tracker.views import as_json
from tracker.web import asking, statics
from tracker.web.answers import Json, failure, known_only, number_of, page_of
from tracker.web.asking import Asked
from tracker.web.headers import SecurityHeaders
from tracker.web.live import Live, LiveAnswer
from tracker.web.metrics import Metrics
from tracker.web.pages import Pages
from tracker.web.reading import Reader
from tracker.web.requests import RequestLog
from tracker.web.watching import Watch

log = structlog.get_logger(__name__)

Examine = Callable[[Callable[[Mapping[str, Finding]], object]], Awaitable[None]]
"""Looks at every part once and records what it finds."""

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
"""The original's health endpoint answers to any method."""


class Web:
    """What the routes share: the board of health, the overview, and the task that keeps looking."""

    def __init__(
        self,
        overview: Overview,
        board: Board,
        examine: Examine,
        beat: Callable[[], None] | None = None,
        *,
        database: Database | None = None,
    ) -> None:
        """`beat` says that this process is alive; it blocks, and may raise LedgerUnavailable. `database` keeps the history."""
        self._history = History(HistoryStream(overview.ledger.client, overview.ledger.prefix), database)
        self.overview = overview
        self.board = board
        self.pages = Pages(Watch(Reader(overview.ledger)), board, self._history)
        self.live = Live(self.pages)
        self._metrics = Metrics(overview, board)
        self._examine = examine
        self._beat = beat
        self._statics = statics.load()

    def app(self) -> Starlette:
        """Build the application."""
        routes = [
            *(Route(path, self.health, methods=METHODS) for path in ("/healthcheck", "/health")),
            Route("/livez", self.alive),
            Route("/readyz", self.ready),
            Route("/figures", self.figures),
            Route("/instances", self.instances),
            Route("/instances/{id:path}", self.instance),
            Route("/jobs", self.jobs),
            Route("/jobs/{id:path}", self.job),
            Route("/dead-letters", self.dead_letters),
            Route("/history", self.history),
            Route("/metrics", self.metrics),
            *(Route(path, self.page) for path in (*asking.PATHS, *(f"{start}{{id:path}}" for start in asking.OF_ONE))),
            Route("/live", self.stream),
            Route("/static/{name}", self.static),
        ]
        app = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: self._http_error, BadInput: _bad_input, LedgerUnavailable: _redis_away},
        )
        app.router.redirect_slashes = False  # a redirect would lead to whatever host the request names
        app.add_middleware(RequestLog)
        app.add_middleware(SecurityHeaders)
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        tasks = (
            asyncio.create_task(self._keep_looking(), name="health"),
            asyncio.create_task(self.live.keep_looking(), name="pages"),
        )
        try:
            yield
        finally:
            self.live.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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

    async def alive(self, _: Request) -> Response:
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

    def metrics(self, request: Request) -> Response:
        """Answer with all metrics, as Prometheus asks for them."""
        text, content_type = self._metrics.scrape(request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": content_type})

    def history(self, request: Request) -> Response:
        """Answer with what has happened, the newest first."""
        known_only(request, "instance", "job", "what", "since", "limit")
        asked = request.query_params
        told = self._history.ask(
            limit=number_of(request, "limit", 100, 1, 1000),
            instance_id=asked.get("instance"),
            job_id=asked.get("job"),
            what=[asked["what"]] if "what" in asked else (),
            since=asked.get("since", ""),
        )
        return Json({"items": [entries.as_json(entry) for entry in told.entries], "source": told.source, "trouble": told.trouble})

    # -- pages ----------------------------------------------------------------------------------------------------

    def page(self, request: Request) -> Response:
        """Answer with a page; what is wrong is a page, too."""
        try:
            text, status = self.pages.page(_asked(request))
        except BadInput as error:
            text, status = self.pages.mistake(400, str(error))
        return _html(text, status)

    async def stream(self, request: Request) -> Response:
        """Answer with what is new of the page that `of` names."""
        known_only(request, "of")
        asked = asking.read_url(request.query_params.get("of", ""))
        if self.live.full:
            return failure(503, "too many pages are live already, or this process stops")
        return LiveAnswer(self.live, asked)

    async def static(self, request: Request) -> Response:
        """Answer with a file that pages need."""
        found = self._statics.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return statics.answer(found, request)

    def _http_error(self, request: Request, error: Exception) -> Response:
        """Say what is wrong: to a browser as a page, else as JSON."""
        assert isinstance(error, HTTPException)  # noqa: S101 -- it is registered for no other
        texts = {404: "no such page", 405: "this page is only read: use GET"}
        said = texts.get(error.status_code, error.detail)
        if "text/html" in request.headers.get("accept", ""):
            answer: Response = _html(*self.pages.mistake(error.status_code, f"{said}: {request.url.path}"))
        else:
            answer = failure(error.status_code, said)
        answer.headers.update(error.headers or {})
        return answer


def _asked(request: Request) -> Asked:
    """Which page is asked for. Raises BadInput."""
    return asking.read(request.scope["path"], dict(request.query_params))


def _html(text: str, status: int) -> Response:
    return HTMLResponse(text, status, {"Cache-Control": "no-store"})


def _bad_input(_: Request, error: Exception) -> Response:
    return failure(400, str(error))


def _redis_away(_: Request, error: Exception) -> Response:
    return failure(503, str(error))
