"""
The clients over real sockets that misbehave: refused, cut, silent, slow, endless.

What must be right in every case is one thing: NotSent only where no byte of the request can have reached the server.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, cast

import httpx
import pytest

from tracker import api_client
from tracker.api_client import ApiClient, clock
from tracker.dataset_api import DatasetApi
from tracker.errors import NotSent, OutcomeUnknown, TrackerError, Transient

T = TypeVar("T")

OK = b"HTTP/1.1 200 OK\r\nETag: e\r\nContent-Length: 0\r\n\r\n"


class Server:
    """A socket that reads requests and lets `behave` do what it wants with the connection."""

    def __init__(self, behave: Callable[["Server", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        self.behave = behave
        self.requests: list[bytes] = []
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            await self.behave(self, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        request = head + await reader.readexactly(length)
        self.requests.append(request)
        return request

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(
    behave: Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], *, timeout_s: float = 5.0, max_calls: int = 2
) -> AsyncIterator[tuple[Server, ApiClient]]:
    server = Server(behave)
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0, limit=1 << 20)
    address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    api = ApiClient(address, token=None, service_token=None, timeout_s=timeout_s, max_calls=max_calls)
    try:
        yield server, api
    finally:
        await api.aclose()
        listener.close()
        await server.stop()


async def failure_of(call: Awaitable[object]) -> TrackerError:
    with pytest.raises(TrackerError) as raised:
        await call
    return raised.value


def put(api: ApiClient, *, body: dict[str, object] | None = None, allowed_at: float | None = None) -> Awaitable[str | None]:
    return api.put("/things/1", body, etag="e", allowed_at=clock() if allowed_at is None else allowed_at)


def get(api: ApiClient, limit: int = api_client.ANSWER_LIMIT) -> Awaitable[object]:
    return api.get("/things/1", lambda value, _: value, limit=limit)


async def answer_all(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await server.read_request(reader)
        writer.write(OK)


async def never_answer(server: Server, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await server.read_request(reader)
    await asyncio.sleep(60)


async def cut_after_reading(server: Server, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await server.read_request(reader)


async def reset_after_reading(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.read_request(reader)
    writer.transport.abort()


async def half_a_status_line(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.read_request(reader)
    writer.write(b"HTTP/1.1 20")


async def no_http(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.read_request(reader)
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def endless_headers(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: " + b"x" * 1_000 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize("behave", [cut_after_reading, reset_after_reading, half_a_status_line, no_http, endless_headers])
def test_a_connection_that_breaks_after_the_request_leaves_a_put_unknown(
    behave: Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> None:
    async def run() -> None:
        async with serving(behave) as (server, api):
            assert isinstance(await failure_of(put(api)), OutcomeUnknown)
            assert isinstance(await failure_of(put(api, body={"state": "completed"})), OutcomeUnknown)
            assert type(await failure_of(get(api))) is Transient
            assert len(server.requests) == 3, "each was sent once, and none was repeated"

    asyncio.run(run())


def test_a_refused_connection_sent_nothing() -> None:
    async def run() -> None:
        listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        await listener.wait_closed()
        api = ApiClient(f"http://127.0.0.1:{port}", token=None, service_token=None, timeout_s=5, max_calls=2)
        assert isinstance(await failure_of(put(api)), NotSent)
        assert isinstance(await failure_of(get(api)), NotSent)
        assert (await api.health()).status == "CRITICAL"
        await api.aclose()

    asyncio.run(run())


def test_a_name_that_does_not_resolve_sent_nothing() -> None:
    async def run() -> None:
        api = ApiClient("http://nowhere.invalid", token=None, service_token=None, timeout_s=10, max_calls=2)
        assert isinstance(await failure_of(put(api)), NotSent)
        await api.aclose()

    asyncio.run(run())


def test_a_server_that_stays_silent_ends_with_the_time_out_and_is_unknown() -> None:
    async def run() -> None:
        async with serving(never_answer, timeout_s=0.3) as (server, api):
            began = clock()
            assert isinstance(await failure_of(put(api)), OutcomeUnknown)
            assert 0.25 < clock() - began < 1.5
            assert type(await failure_of(get(api))) is Transient
            assert len(server.requests) == 2

    asyncio.run(run())


def test_waiting_for_a_place_in_the_pool_until_the_time_out_sent_nothing() -> None:
    async def run() -> None:
        async with serving(never_answer, timeout_s=0.4, max_calls=1) as (server, api):
            first, second = await asyncio.gather(failure_of(put(api)), failure_of(put(api)))
            assert isinstance(first, OutcomeUnknown)
            assert isinstance(second, NotSent)
            assert len(server.requests) == 1

    asyncio.run(run())


def test_no_more_connections_than_allowed_and_they_are_kept() -> None:
    async def run() -> None:
        async with serving(answer_all, max_calls=2) as (server, api):
            await asyncio.gather(*(put(api) for _ in range(50)))
            assert server.connections == 2
            assert len(server.requests) == 50

    asyncio.run(run())


def test_the_pool_recovers_from_any_number_of_calls_given_up() -> None:
    """A place in the pool that a cancelled call never gives back would bring all pushes to a standstill."""

    async def run() -> None:
        patient = asyncio.Event()

        async def slow_at_first(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if not patient.is_set():
                await never_answer(server, reader, writer)
            await answer_all(server, reader, writer)

        async with serving(slow_at_first, timeout_s=0.05, max_calls=2) as (_, api):
            for _ in range(10):
                await asyncio.gather(*(failure_of(put(api)) for _ in range(6)))
            tasks = [asyncio.ensure_future(put(api)) for _ in range(6)]
            await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            patient.set()
            api._timeout_s = 5.0
            assert await asyncio.gather(*(put(api) for _ in range(6))) == ["e"] * 6

    asyncio.run(run())


def test_calls_that_time_out_leave_no_connection_behind() -> None:
    async def moody(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read_request(reader)
            await asyncio.sleep(0.003 * (len(server.requests) % 3))
            writer.write(OK)

    async def run() -> None:
        async with serving(moody, max_calls=3) as (_, api):
            pool = cast("httpx.AsyncHTTPTransport", api._client._transport)._pool
            for round_number in range(120):
                api._timeout_s = (0.0005, 0.001, 0.002, 0.004, 0.008, 5.0)[round_number % 6]
                await asyncio.gather(*(put(api) for _ in range(5)), return_exceptions=True)
            api._timeout_s = 5.0
            assert await put(api) == "e"
            assert len(pool.connections) <= 3

    asyncio.run(run())


def test_a_put_that_waited_too_long_for_its_place_leaves_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its age is looked at where the first byte leaves, not where the call begins: a stopped process wakes in between."""

    async def run() -> None:
        async with serving(answer_all, timeout_s=5.0) as (server, api):
            await put(api)
            ahead_s = 0.0
            monkeypatch.setattr(api_client, "clock", lambda: clock() + ahead_s)
            send = api._client.send

            async def sleep_through(*args: object, **kwargs: object) -> object:
                nonlocal ahead_s
                ahead_s = 6.0
                return await send(*args, **kwargs)  # type: ignore[arg-type]

            monkeypatch.setattr(api._client, "send", sleep_through)
            assert isinstance(await failure_of(put(api)), NotSent)
            assert isinstance(await failure_of(put(api, body={"state": "completed"})), NotSent)
            await get_ignoring_body(api)
            assert [request.split()[0] for request in server.requests] == [b"PUT", b"GET"], "a GET may be as old as it likes"

    asyncio.run(run())


async def get_ignoring_body(api: ApiClient) -> None:
    with pytest.raises(Transient, match="not JSON"):
        await get(api)


def test_a_body_that_would_leave_too_late_does_not_and_the_outcome_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with serving(never_answer, timeout_s=5.0) as (server, api):
            readings = iter([0.0, 0.0, 6.0])
            monkeypatch.setattr(api_client, "clock", lambda: next(readings))
            assert isinstance(await failure_of(put(api, body={"state": "completed"}, allowed_at=0.0)), OutcomeUnknown)
            await asyncio.sleep(0.05)
            assert server.requests == [], "headers without their body are no request"

    asyncio.run(run())


def test_a_kept_connection_that_the_server_has_closed_is_replaced_unseen() -> None:
    async def one_answer(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        writer.write(OK)
        await writer.drain()

    async def run() -> None:
        async with serving(one_answer) as (server, api):
            for _ in range(5):
                assert await put(api) == "e"
                await asyncio.sleep(0.02)
            assert server.connections == 5

    asyncio.run(run())


def test_a_kept_connection_that_closes_on_the_next_request_leaves_it_unknown() -> None:
    async def one_answer_and_a_half(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read_request(reader)
        writer.write(OK)
        await server.read_request(reader)

    async def run() -> None:
        async with serving(one_answer_and_a_half) as (_, api):
            assert await put(api) == "e"
            assert isinstance(await failure_of(put(api)), OutcomeUnknown)
            assert await put(api) == "e"

    asyncio.run(run())


async def drip(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer 200 at once and its body a byte at a time, for ever."""
    while True:
        await server.read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nETag: e\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)


async def flood(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer 200 and a body without end."""
    await server.read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nETag: e\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
        await writer.drain()


def test_a_body_that_drips_does_not_hold_a_put_and_holds_a_get_no_longer_than_its_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_client, "PUT_BODY_S", 0.1)

    async def run() -> None:
        async with serving(drip, timeout_s=0.6) as (_, api):
            began = clock()
            assert await put(api) == "e"
            assert clock() - began < 0.5
            assert "no answer within" in str(await failure_of(get(api)))
            assert clock() - began < 3

    asyncio.run(run())


def test_a_body_without_end_is_left_unread() -> None:
    async def run() -> None:
        async with serving(flood) as (server, api):
            assert await put(api) == "e"
            assert "longer than 1000000 bytes" in str(await failure_of(get(api)))
            assert "longer than 5000000 bytes" in str(await failure_of(get(api, limit=5_000_000)))
            assert server.connections == 3, "a connection with an unread body is not used again"

    asyncio.run(run())


def test_a_listing_of_ten_megabytes_is_read_and_an_instance_of_that_size_is_not() -> None:
    instances = [{"id": f"i-{number}", "state": "submitted", "alerts": ["x" * 850]} for number in range(11_000)]
    listing = json.dumps({"items": instances}).encode()
    assert len(listing) > 9_900_000

    async def big(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(listing) + listing)
            await writer.drain()

    async def run() -> None:
        async with serving(big) as (_, client):
            api = DatasetApi(client._base_url, token=None, service_token=None, timeout_s=10, max_calls=2)
            page = await api.list_instances("submitted", 0, 1000)
            assert (len(page.items), page.total, page.unreadable) == (11_000, None, 0)
            assert "longer than" in str(await failure_of(api.get_instance("i-1")))
            await api.aclose()

    asyncio.run(run())


def test_a_redirect_is_not_followed() -> None:
    async def redirect(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read_request(reader)
            writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /things/2\r\nContent-Length: 0\r\n\r\n")

    async def run() -> None:
        async with serving(redirect) as (server, api):
            failure = await failure_of(put(api))
            assert isinstance(failure, OutcomeUnknown)
            assert failure.status == 307
            assert type(await failure_of(get(api))) is Transient
            assert len(server.requests) == 2

    asyncio.run(run())


def test_interim_answers_are_no_answer() -> None:
    async def interim(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read_request(reader)
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK)

    async def run() -> None:
        async with serving(interim) as (_, api):
            assert await put(api) == "e"

    asyncio.run(run())


def test_headers_reach_the_wire_as_the_apis_expect_them() -> None:
    async def run() -> None:
        async with serving(answer_all) as (server, client):
            api = ApiClient(client._base_url + "/", token="tok", service_token="Bearer srv", timeout_s=5, max_calls=1)
            await api.put("/things/a%2Fb", {"state": "completed"}, etag="3f2a", allowed_at=clock())
            await api.aclose()
            head, body = server.requests[0].split(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            assert lines[0] == b"PUT /things/a%2Fb HTTP/1.1"
            for line in (b"Internal-token: tok", b"Authorization: Bearer srv", b"If-Match: 3f2a", b"Content-Type: application/json"):
                assert line in lines
            assert body == b'{"state": "completed"}'

    asyncio.run(run())
