"""The web application without a socket, for tests of what it answers."""

import asyncio
import uuid
from collections.abc import Callable, Mapping

import fakeredis
import httpx
from starlette.types import ASGIApp

from tracker.findings import Finding, Status
from tracker.health import CHECKS, Board
from tracker.ledger import Ledger
from tracker.overview import Overview
from tracker.web.app import Web

SERVER = fakeredis.FakeServer()


class Looks:
    """Stands in for the examiner: finds what it is told, once a look."""

    def __init__(self, status: Status = "OK") -> None:
        self.found: dict[str, Finding] = dict.fromkeys(CHECKS, Finding(status, "as told"))
        self.looked = asyncio.Event()

    async def examine(self, record: Callable[[Mapping[str, Finding]], object]) -> None:
        record(self.found)
        self.looked.set()


class Client:
    """Calls the application as a browser would, one request at a time. Nothing looks in the background."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        async def call() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://tracker") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(call())

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return self.request("GET", path, headers)


def new_ledger() -> Ledger:
    """A ledger just born, under a prefix of its own."""
    ledger = Ledger(fakeredis.FakeRedis(server=SERVER, decode_responses=True), f"{uuid.uuid4().hex[:8]}:")
    ledger.birth(None, 1, [], settle_s=0, reason="there is no ledger")
    return ledger


def make_web(ledger: Ledger, looks: Looks | None = None) -> Web:
    return Web(Overview(ledger), Board(critical_timeout_s=0), (looks or Looks()).examine)


def look(web: Web) -> None:
    """Look at every part once, as the application does in the background."""

    async def once() -> None:
        await web._examine(web._record)

    asyncio.run(once())


def started(web: Web) -> Client:
    """A client of the application after its first look."""
    look(web)
    return Client(web.app())
