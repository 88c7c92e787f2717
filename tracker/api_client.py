"""
What the rooms of the two APIs share: sending one request, and turning what comes back into a value or an error.

Both generations of the APIs are served by the same code; an answer tells which one it is from. A call is either
answered or it is one of these:

    GET   NotSent         no byte left: no connection, or no free place in the pool within the time-out
          TurnedAway      401, 403, 429
          UnknownInstance, UnknownJob     404 in the API's own words
          Transient       everything else: other statuses, time-out, cut connection, an answer that is no answer
    PUT   NotSent         no byte left, or it would have left too late
          TurnedAway      401, 403, 429
          Refused         400, and 403 where the text says that the instance is published
          OutcomeUnknown  everything else: other statuses (201 and 204 too), time-out or cut after the first byte

The error's text is one line: method, path, status and the first 200 characters of the answer's text, tokens masked.
"""

import asyncio
import json
import secrets
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Literal, TypeVar, cast
from urllib.parse import quote

import anyio
import httpx

from tracker.errors import BadInput, NotSent, OutcomeUnknown, Permanent, Refused, TrackerError, Transient, TurnedAway
from tracker.events import MAX_ID_CHARACTERS

T = TypeVar("T")

ANSWER_LIMIT = 1_000_000
"""Bytes of one answer's body that are read; an instance of today's API has about 900."""

LISTING_LIMIT = 64_000_000
"""Bytes of one listing: 2017's API answers everything at once, 64 MB are about 70,000 instances."""

SEGMENT_LIMIT = 8_000
"""Characters of an id in a path; servers commonly refuse longer addresses."""

TEXT_LIMIT = 200
"""Characters of an answer's text that go into an error."""

PUT_BODY_S = 0.5
"""Seconds given to the body of an answer to a PUT: its status decides, its text only explains."""

KEEP_ALIVE_S = 2.0
"""Seconds a connection may idle in the pool: the APIs close theirs after 5, and a PUT that meets the closing is of unknown outcome."""

TURNED_AWAY = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})

if find_spec("sniffio") is None:
    # httpcore tries to import it several times in each call: a search through all folders, a quarter of what a call costs. None says that
    # there is no such module, which it takes as it takes the failed search: for asyncio.
    sys.modules.setdefault("sniffio", cast("ModuleType", None))

_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def clock() -> float:
    """Seconds on a clock that never goes back and, where there is one that does (Linux), runs on while the machine is suspended."""
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


@dataclass(frozen=True, slots=True)
class HealthAnswer:
    """How an API says it is. `status_code` is None where there was no answer."""

    status: Literal["OK", "WARNING", "CRITICAL"]
    status_code: int | None
    message: str


@dataclass(slots=True)
class _Answer:
    """A status, 0 while there is none, and as much of the body as came; `cut` says why that is not all of it."""

    status: int = 0
    etag: str | None = None
    body: bytes = b""
    cut: str | None = None


class _TooLateError(Exception):
    """The request's time to leave has passed."""


NOTHING_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""What says by itself that no byte left, from a transport that does not tell when one does."""


class _Departure:
    """
    Watches one request leave, through httpcore's `trace` extension.

    `latest` is the `clock()` after which nothing of it may leave any more; None: no matter when.
    """

    def __init__(self, latest: float | None, *, has_body: bool) -> None:
        self._latest = latest
        self._has_body = has_body
        self.left = False

    def check(self) -> None:
        if self._latest is not None and clock() > self._latest:
            raise _TooLateError

    async def trace(self, event: str, _: Mapping[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            # httpcore writes straight after this, without giving way to another task.
            self.check()
            self.left = True
        elif event == "http11.send_request_body.started" and self._has_body:
            self.check()


class ApiClient:
    """
    One API: its address, its tokens and its pool of at most `max_calls` connections.

    Belongs to the event loop it is first used in. `timeout_s` bounds each call as a whole, waiting for a place in
    the pool included. Raises BadInput for an address or a token that no request could carry.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None,
        service_token: str | None,
        timeout_s: float,
        max_calls: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        service_token = service_token.removeprefix("Bearer ").strip() if service_token else None
        self._secrets = tuple(secret for secret in (token, service_token) if secret)
        for secret in self._secrets:
            if not (secret.isascii() and secret.isprintable() and secret == secret.strip()):
                raise BadInput("API token: expected printable ASCII without spaces around it")
        headers = {"User-Agent": "dp-import-tracker", "Accept-Encoding": "identity"}
        if token:
            headers["Internal-token"] = token
        if service_token:
            headers["Authorization"] = f"Bearer {service_token}"
        self._base_url = _address(base_url)
        self._timeout_s = timeout_s
        # Instead of the pool's limit: a place is given back whatever becomes of the call.
        self._places = asyncio.Semaphore(max_calls)
        # Only httpcore tells when the first byte leaves; of any other transport it is assumed when it takes the request.
        self._traced = transport is None
        self._client = httpx.AsyncClient(
            transport=transport
            or httpx.AsyncHTTPTransport(
                verify=ssl.create_default_context(),
                # No proxy from the environment: one that repeats a PUT would count twice.
                trust_env=False,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=max_calls, keepalive_expiry=KEEP_ALIVE_S),
            ),
            headers=headers,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=None,  # noqa: S113 -- the call as a whole is bounded
            follow_redirects=False,
            trust_env=False,
        )

    async def get(
        self,
        path: str,
        read: Callable[[object, str | None], T],
        *,
        limit: int = ANSWER_LIMIT,
        not_found: Mapping[str, type[Permanent]] | None = None,
    ) -> T:
        """
        Return `read(decoded JSON, ETag)` of a 200; a ValueError of it means that the answer is none (Transient).

        `not_found` maps the text of a 404, in small letters, to the error it stands for.
        """
        answer = await self._exchange("GET", path, limit=limit)
        if answer.status != HTTPStatus.OK:
            if answer.status == HTTPStatus.NOT_FOUND and answer.cut is None and not_found:
                error = not_found.get(answer.body.decode("utf-8", "replace").strip().lower())
                if error:
                    raise error(self._say("GET", path, answer))
            if answer.status in TURNED_AWAY:
                raise TurnedAway(self._say("GET", path, answer), answer.status)
            raise Transient(self._say("GET", path, answer))
        if answer.cut is not None:
            raise Transient(f"{_short(f'GET {path}')}: 200, no answer: {answer.cut}")
        try:
            return read(json.loads(answer.body), answer.etag)
        except RecursionError:
            reason = "nested too deeply"
        except ValueError as error:
            reason = "not JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else str(error)
        raise Transient(f"{_short(f'GET {path}')}: 200, no answer: {reason}: {self._text(answer.body)}")

    async def put(self, path: str, body: Mapping[str, object] | None = None, *, etag: str | None = None, allowed_at: float) -> str | None:
        """
        Send one PUT, once, and return the ETag of its 200, None where there is none.

        `etag` goes out as `If-Match`, as it came. `allowed_at` is the `clock()` at which the call was decided on: no
        byte leaves later than one time-out after it. Raises NotSent, TurnedAway, Refused, OutcomeUnknown.
        """
        answer = await self._exchange("PUT", path, body, etag=etag, latest=allowed_at + self._timeout_s)
        if answer.status == HTTPStatus.OK:
            return answer.etag
        message = self._say("PUT", path, answer)
        text = answer.body.decode("utf-8", "replace").lower()
        # A refused change of state names the state it expected, which is not the one the instance has.
        published = answer.status == HTTPStatus.FORBIDDEN and "published" in text and "expected resource to have a state" not in text
        if answer.status == HTTPStatus.BAD_REQUEST or published:
            raise Refused(message, answer.status, published=published)
        if answer.status in TURNED_AWAY:
            raise TurnedAway(message, answer.status)
        raise OutcomeUnknown(message, answer.status)

    async def health(self) -> HealthAnswer:
        """Ask `/health`, and on 404 or 401 `/healthcheck` (2017): 200 is OK, 429 WARNING, all else CRITICAL. Never raises."""
        try:
            answer, path = await self._exchange("GET", "/health", limit=ANSWER_LIMIT), "/health"
            if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND}:
                answer, path = await self._exchange("GET", "/healthcheck", limit=ANSWER_LIMIT), "/healthcheck"
        except TrackerError as error:
            return HealthAnswer("CRITICAL", None, str(error))
        if answer.status == HTTPStatus.OK:
            return HealthAnswer("OK", answer.status, f"GET {path}: 200")
        degraded = answer.status == HTTPStatus.TOO_MANY_REQUESTS
        return HealthAnswer("WARNING" if degraded else "CRITICAL", answer.status, self._say("GET", path, answer))

    async def aclose(self) -> None:
        """Close the pool; calls under way are cut off."""
        await self._client.aclose()

    async def _exchange(
        self,
        method: Literal["GET", "PUT"],
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        etag: str | None = None,
        limit: int = ANSWER_LIMIT,
        latest: float | None = None,
    ) -> _Answer:
        """Send one request. Once a status is there it is returned, whatever happens to the body."""
        departure = _Departure(latest, has_body=body is not None)
        answer = _Answer()
        try:
            # Not asyncio.timeout: cancelled in its way, httpcore leaves connections open and never gives their places back.
            with anyio.fail_after(self._timeout_s):
                async with self._places:
                    departure.check()
                    request = self._request(method, path, body, etag, departure)
                    departure.left = not self._traced
                    response = await self._client.send(request, stream=True)
                    answer.status, answer.etag = response.status_code, _etag(response)
                    try:
                        with anyio.fail_after(PUT_BODY_S if method == "PUT" else None):
                            await _read_body(response, answer, limit)
                    finally:
                        await response.aclose()
        except Exception as error:
            # Whatever it is, what counts is whether there was a status, and if not, whether a byte may have left.
            what = self._describe(error)
            if not answer.status:
                message = f"{_short(f'{method} {path}')}: {what}"
                if not departure.left or (not self._traced and isinstance(error, NOTHING_LEFT)):
                    raise NotSent(message) from error
                raise (Transient(message) if method == "GET" else OutcomeUnknown(message)) from error
            answer.cut = answer.cut or what
        return answer

    def _request(self, method: str, path: str, body: Mapping[str, object] | None, etag: str | None, departure: _Departure) -> httpx.Request:
        headers = [(b"X-Request-Id", secrets.token_hex(10).encode())]
        if body is not None:
            headers.append((b"Content-Type", b"application/json"))
        if etag:
            headers.append((b"If-Match", etag.encode("latin-1")))
        content = None if body is None else json.dumps(body).encode()
        return self._client.build_request(
            method, self._base_url + path, headers=headers, content=content, extensions={"trace": departure.trace}
        )

    def _describe(self, error: BaseException) -> str:
        if isinstance(error, _TooLateError):
            return "too late to be sent"
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout_s:g} s"
        return self._text(str(error).encode()) or type(error).__name__

    def _say(self, method: str, path: str, answer: _Answer) -> str:
        return f"{_short(f'{method} {path}')}: {answer.status} {self._text(answer.body)}".rstrip()

    def _text(self, body: bytes) -> str:
        """Make the start of a body one printable line without our tokens."""
        text = body[: 10 * TEXT_LIMIT].decode("utf-8", "replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _short(" ".join("".join(letter if letter.isprintable() else " " for letter in text).split()))


def segment(name: str, unknown: type[Permanent]) -> str:
    """Quote an id as one segment of a path. Raises `unknown` for one that no path can name."""
    try:
        quoted = quote(name, safe="")
    except UnicodeEncodeError:
        quoted = ""
    if quoted in {"", ".", ".."} or len(quoted) > SEGMENT_LIMIT:
        raise unknown(f"{_short(repr(name))}: no id that a URL can carry")
    return quoted


def member(value: object, *names: str) -> object:
    """Return the member at the end of a path of names, None where there is none on the way."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def text_of(value: object, *names: str) -> str:
    """Return a string member, "" where there is none. Raises ValueError for anything else, and for what is not Unicode text."""
    found = member(value, *names)
    if found is None:
        return ""
    if isinstance(found, str):
        try:
            found.encode()
        except UnicodeEncodeError:
            pass
        else:
            return found
    raise ValueError(f"{'.'.join(names)} is no text")


def short_text(value: object, *names: str) -> str:
    """
    Return an id, a state or the name of a dimension, "" where there is none.

    Raises ValueError for anything else, and for a longer one than ids that records and people may name: it would be kept in Redis and in
    every answer.
    """
    found = text_of(value, *names)
    if len(found) > MAX_ID_CHARACTERS:
        raise ValueError(f"{'.'.join(names)} is {len(found)} characters long, more than {MAX_ID_CHARACTERS}")
    return found


def whole_number(value: object, *names: str) -> int | None:
    """Return an integer member of up to 64 bits, None where there is none. Raises ValueError for anything else."""
    found = member(value, *names)
    if found is None:
        return None
    if isinstance(found, float) and found.is_integer() and abs(found) < 2**53:
        found = int(found)
    if isinstance(found, int) and not isinstance(found, bool) and -(2**63) <= found < 2**63:
        return found
    raise ValueError(f"{'.'.join(names)} is no whole number")


def read_listing(value: object, read: Callable[[object], T]) -> tuple[tuple[T, ...], int | None, int]:
    """
    Read a listing, a bare array or an object with `items`: what could be read, the total, how much could not.

    The total is None from an API that does not page. Raises ValueError where this is no listing.
    """
    entries: object = value
    total: int | None = None
    if isinstance(value, dict):
        if "items" not in value:
            raise ValueError("no items")
        entries = [] if value["items"] is None else value["items"]
        total = whole_number(value, "total_count")
        if total is None and value.keys() & {"count", "offset", "limit", "total_count"}:
            raise ValueError("a page without total_count")
    if not isinstance(entries, list):
        raise ValueError("no listing")  # noqa: TRY004 -- the answer's fault, not the caller's
    items: list[T] = []
    for entry in entries:
        try:
            items.append(read(entry))
        except ValueError:
            continue
    return tuple(items), total, len(entries) - len(items)


async def _read_body(response: httpx.Response, answer: _Answer, limit: int) -> None:
    body = bytearray()
    try:
        # Not decompressed: we ask for plain bodies, and a small compressed one may be of any size.
        async for piece in cast("httpx.AsyncByteStream", response.stream):
            body += piece
            if len(body) > limit:
                answer.cut = f"longer than {limit} bytes"
                break
    finally:
        answer.body = bytes(body)


def _etag(response: httpx.Response) -> str | None:
    """Return the ETag byte for byte. `*` is none: as `If-Match` it would match anything."""
    for name, value in response.headers.raw:
        if name.lower() == b"etag":
            etag = value.decode("latin-1")
            return None if etag in {"", "*"} else etag
    return None


def _address(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise BadInput(f"API address {_short(repr(base_url))}: expected http://host:port or https://host:port")
    return base_url.rstrip("/")


def _short(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
