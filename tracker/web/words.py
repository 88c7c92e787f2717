"""Figures, times and states in words, as the pages' templates use them. Pure."""

import shlex
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from markupsafe import Markup

from tracker import views
from tracker.findings import SEE_STATUS, Finding, age_in_words
from tracker.instance import DONE, FAILED
from tracker.views import InstanceView

MOST_OF_A_PERCENT = 99.9
"""What is nearly done is not said to be done."""

LONGEST_LEFT_S = 30 * 86_400
"""An end further away is not told: the pace will not stay that long."""


def number(value: float | None) -> str:
    """A whole number with thousands separated; a dash for None."""
    return "–" if value is None else f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Something per second: with a decimal where it is small."""
    if value is None:
        return "–"
    return f"{value:,.1f}" if 0 < value < 10 else f"{value:,.0f}"  # noqa: PLR2004 - two digits are enough


def percent(inserted: int, total: int | None) -> str:
    """The share that is in, rounded down: 100 % is all of it."""
    if not total:
        return ""
    share = min(100.0, 100 * inserted / total)
    return f"{min(share, MOST_OF_A_PERCENT) if inserted < total else share:.3g} %"


def left(seconds: float | None) -> str:
    """How long something will take still."""
    if seconds is None or seconds > LONGEST_LEFT_S:
        return ""
    return "a moment left" if seconds < 1 else f"about {age_in_words(seconds)} left"


def exact(seconds: float) -> str:
    """A point in time to the second."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(seconds: float) -> str:
    """The time of day of a point in time."""
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M} UTC"


def since(seconds: float | None, now_s: float) -> Markup:
    """A point in time as an age, the exact time in its title; nothing for None."""
    if seconds is None:
        return Markup()
    moment = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}" title="{}">{} ago</time>').format(
        moment.isoformat(timespec="seconds"), exact(seconds), age_in_words(max(0.0, now_s - seconds))
    )


def colour(view: InstanceView) -> str:
    """The class of an instance's state: bad, warn, ok or go."""
    if view.state in {views.PARKED, views.GIVEN_UP} or view.state in FAILED:
        return "bad"
    return "ok" if view.state in DONE else "warn" if view.reason or view.aside or view.stuck else "go"


def job_colour(state: str) -> str:
    """The class of a job's state."""
    if state in FAILED or state == views.PARKED:
        return "bad"
    return "ok" if state == "completed" else "go"


def path(*parts: str) -> str:
    """The path of a page: every part but the first may hold anything."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def query(given: dict[str, str | int], **changed: str | int) -> str:
    """A query with some of its parameters changed, those without a value left out; "" where nothing is left."""
    said = {name: value for name, value in (given | changed).items() if value not in {"", 0}}
    return f"?{urlencode(said)}" if said else ""


def command(*words: str) -> str:
    """A command line that a shell takes as it stands."""
    return shlex.join(words)


def said(finding: Finding) -> str:
    """A finding's sentence; that `tracker status` tells more need not be said here."""
    return finding.message.removesuffix(SEE_STATUS)


FILTERS = {
    "said": said,
    "number": number,
    "rate": rate,
    "exact": exact,
    "clock": clock,
    "left": left,
}

GLOBALS = {
    "percent": percent,
    "since": since,
    "colour": colour,
    "job_colour": job_colour,
    "path": path,
    "query": query,
    "command": command,
}
