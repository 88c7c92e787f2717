"""Which page a URL asks for, with its parameters checked. Pure."""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from tracker.errors import BadInput
from tracker.stream_ids import is_id
from tracker.web.answers import MOST_DIGITS
from tracker.web.catalogue import Wanted

LONGEST_URL = 4096
"""Characters of the URL that a live page may follow; an id of a kilobyte fits three times."""

PARAMETERS: dict[str, tuple[str, ...]] = {
    "imports": ("list", "q", "state", "sort", "offset"),
    "job": ("q", "state", "sort", "offset"),
    "instance": (),
    "letters": ("before",),
    "parked": ("offset",),
    "parts": (),
    "events": (),
}
"""The pages, and which parameters each takes."""

PATHS = {"/": "imports", "/letters": "letters", "/parked": "parked", "/parts": "parts", "/events": "events"}

OF_ONE = {"/job/": "job", "/instance/": "instance"}
"""Pages of one thing: the rest of the path is its id."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One page: its name in `PARAMETERS`, the id it is of, and what its lists are to show."""

    page: str
    id: str = ""
    wanted: Wanted = field(default_factory=Wanted)
    offset: int = 0
    before: str = ""


def read_url(url: str) -> Asked:
    """The page at a path with its query, as a browser writes them. Raises BadInput."""
    if len(url) > LONGEST_URL:
        raise BadInput(f"of: expected at most {LONGEST_URL} characters, not {len(url)}")
    if not url.startswith("/") or url.startswith("//"):
        raise BadInput(f"of={url[:40]!r}: expected the path of a page")
    path, _, query = url.partition("?")
    return read(unquote(path), dict(parse_qsl(query, keep_blank_values=True)))


def read(path: str, given: dict[str, str]) -> Asked:
    """The page at a decoded path. Raises BadInput for a path that is none, and for wrong parameters."""
    page, thing = PATHS.get(path, ""), ""
    for start, name in OF_ONE.items():
        if path.startswith(start) and len(path) > len(start):
            page, thing = name, path.removeprefix(start)
    if not page:
        raise BadInput(f"{path[:40]!r}: no such page")
    known = PARAMETERS[page]
    for name in given:
        if name not in known:
            raise BadInput(f"{name[:40]!r}: no such parameter, expected {', '.join(known) or 'none'}")
    wanted = Wanted.read(given if page == "imports" else given | {"list": "instances"}, thing if page == "job" else None)
    return Asked(page, thing, wanted, _offset(given.get("offset", "")), _entry(given.get("before", "")))


def _offset(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS):
        raise BadInput(f"offset={text[:40]!r}: expected a whole number from 0 to {10**MOST_DIGITS - 1}")
    return int(text or 0)


def _entry(text: str) -> str:
    if text and not is_id(text):
        raise BadInput(f"before={text[:40]!r}: expected the id of a dead letter, such as 1795537990400-0")
    return text
