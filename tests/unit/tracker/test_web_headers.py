"""The web process only reads, and what it answers can do nothing in a browser but be shown."""

import asyncio
import uuid
from collections.abc import Mapping

import fakeredis
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from tracker.health import Board
from tracker.ledger import Ledger
from tracker.overview import Overview
from tracker.web.app import Web
from tracker.web.headers import HEADERS


class Nobody:
    """Looks at nothing."""

    async def examine(self, _: object) -> None:
        """Find nothing."""


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(fakeredis.FakeRedis(decode_responses=True), f"{uuid.uuid4().hex[:8]}:")


def ask(ledger: Ledger, method: str, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    app = Web(Overview(ledger), Board(critical_timeout_s=0), Nobody().examine).app()

    def broken(_: Request) -> Response:
        raise RuntimeError

    app.router.routes.insert(0, Route("/broken", broken))

    async def call() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tracker") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(call())


def paths(ledger: Ledger) -> list[str]:
    """Every route there is, health's apart: as the original's, it answers to any method and does nothing else."""
    router: Router = Web(Overview(ledger), Board(critical_timeout_s=0), Nobody().examine).app().router
    found = [getattr(route, "path", "").replace("{id:path}", "i-1") for route in router.routes]
    return [path for path in found if path not in {"/health", "/healthcheck"}]


def test_every_other_method_than_get_and_head_is_refused(ledger: Ledger) -> None:
    assert len(paths(ledger)) > 5
    for path in paths(ledger):
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            assert ask(ledger, method, path).status_code == 405, f"{method} {path}"


def test_nothing_is_written_by_asking_health_in_any_way(ledger: Ledger) -> None:
    for method in ("GET", "POST", "DELETE"):
        ask(ledger, method, "/health")
    assert ledger.client.keys("*") == []


@pytest.mark.parametrize("path", ["/", "/livez", "/instances", "/instances/none", "/no-such-page", "/instances?limit=x", "/broken"])
def test_every_answer_has_the_headers_errors_included(ledger: Ledger, path: str) -> None:
    answer = ask(ledger, "GET", path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize("path", ["/figures/", "/livez/", "//evil.test/instances"])
def test_a_host_that_the_request_names_leads_nowhere(ledger: Ledger, path: str) -> None:
    answer = ask(ledger, "GET", path, {"Host": "evil.test", "X-Forwarded-Host": "evil.test"})
    assert "location" not in answer.headers
    assert "//evil.test" not in answer.text.replace("no such page", "")


def test_what_stands_in_an_id_is_never_a_header_or_markup(ledger: Ledger) -> None:
    for hostile in ("%0d%0aSet-Cookie:%20a=b", "%3Cscript%3Ealert(1)%3C/script%3E"):
        answer = ask(ledger, "GET", f"/instances/{hostile}")
        assert answer.status_code == 404
        assert "set-cookie" not in answer.headers
        assert answer.headers["content-type"].startswith("application/json")
        assert answer.headers["x-content-type-options"] == "nosniff"
