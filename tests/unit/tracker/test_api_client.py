"""One request and what becomes of its answer, over a transport in memory. What needs a socket is in tests/contract."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import unquote

import httpx
import pytest

from tracker.api_client import ANSWER_LIMIT, ApiClient, HealthAnswer, clock, segment
from tracker.errors import BadInput, NotSent, OutcomeUnknown, Refused, TrackerError, Transient, TurnedAway, UnknownInstance

T = TypeVar("T")

Handler = Callable[[httpx.Request], httpx.Response]

TOKEN = "internal-secret"
SERVICE_TOKEN = "service-secret"


def call(
    handler: Handler,
    use: Callable[[ApiClient], Coroutine[Any, Any, T]],
    *,
    token: str | None = None,
    service_token: str | None = None,
    timeout_s: float = 5.0,
) -> T:
    async def run() -> T:
        transport = httpx.MockTransport(handler)
        api = ApiClient("http://api", token=token, service_token=service_token, timeout_s=timeout_s, max_calls=2, transport=transport)
        try:
            return await use(api)
        finally:
            await api.aclose()

    return asyncio.run(run())


def get(handler: Handler, **client: Any) -> object:
    return call(handler, lambda api: api.get("/things/1", lambda value, _: value, not_found={"thing not found": UnknownInstance}), **client)


def put(
    handler: Handler, body: dict[str, object] | None = None, etag: str | None = None, *, age_s: float = 0.0, **client: Any
) -> str | None:
    return call(handler, lambda api: api.put("/things/1", body, etag=etag, allowed_at=clock() - age_s), **client)


def answering(status: int, text: str | bytes = "", **headers: str) -> Handler:
    return lambda _: httpx.Response(status, content=text, headers=headers)


def raising(error: Exception) -> Handler:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error

    return handler


class Recorder:
    """Keeps the requests and answers each with an empty 200."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, headers={"Set-Cookie": "a=b"})


def test_both_tokens_go_out_each_in_its_header() -> None:
    seen = Recorder()
    put(seen, token=TOKEN, service_token=SERVICE_TOKEN)
    assert seen.requests[0].headers["Internal-token"] == TOKEN
    assert seen.requests[0].headers["Authorization"] == f"Bearer {SERVICE_TOKEN}"


def test_a_service_token_that_already_says_bearer_says_it_once() -> None:
    seen = Recorder()
    put(seen, service_token=f"Bearer {SERVICE_TOKEN}")
    assert seen.requests[0].headers.get_list("Authorization") == [f"Bearer {SERVICE_TOKEN}"]


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_tokens_no_header_is_sent(nothing: str | None) -> None:
    seen = Recorder()
    put(seen, token=nothing, service_token=nothing)
    assert not {"internal-token", "authorization", "if-match", "content-type"} & seen.requests[0].headers.keys()


def test_only_a_body_has_a_content_type() -> None:
    seen = Recorder()
    put(seen, {"state": "completed"})
    put(seen)
    assert seen.requests[0].headers["Content-Type"] == "application/json"
    assert seen.requests[0].content == b'{"state": "completed"}'
    assert seen.requests[1].headers["Content-Length"] == "0"


def test_each_request_has_an_id_of_its_own_and_brings_no_cookie_back() -> None:
    seen = Recorder()

    async def twice(api: ApiClient) -> None:
        await api.put("/things/1", allowed_at=clock())
        await api.put("/things/1", allowed_at=clock())

    call(seen, twice)
    first, second = seen.requests
    assert len(first.headers["X-Request-Id"]) == 20
    assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
    assert "cookie" not in second.headers


@pytest.mark.parametrize("etag", ["3f2a", '"3f2a"', 'W/"3f2a"', "é 1"])
def test_an_etag_goes_back_byte_for_byte_as_it_came(etag: str) -> None:
    raw = etag.encode("latin-1")
    assert put(lambda _: httpx.Response(200, headers=[(b"ETag", raw)])) == etag
    seen = Recorder()
    put(seen, etag=etag)
    assert dict(seen.requests[0].headers.raw)[b"If-Match"] == raw


@pytest.mark.parametrize("etag", ["", "*"])
def test_an_etag_that_would_match_anything_is_none(etag: str) -> None:
    assert put(answering(200, ETag=etag)) is None


def test_a_200_without_etag_gives_none() -> None:
    assert put(answering(200)) is None


@pytest.mark.parametrize("status", [201, 202, 204, 301, 302, 307, 404, 405, 409, 412, 413, 500, 502, 503, 504])
def test_a_put_that_is_neither_200_nor_clearly_refused_is_of_unknown_outcome(status: int) -> None:
    with pytest.raises(OutcomeUnknown) as raised:
        put(answering(status, "some text\n", Location="http://elsewhere/"))
    assert raised.value.status == status
    assert str(raised.value) == f"PUT /things/1: {status} some text"


@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_put_turned_away_has_done_nothing(status: int) -> None:
    with pytest.raises(TurnedAway, match=f"PUT /things/1: {status}") as raised:
        put(answering(status))
    assert raised.value.status == status


def test_a_refused_change_of_state_is_turned_away_with_its_text() -> None:
    text = "unable to update resource, expected resource to have a state of edition-confirmed or published"
    with pytest.raises(TurnedAway, match="expected resource to have a state"):
        put(answering(403, text))


def test_a_400_is_refused() -> None:
    with pytest.raises(Refused, match="PUT /things/1: 400 bad request - invalid") as raised:
        put(answering(400, "bad request - invalid\n"))
    assert not raised.value.published


def test_a_published_instance_is_refused_as_such() -> None:
    with pytest.raises(Refused) as raised:
        put(answering(403, "unable to update resource as it has been published\n"))
    assert raised.value.published


def test_a_put_older_than_one_time_out_is_not_sent() -> None:
    seen = Recorder()
    with pytest.raises(NotSent, match="too late to be sent"):
        put(seen, age_s=5.1, timeout_s=5.0)
    put(seen, age_s=4.0, timeout_s=5.0)
    assert len(seen.requests) == 1


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ConnectTimeout(""), httpx.PoolTimeout("")])
def test_without_a_connection_nothing_was_sent(error: Exception) -> None:
    with pytest.raises(NotSent):
        put(raising(error))
    with pytest.raises(NotSent):
        get(raising(error))


@pytest.mark.parametrize(
    "error", [httpx.ReadError("reset"), httpx.ReadTimeout(""), httpx.WriteError(""), httpx.RemoteProtocolError("cut"), RuntimeError("odd")]
)
def test_any_other_failure_leaves_a_put_unknown_and_a_get_to_be_repeated(error: Exception) -> None:
    with pytest.raises(OutcomeUnknown, match=str(error) or type(error).__name__):
        put(raising(error))
    with pytest.raises(Transient) as raised:
        get(raising(error))
    assert type(raised.value) is Transient


def test_a_put_whose_answer_stays_away_is_of_unknown_outcome() -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    with pytest.raises(OutcomeUnknown, match=r"no answer within 0\.02 s"):
        put(never, timeout_s=0.02)  # type: ignore[arg-type]


def test_a_put_that_never_got_a_place_among_the_calls_was_not_sent() -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async def three(api: ApiClient) -> list[type[BaseException]]:
        calls = (api.put("/things/1", allowed_at=clock()) for _ in range(3))
        return [type(result) for result in await asyncio.gather(*calls, return_exceptions=True) if isinstance(result, BaseException)]

    assert call(never, three, timeout_s=0.05) == [OutcomeUnknown, OutcomeUnknown, NotSent]  # type: ignore[arg-type]


def test_cancelling_a_call_from_outside_stays_a_cancellation() -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async def cancelled(api: ApiClient) -> bool:
        task = asyncio.create_task(api.put("/things/1", allowed_at=clock()))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert call(never, cancelled)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["thing not found", "Thing Not Found\n"])
def test_a_404_in_the_apis_own_words_says_that_there_is_no_such_thing(text: str) -> None:
    with pytest.raises(UnknownInstance, match="GET /things/1: 404"):
        get(answering(404, text))


@pytest.mark.parametrize("text", ["", "404 page not found\n", "<html>thing not found</html>", "thing not found in this zone"])
def test_any_other_404_may_pass(text: str) -> None:
    with pytest.raises(Transient, match="404"):
        get(answering(404, text))


@pytest.mark.parametrize("status", [201, 204, 302, 400, 409, 500, 503])
def test_a_get_that_is_not_200_may_pass(status: int) -> None:
    with pytest.raises(Transient) as raised:
        get(answering(status, '{"id": "1"}', Location="/things/2"))
    assert type(raised.value) is Transient


@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_get_turned_away_says_so(status: int) -> None:
    with pytest.raises(TurnedAway):
        get(answering(status))


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"\xff\xfe\xff", b"[" * 200_000, b'{"a": ' * 200_000, b"9" * 5_000, b'"\xff"'])
def test_a_200_that_is_not_json_is_no_answer(body: bytes) -> None:
    with pytest.raises(Transient, match="GET /things/1: 200, no answer"):
        get(answering(200, body))


def test_a_get_longer_than_the_limit_is_no_answer_and_a_put_is_still_its_status() -> None:
    sent = []

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                sent.append(1)
                yield b" " * 100_000

    with pytest.raises(Transient, match=f"longer than {ANSWER_LIMIT} bytes"):
        get(lambda _: httpx.Response(200, stream=Endless()))
    assert put(lambda _: httpx.Response(200, stream=Endless(), headers={"ETag": "e"})) == "e"
    with pytest.raises(TurnedAway):
        put(lambda _: httpx.Response(403, stream=Endless()))
    assert len(sent) < 40


def test_a_put_whose_answer_breaks_off_in_the_body_is_still_its_status() -> None:
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"some"
            raise httpx.ReadError("cut")

    assert put(lambda _: httpx.Response(200, stream=Broken(), headers={"ETag": "e"})) == "e"
    with pytest.raises(Refused, match="400 some"):
        put(lambda _: httpx.Response(400, stream=Broken()))
    with pytest.raises(Transient, match="no answer: cut"):
        get(lambda _: httpx.Response(200, stream=Broken()))


def test_an_errors_text_is_one_printable_line_of_bounded_length() -> None:
    with pytest.raises(Transient) as raised:
        get(answering(500, b"<html>\r\n\t<b>\x00\x1b[31mno\xff" + b"x" * 5_000))
    text = str(raised.value)
    assert text.startswith("GET /things/1: 500 <html> <b> [31mno\ufffdx")
    assert text.isprintable()
    assert len(text) < 240


def test_no_error_shows_a_token_even_where_the_api_echoes_it() -> None:
    echo = answering(500, f"your headers: Internal-token: {TOKEN}, Authorization: Bearer {SERVICE_TOKEN}")
    with pytest.raises(TrackerError) as raised:
        put(echo, token=TOKEN, service_token=SERVICE_TOKEN)
    assert "secret" not in str(raised.value)
    assert "Internal-token: ***" in str(raised.value)


@pytest.mark.parametrize("token", ["a\nb", "a\r\nX: y", "é", " token7", "a\x00"])
def test_a_token_that_no_header_can_carry_is_refused_at_once_and_not_shown(token: str) -> None:
    with pytest.raises(BadInput) as raised:
        put(Recorder(), token=token)
    assert token not in str(raised.value)


@pytest.mark.parametrize("address", ["", "localhost:22000", "ftp://host", "http://", "http://host:port", "http://host?x=1", "http://h\x00"])
def test_an_address_that_is_none_is_refused_at_once(address: str) -> None:
    with pytest.raises(BadInput, match="expected http://host:port"):
        ApiClient(address, token=None, service_token=None, timeout_s=1, max_calls=1)


@pytest.mark.parametrize("address", ["http://host:1/under", "http://host:1/under/"])
def test_an_address_may_have_a_path(address: str) -> None:
    seen = Recorder()

    async def run() -> None:
        api = ApiClient(address, token=None, service_token=None, timeout_s=1, max_calls=1, transport=httpx.MockTransport(seen))
        await api.put("/things/1", allowed_at=clock())

    asyncio.run(run())
    assert str(seen.requests[0].url) == "http://host:1/under/things/1"


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800", "x" * 10_000])
def test_an_id_that_no_url_can_name_is_an_unknown_one(name: str) -> None:
    with pytest.raises(UnknownInstance):
        segment(name, UnknownInstance)


def test_an_id_is_quoted_as_one_segment() -> None:
    assert segment("../a b?c#d%/é", UnknownInstance) == "..%2Fa%20b%3Fc%23d%25%2F%C3%A9"


@pytest.mark.parametrize(
    "name", ["../../jobs/1", "..%2F1", "a%2Fb", "a?state=completed", "a#b", "a;b", "ü/ß", "a\r\nHost: b", "a\\..\\b", "//b", "%00"]
)
def test_a_hostile_id_reaches_the_wire_as_one_segment_of_its_own_path(name: str) -> None:
    sent: list[bytes] = []

    def seen(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.raw_path)
        assert request.url.host == "host"
        return httpx.Response(200)

    async def run() -> None:
        api = ApiClient("http://host:1", token=None, service_token=None, timeout_s=1, max_calls=1, transport=httpx.MockTransport(seen))
        await api.put(f"/instances/{segment(name, UnknownInstance)}/inserted_observations/1", allowed_at=clock())

    asyncio.run(run())
    root, instances, name_sent, *after = sent[0].split(b"/")
    assert [root, instances, *after] == [b"", b"instances", b"inserted_observations", b"1"]
    assert unquote(name_sent.decode()) == name
    assert name_sent.isascii()
    assert not set(name_sent) & set(b"?#\r\n /\\")


@pytest.mark.parametrize(
    "statuses, expected",
    [
        ({"/health": 200}, HealthAnswer("OK", 200, "GET /health: 200")),
        ({"/health": 429}, HealthAnswer("WARNING", 429, "GET /health: 429 so so")),
        ({"/health": 500}, HealthAnswer("CRITICAL", 500, "GET /health: 500 so so")),
        ({"/health": 404, "/healthcheck": 200}, HealthAnswer("OK", 200, "GET /healthcheck: 200")),
        ({"/health": 401, "/healthcheck": 404}, HealthAnswer("CRITICAL", 404, "GET /healthcheck: 404 so so")),
    ],
)
def test_health_is_asked_at_the_new_path_and_then_at_the_old(statuses: dict[str, int], expected: HealthAnswer) -> None:
    assert call(lambda request: httpx.Response(statuses[request.url.path], text="so so\n"), lambda api: api.health()) == expected


def test_health_without_an_answer_is_critical() -> None:
    assert call(raising(httpx.ConnectError("refused")), lambda api: api.health()) == HealthAnswer("CRITICAL", None, "GET /health: refused")


def test_the_clock_does_not_stand_still_and_never_goes_back() -> None:
    readings = [clock() for _ in range(1_000)]
    assert readings == sorted(readings)
    assert clock() >= readings[0]
