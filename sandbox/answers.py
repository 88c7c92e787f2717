"""
The few words of HTTP that both stand-in APIs speak: a request, an answer, and the ways the originals phrase answers.

The originals are Go services. Go ends an error text with a newline and sends it as plain text; a wrong path is
`404 page not found`, a wrong method 405 with no body.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

Headers = tuple[tuple[bytes, bytes], ...]

MAX_LIMIT = 1000
DEFAULT_LIMIT = 20

_PLAIN_TEXT: Headers = ((b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff"))
_JSON: Headers = ((b"content-type", b"application/json"),)


class BadPaging(Exception):
    """`limit` or `offset` is negative, no number, or more than `MAX_LIMIT`."""


class BadJson(Exception):
    """The body is not what the API can read; the text is what Go's parser would say."""


class ConnectionCut(Exception):
    """The API closes the connection without an answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `path` is decoded; header names are lower case."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> str | None:
        """The header's value, or None where it was not sent; an empty value is "" and not None."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), None)

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter, or None."""
        return parse_qs(self.query, keep_blank_values=True).get(name, [None])[0]

    def paging(self) -> tuple[int, int]:
        """Offset and limit. Raises BadPaging."""
        try:
            offset = int(self.parameter("offset") or 0)
            given = self.parameter("limit")
            limit = int(given) if given else DEFAULT_LIMIT
        except ValueError:
            raise BadPaging from None
        if offset < 0 or not 0 <= limit <= MAX_LIMIT:
            raise BadPaging
        return offset, limit

    def json_object(self) -> dict[str, Any]:
        """The body as an object; `null` counts as an empty one, as in Go. Raises BadJson."""
        try:
            value = json.loads(self.body)
        except json.JSONDecodeError as error:
            if error.pos >= len(error.doc):
                raise BadJson("unexpected end of JSON input") from None
            raise BadJson(f"invalid character {error.doc[error.pos]!r} looking for beginning of value") from None
        except UnicodeDecodeError:
            raise BadJson("invalid character 'ÿ' looking for beginning of value") from None
        if value is not None and not isinstance(value, dict):
            raise BadJson("json: cannot unmarshal the value into an object")
        return value or {}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API says. `applied` tells the journal that the call has changed something, whatever the status."""

    status: int
    body: bytes = b""
    headers: Headers = ()
    applied: bool = False


def text(status: int, message: str, *, applied: bool = False) -> Answer:
    """An error as the originals send it: plain text with a newline."""
    return Answer(status, message.encode() + b"\n", _PLAIN_TEXT, applied)


def empty(status: int, etag: str | None = None, *, applied: bool = False) -> Answer:
    """An answer without a body."""
    return Answer(status, b"", etag_header(etag), applied)


def json_answer(status: int, value: object, etag: str | None = None, *, applied: bool = False) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, json.dumps(value, separators=(",", ":")).encode(), _JSON + etag_header(etag), applied)


def etag_header(etag: str | None) -> Headers:
    """The ETag, unquoted as the original sends it, or nothing."""
    return () if etag is None else ((b"etag", etag.encode()),)


def no_such_page() -> Answer:
    """The router knows no such path."""
    return text(404, "404 page not found")


def wrong_method() -> Answer:
    """The router knows the path, but not with this method."""
    return Answer(405)


def bearer_token(request: Request) -> str | None:
    """
    The service token of today's `Authorization` header, or None without one.

    The original tracker sends `Bearer ` twice; each of two receivers strips one, so both forms work.
    """
    value = request.header(b"authorization")
    return value.removeprefix("Bearer ").removeprefix("Bearer ") if value else None
