"""Debian's Chromium, driven by Playwright. It is started once, with a profile of its own that is empty and removed afterwards."""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.system import System

CHROMIUM = Path("/usr/bin/chromium")

FLAGS = (
    "--headless",
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

PATIENCE_MS = 20_000
"""For a page to show what is to come: a second or two on an idle machine."""

Open = Callable[..., Page]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Tell a failure as Python itself does.

    For its own form pytest parses the source, which Python 3.11.2 cannot do in a thread that has run greenlets, as
    Playwright has it: the failure would become a SystemError that ends the whole run.
    """
    option = item.config.option
    style, option.tbstyle = option.tbstyle, "native"
    try:
        return (yield)
    finally:
        option.tbstyle = style


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one file: Playwright keeps an event loop running in this thread, in which later tests could not run theirs."""
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("needs Debian's chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


class Witness:
    """What a page must not do: complain, or ask another host."""

    def __init__(self, page: Page, host: str) -> None:
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self._host = host
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).netloc != self._host:
            self.strangers.append(request.url)


@pytest.fixture
def open_page(browser: Browser, today: System) -> Iterator[Open]:
    """
    Opens a path in a window of its own; options are those of a Playwright context.

    After the test no page may have complained, unless it says which complaints `may_complain` of: a part of their text.
    """
    witnesses: list[tuple[Witness, str]] = []
    contexts = []

    def open_page(path: str, *, may_complain: str = "", **options: Any) -> Page:
        context = browser.new_context(base_url=today.stack.web_url, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        witnesses.append((Witness(page, urlsplit(today.stack.web_url).netloc), may_complain))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    for witness, allowed in witnesses:
        assert witness.strangers == []
        assert [text for text in witness.complaints if not allowed or allowed not in text] == []
