"""Answers in JSON, and the mistakes that a caller can make in a query."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from tracker.errors import BadInput

LARGEST_PAGE = 1000

MOST_DIGITS = 9


class Json(JSONResponse):
    """JSON with the content type that the original's answers have."""

    media_type = "application/json; charset=utf-8"


def failure(status: int, error: str) -> Json:
    """An answer that says in one line what is wrong."""
    return Json({"error": error}, status)


def page_of(request: Request) -> tuple[int, int]:
    """Read `limit` (1 … 1000, default 100) and `offset` (from 0). Raises BadInput."""
    return number_of(request, "limit", 100, 1, LARGEST_PAGE), number_of(request, "offset", 0, 0, 10**MOST_DIGITS - 1)


def number_of(request: Request, name: str, default: int, low: int, high: int) -> int:
    """Read a whole number between `low` and `high` from the query. Raises BadInput naming parameter and expectation."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS and low <= int(text) <= high):
        raise BadInput(f"{name}={text[:40]!r}: expected a whole number from {low} to {high}")
    return int(text)


def known_only(request: Request, *names: str) -> None:
    """Refuse misspelt parameters. Raises BadInput."""
    for name in request.query_params:
        if name not in names:
            raise BadInput(f"{name[:40]!r}: no such parameter, expected {', '.join(names) or 'none'}")
