"""Streams of what is new: what they send, whom they hold up, and how they end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest

from tests.unit.tracker.web_client import Client, make_web, new_ledger
from tracker.errors import BadInput
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.web import live
from tracker.web.app import Web
from tracker.web.asking import read_url
from tracker.web.pages import Rendered

Message = MutableMapping[str, Any]


@pytest.fixture
def ledger() -> Ledger:
    return new_ledger()


@pytest.fixture
def web(ledger: Ledger) -> Web:
    return make_web(ledger)


class Reader:
    """One open page: what it was sent, as events. `stall` makes it take nothing more."""

    def __init__(self) -> None:
        self.status = 0
        self.ended = False
        self.events: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self.taking = asyncio.Event()
        self.taking.set()
        self.left = asyncio.Event()
        self.lines: list[str] = []

    async def send(self, message: Message) -> None:
        await self.taking.wait()
        self.status = message.get("status", self.status)
        for text in message.get("body", b"").decode().split("\n\n"):
            if text:
                name, data = text.split("\n")
                self.events.put_nowait((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        self.ended = self.ended or (message["type"] == "http.response.body" and not message.get("more_body"))

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def shows(self, words: str) -> None:
        """Take events as the page's script does, until `words` stand there."""
        async with asyncio.timeout(5):
            while not any(words in line for line in self.lines):
                _, told = await self.events.get()
                self.lines = told.get("all") or self.lines
                for at, line in told.get("lines", {}).items():
                    self.lines[int(at)] = line


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 -- what is waited for is no event of ours
            await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(web: Web, url: str) -> AsyncIterator[Reader]:
    """A page that is open; left at the end."""
    reader = Reader()
    scope = {
        "type": "http", "method": "GET", "path": "/live", "query_string": f"of={quote(url, safe='')}".encode(),
        "headers": [], "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    serving = asyncio.ensure_future(web.app()(scope, reader.receive, reader.send))
    try:
        yield reader
    finally:
        reader.left.set()
        reader.taking.set()
        await asyncio.wait_for(serving, 5)


@asynccontextmanager
async def looking(web: Web, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The background reader, in a hurry."""
    monkeypatch.setattr(web.pages.watch, "pause_s", lambda _: 0.01)
    task = asyncio.create_task(web.live.keep_looking())
    try:
        yield
    finally:
        web.live.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def follow(ledger: Ledger, name: str, inserted: int) -> None:
    ledger.follow("submitted", [Instance(name, "submitted", "j-1", 1000, inserted)])


def test_an_open_page_is_told_all_and_then_the_lines_that_change(ledger: Ledger, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(ledger, "i-1", 250)

    async def watch() -> None:
        async with looking(web, monkeypatch), opened(web, "/instance/i-1") as reader:
            await reader.shows("25 %")
            first = reader.lines
            follow(ledger, "i-1", 500)
            await reader.shows("50 %")
            assert reader.lines is first, "only lines were sent"
            assert reader.lines == list(web.pages.view(read_url("/instance/i-1")).lines)
            assert reader.status == 200

    asyncio.run(watch())


def test_a_page_of_what_is_not_known_yet_shows_it_once_it_is(ledger: Ledger, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async def watch() -> None:
        async with looking(web, monkeypatch), opened(web, "/instance/late") as reader:
            await reader.shows("No such instance is known")
            ledger.register("late", "j-1")
            await reader.shows("registered")

    asyncio.run(watch())


def test_pages_with_the_same_address_are_rendered_once_a_look(ledger: Ledger, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async def watch() -> None:
        async with opened(web, "/"), opened(web, "/"), opened(web, "/parts"):
            await until(lambda: web.live.streams == 3)
            rendered, _ = web.live._look(tuple(web.live._open))
            assert sorted(page.page for page in rendered) == ["imports", "parts"]
            web.live.close()

    asyncio.run(watch())


def test_a_reader_that_takes_nothing_holds_up_nobody_and_gets_the_newest(ledger: Ledger, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(ledger, "i-1", 100)

    async def watch() -> None:
        async with looking(web, monkeypatch), opened(web, "/instance/i-1") as slow, opened(web, "/instance/i-1") as quick:
            await slow.shows("10 %")
            slow.taking.clear()
            for number in range(2, 6):
                follow(ledger, "i-1", number * 100)
                await quick.shows(f">{number}0 %<")
            waiting = slow.events.qsize()
            slow.taking.set()
            await slow.shows("50 %")
            assert waiting <= 1

    asyncio.run(watch())


def test_a_stream_is_forgotten_when_its_reader_has_gone(ledger: Ledger, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async def watch() -> None:
        async with looking(web, monkeypatch):
            async with opened(web, "/") as reader:
                await reader.shows("importing")
                assert web.live.streams == 1
            assert web.live.streams == 0

    asyncio.run(watch())


def test_streams_end_when_the_process_stops_and_no_new_one_is_taken(ledger: Ledger, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    async def watch() -> None:
        async with looking(web, monkeypatch), opened(web, "/") as reader:
            await reader.shows("importing")
            web.live.close()
            await until(lambda: reader.ended)

    asyncio.run(watch())
    assert Client(web.app()).get("/live?of=%2F").status_code == 503


def test_no_more_than_so_many_pages_are_live(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS", 0)
    assert Client(web.app()).get("/live?of=%2F").status_code == 503


def test_where_nothing_changes_a_stream_says_so(ledger: Ledger, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STILL_S", 0.02)

    async def watch() -> None:
        async with opened(web, "/letters") as reader, asyncio.timeout(5):
            assert [(await reader.events.get())[0] for _ in range(3)] == ["view", "still", "still"]
            web.live.close()

    asyncio.run(watch())


def test_what_breaks_is_logged_and_looked_at_again(ledger: Ledger, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    look, broken = web.pages.watch.look, [True]

    def breaks_once() -> None:
        if broken.pop() if broken else False:
            raise RuntimeError("a mistake of ours")
        look()

    monkeypatch.setattr(web.pages.watch, "look", breaks_once)

    async def watch() -> None:
        async with looking(web, monkeypatch), opened(web, "/letters") as reader:
            await reader.shows("There are none")
            await until(lambda: not broken and web.pages.watch.pulse is not None)

    asyncio.run(watch())


@pytest.mark.parametrize("url", ["", "/live", "/nowhere", "//evil/", "https://evil/", "/?state=bogus", "x" * 5000])
def test_only_pages_can_be_followed(web: Web, url: str) -> None:
    with pytest.raises(BadInput):
        read_url(url)
    assert Client(web.app()).get(f"/live?of={quote(url, safe='')}").status_code == 400


def test_a_line_that_comes_or_goes_sends_all() -> None:
    before, after = Rendered("t", ("a", "b")), Rendered("t2", ("a", "b", "c"))
    assert live.changes(before, after) == {"title": "t2", "all": ("a", "b", "c")}
    assert live.changes(before, Rendered("t", ("a", "x"))) == {"title": "t", "lines": {"1": "x"}}
