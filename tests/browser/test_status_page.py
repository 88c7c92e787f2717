"""The status page as a person sees it: a real browser on a whole running system."""

import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE_MS, Open
from tests.system import System

expect.set_options(timeout=PATIENCE_MS)

PAGES = ("/", "/?list=instances", "/parked", "/letters", "/events", "/parts", "/instance/nobody")

HOSTILE_JOB = "<img src=x onerror=alert(1)>\"'&amp; \u202eü\u4e2d"

CONTRASTS = """
() => {
  const channel = (v) => (v /= 255, v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || !element.checkVisibility() || element.closest(".hidden, .skip")) continue;
    let behind = element;
    while (behind && rgba(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const [a, b] = [getComputedStyle(element).color, getComputedStyle(behind || document.body).backgroundColor].map((c) => light(rgba(c)));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}
"""
"""The texts of a page that stand out too little from what is behind them (less than 4.5 : 1)."""


def sign(page: Page, words: str) -> None:
    expect(page.locator("#sign")).to_have_text(re.compile(words))


def followed(today: System, job_id: str, **fields: int) -> str:
    """The one instance of a new job, once the tracker knows it."""
    (name,) = today.new_job(job_id, **fields)
    today.announce(name)
    today.stack.wait_until(lambda: today.instance(name), what=f"{name} is known")
    return name


def row(page: Page, instance_id: str) -> str:
    return page.locator("tr", has=page.get_by_role("link", name=instance_id, exact=True)).inner_text()


def expect_row(page: Page, instance_id: str, words: str) -> None:
    expect(page.locator("tr", has=page.get_by_role("link", name=instance_id, exact=True))).to_contain_text(words)


def test_progress_moves_and_completion_shows_without_a_reload(today: System, open_page: Open) -> None:
    job = today.new_job("seen-live", instances=2)
    today.announce(*job)
    page = open_page("/?q=seen-live")
    page.evaluate("window.loadedOnce = true")
    expect_row(page, job[0], "0 / ?")
    for name in job:
        today.count(name, 1500)
    expect_row(page, job[0], "1,500 / ?")
    page.get_by_role("link", name=job[0], exact=True).focus()
    today.tell_totals(*job)
    expect_row(page, job[0], "completed")
    expect_row(page, job[1], "100 %")
    expect(page.locator(".card .head .state")).to_have_text("completed")
    expect(page.get_by_role("progressbar", name=job[0])).to_have_attribute("value", "1500")
    assert page.evaluate("window.loadedOnce")
    assert page.evaluate("document.activeElement.textContent") == job[0], "the focus stays where it was"
    sign(page, "^live$")
    page.get_by_role("link", name=job[0], exact=True).press("Enter")
    expect(page.locator("h1")).to_have_text(job[0])
    expect(page.locator(".timeline")).to_contain_text("completed")


def test_finding_sorting_and_turning_pages_stays_in_the_url(today: System, open_page: Open) -> None:
    jobs = [today.new_job(f"found-{number:02}", instances=3) for number in range(25)]
    for job in jobs:
        today.announce(job[0])
    page = open_page("/?list=instances")
    page.get_by_role("searchbox").fill("FOUND-")
    page.get_by_role("combobox", name="Order").select_option(label="by name")
    page.get_by_role("combobox", name="State").select_option("importing")
    page.keyboard.press("Enter")
    page.wait_for_url("**/*q=FOUND*")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}
    assert asked == {"list": "instances", "q": "FOUND-", "sort": "name", "state": "importing"}
    expect(page.locator(".turn")).to_contain_text("of 75 instances")
    expect(page.locator("tbody tr").first).to_contain_text("found-00-1")
    page.get_by_role("link", name="after →").click()
    expect(page.locator(".turn")).to_contain_text("51 to 75 of 75 instances")
    expect(page.locator("tbody tr").first).to_contain_text("found-16-3")
    page.reload()
    expect(page.locator("tbody tr").first).to_contain_text("found-16-3")
    expect(page.get_by_role("searchbox")).to_have_value("FOUND-")
    page.go_back()
    expect(page.locator("tbody tr").first).to_contain_text("found-00-1")
    page.get_by_role("link", name="Jobs").click()
    expect(page.locator(".turn")).to_contain_text("1 to 20 of 25 jobs")


def test_by_keyboard_alone(today: System, open_page: Open) -> None:
    page = open_page("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page = open_page("/")
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.name"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", seen[-1]
        assert page.evaluate("document.activeElement.getBoundingClientRect().height") > 0
    assert [text for text in seen if text in {"Imports", "Jobs", "Instances"}] == ["Imports", "Jobs", "Instances"]
    expect(page.get_by_role("table").first).to_be_visible()
    expect(page.get_by_role("columnheader", name="progress").first).to_be_visible()


def test_a_hidden_tab_rests_and_catches_up(today: System, open_page: Open) -> None:
    name = followed(today, "seen-again")
    page = open_page("/job/seen-again")
    expect_row(page, name, "0 / ?")

    def hide(hidden: str) -> None:
        page.evaluate(
            "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true}); "
            "document.dispatchEvent(new Event('visibilitychange')); }",
            hidden == "hidden",
        )

    hide("hidden")
    sign(page, "resting")
    today.count(name, 700)
    today.wait_counted([name])
    assert "0 / ?" in row(page, name), "nothing is sent to a tab that nobody sees"
    hide("visible")
    expect_row(page, name, "700 / ?")
    sign(page, "^live$")


def test_the_web_process_stops_at_once_and_pages_go_on_when_it_is_back(today: System, open_page: Open) -> None:
    name = followed(today, "seen-through")
    page = open_page(f"/instance/{name}", may_complain="ERR_")
    sign(page, "^live$")
    assert today.stack.stop("web", timeout_s=4), "an open page does not keep it from ending"
    sign(page, "^not live")
    today.count(name, 300)
    today.stack.start("web")
    sign(page, "^live$")
    expect(page.locator("main")).to_contain_text("300 / ?")


def test_a_page_says_that_redis_is_away_and_heals(today: System, open_page: Open) -> None:
    name = followed(today, "seen-after")
    page = open_page(f"/instance/{name}")
    expect(page.locator("h1")).to_have_text(name)
    today.stack.kill("valkey")
    try:
        expect(page.locator("h1")).to_have_text("Redis does not answer")
        lost = open_page("/", may_complain="503")
        expect(lost.locator("h1")).to_have_text("Redis does not answer")
    finally:
        today.stack.start("valkey")
    expect(page.locator("h1")).to_have_text(name)
    expect(lost.locator(".tiles")).to_be_visible()
    # Celery ends a worker that held a message when Redis went, which was seen to take a minute: no other test is to wait for the next one.
    today.count(name, 1)
    today.wait_counted([name], timeout_s=120)


def test_ids_are_text_whatever_they_hold(today: System, open_page: Open) -> None:
    job = today.new_job(HOSTILE_JOB)
    long = today.new_job("x" * 300)
    today.announce(*job, *long)
    for width in (390, 1200):
        page = open_page(f"/?q={quote('<img')}", viewport={"width": width, "height": 800})
        expect_row(page, job[0], "0 / ?")
        page.get_by_role("link", name=HOSTILE_JOB, exact=True).click()
        expect(page.locator("h1")).to_have_text(HOSTILE_JOB)
        page.get_by_role("rowheader").get_by_role("link", name=job[0], exact=True).click()
        expect(page.locator("h1")).to_have_text(job[0])
        for path in (f"/job/{'x' * 300}", "/?q=xxx", page.url):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways_and_everything_can_be_read(today: System, open_page: Open, scheme: str) -> None:
    name = followed(today, f"seen-{scheme}", total=5000, inserted=1000)
    page = open_page("/", may_complain="404", viewport={"width": 390, "height": 844}, color_scheme=scheme)
    for path in (*PAGES, f"/job/seen-{scheme}", f"/instance/{name}"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path
        assert page.evaluate(CONTRASTS) == [], path
    page.set_viewport_size({"width": 1200, "height": 800})
    for path in ("/", "/parts"):
        page.goto(path)
        sign(page, "^live$")
        assert page.evaluate(CONTRASTS) == [], path


def test_without_javascript_reloading_shows_what_is_new(today: System, open_page: Open) -> None:
    name = followed(today, "seen-plainly")
    today.count(name, 900)
    today.wait_counted([name])
    page = open_page(f"/instance/{name}", java_script_enabled=False)
    expect(page.locator("main")).to_contain_text("900 / ?")
    expect(page.locator("#sign")).to_contain_text("reload for what is new")
