"""
Live pages: the one background reader of a web process, and the streams (server-sent events) that tell open pages what is new.

A look renders each page that somebody has open once, however many have it open. A stream sends the lines that differ from
those its page has; while its reader is slow it skips looks, so nothing queues up. A connection that takes nothing at all
is ended by the kernel (`server.listen`). All streams end when `close` is called: a server that stops would wait for them.
"""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Mapping

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tracker.web.asking import Asked
from tracker.web.pages import Pages, Rendered

log = structlog.get_logger(__name__)

MOST_STREAMS = 200
"""Pages that may be live at once; a further one is refused and tries again. Each costs a connection and at most 64 kB of buffer."""

STILL_S = 5.0
"""How often a stream says something even if nothing is new, so that a page knows that it is live."""

AFTER_A_MISTAKE_S = 1.0
"""What a look that broke is taken to have cost, so that the next one does not follow at once."""


class Live:
    """Looks, renders what is open, and wakes the streams."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._open: Counter[Asked] = Counter()
        self._rendered: dict[Asked, Rendered] = {}
        self._news = asyncio.Event()
        self._wanted = asyncio.Event()
        self._closed = False

    @property
    def streams(self) -> int:
        """How many pages are live."""
        return self._open.total()

    def close(self) -> None:
        """End all streams, and refuse new ones."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def keep_looking(self) -> None:
        """Look for ever. Whatever breaks is logged, and does not end the looking."""
        while True:
            took_s = AFTER_A_MISTAKE_S
            try:
                self._rendered, took_s = await asyncio.to_thread(self._look, tuple(self._open))
            except Exception:
                log.exception("pages_broke")
            self._tell()
            self._wanted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pages.watch.pause_s(took_s)):
                    await self._wanted.wait()

    def _look(self, asked: tuple[Asked, ...]) -> tuple[dict[Asked, Rendered], float]:
        """Look, and render what is open; also tells what that took of a processor's time (s)."""
        started_s = time.thread_time()
        if asked:
            self._pages.watch.asked()
        self._pages.watch.look()
        rendered = {page: self._pages.view(page) for page in asked}
        return rendered, time.thread_time() - started_s

    @property
    def full(self) -> bool:
        """Whether no further stream is taken."""
        return self._closed or self.streams >= MOST_STREAMS

    async def stream(self, asked: Asked, send: Send) -> None:
        """Send what is new of a page until `close`; whoever calls this cancels it when the reader has gone."""
        if not self._open:
            self._wanted.set()  # nobody has watched: look now, not at the end of a long pause
        self._open[asked] += 1
        try:
            now = self._rendered.get(asked)
            if now is None:
                now = await asyncio.to_thread(self._pages.view, asked)
            text = event("view", changes(None, now))
            while not self._closed:
                await send(_part(text))
                had, now = now, await self._next(asked, now)
                text = event("still", {}) if now == had else event("view", changes(had, now))
        finally:
            self._open[asked] -= 1
            if not self._open[asked]:
                del self._open[asked]

    async def _next(self, asked: Asked, had: Rendered) -> Rendered:
        """Wait for another rendering of a page than the one it has, which is returned after `STILL_S`, or when all ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STILL_S):
                while not self._closed:
                    news, found = self._news, self._rendered.get(asked)
                    if found is not None and found != had:
                        return found
                    await news.wait()
        return had


class LiveAnswer(Response):
    """The answer that is a stream of one page."""

    def __init__(self, live: Live, asked: Asked) -> None:
        super().__init__(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._live = live
        self._asked = asked

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Stream until the reader has gone or the process stops."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        streaming = asyncio.ensure_future(self._live.stream(self._asked, send))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait((streaming, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (streaming, gone):
                task.cancel()
            results = await asyncio.gather(streaming, gone, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _part(text: str) -> dict[str, object]:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}


def event(name: str, data: Mapping[str, object]) -> str:
    """One server-sent event. JSON has no line breaks, so it fits one data line."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


def changes(had: Rendered | None, now: Rendered) -> dict[str, object]:
    """What a page that has `had` needs to become `now`: all lines, or those that differ by their number."""
    if had is None or len(had.lines) != len(now.lines):
        return {"title": now.title, "all": now.lines}
    lines = {str(at): line for at, (line, before) in enumerate(zip(now.lines, had.lines, strict=True)) if line != before}
    return {"title": now.title, "lines": lines}
