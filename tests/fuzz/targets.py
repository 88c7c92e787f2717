"""
What foreign input can reach, each as a function of random bytes that fails when something is not as it must be.

A target raises AssertionError, or whatever has escaped; it returns when the input was taken or refused in good order.
"""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from random import Random
from typing import Any

import httpx
import redis

from sandbox.publishers import encode_file, encode_inserted
from tests.contract.batches import P0
from tests.fuzz.mutation import body, edit, mutate
from tracker import dotenv, settings
from tracker.api_client import clock
from tracker.dataset_api import DatasetApi
from tracker.decoding import decode_file_available, decode_inserted
from tracker.errors import BadInput, LedgerUnavailable, TrackerError
from tracker.events import MAX_COUNT, Batch, ObservationsInserted, Undecodable, pack
from tracker.import_api import ImportApi
from tracker.ledger import Ledger
from tracker.ledger_scripts import connect
from tracker.ledger_state import PartitionStart
from tracker.settings import Settings

LONGEST_LINE = 2000
"""Characters of an error that a person can still read."""

Target = Callable[[Random], None]


def one_line(error: Exception) -> None:
    """An error is something to read: a line, not a body and not a traceback."""
    text = str(error)
    assert text, type(error)
    assert len(text) <= LONGEST_LINE, len(text)
    assert text.isprintable(), text


# -- Kafka's bytes --

VALUES = (
    encode_inserted("iid-1", 1000),
    encode_inserted("é" * 100, 2**31 - 1),
    encode_inserted("iid-1", -1),
    encode_file("iid-1", "jid-1", "s3://b/f.csv"),
    encode_file("iid-1", None, "s3://b/f.csv"),
    b"",
)


def decoding(random: Random) -> None:
    """A value is an event within its bounds, or a dead letter with its very bytes; a batch can carry either."""
    value = mutate(random.choice(VALUES), random) if random.randrange(4) else random.randbytes(random.randrange(80))
    for kind, decode in (("counts", decode_inserted), ("registrations", decode_file_available)):
        event = decode(value)
        if isinstance(event, Undecodable):
            assert event.raw == value
            one_line(ValueError(event.reason))
        else:
            assert event.instance_id not in {"", ".", ".."}
            event.instance_id.encode()
            if isinstance(event, ObservationsInserted):
                assert 0 <= event.count <= MAX_COUNT
        payload, records = pack("counts" if kind == "counts" else "registrations", 7, [(7, value)], decode)
        assert records == 1
        json.loads(payload)


# -- the APIs' answers --

INSTANCE = {
    "id": "i-1",
    "state": "submitted",
    "links": {"job": {"id": "j-1", "href": "http://localhost/jobs/j-1"}},
    "total_observations": 10,
    "total_inserted_observations": 5,
    "import_tasks": {
        "import_observations": {"total_inserted_observations": 5, "state": "created"},
        "build_hierarchies": [{"dimension_name": "geography", "code_list_id": "c", "state": "created"}],
        "build_search_indexes": None,
    },
}
JOB = {"id": "j-1", "state": "submitted", "links": {"instances": [{"id": "i-1", "href": ""}, {"id": "i-2", "href": ""}]}}
DOCUMENTS = (
    INSTANCE,
    JOB,
    {"items": [INSTANCE, INSTANCE], "count": 2, "offset": 0, "limit": 1000, "total_count": 2},
    [JOB],
    {"items": None},
)


class _Pieces(httpx.AsyncByteStream):
    """A body in pieces; an endless one goes on as long as it is read, and counts how long that is."""

    def __init__(self, content: bytes, *, endless: bool) -> None:
        self.content = content or b"x"
        self.endless = endless
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.sent += len(self.content)
            yield self.content
            if not self.endless:
                return


def answers(random: Random) -> None:
    """Whatever an API answers, a client gives a value or one of our errors, and reads no more than its limit."""
    asyncio.run(_answers(random))


async def _answers(random: Random) -> None:
    stream = _Pieces(body(DOCUMENTS, random), endless=random.randrange(20) == 0)
    status = random.choice((200, 200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 409, 429, 500, 503, 599))
    etag = random.choice((None, "abc", "*", "", '"q"', "é"))

    def answer(_: httpx.Request) -> httpx.Response:
        headers = [(b"etag", etag.encode("latin-1"))] if etag is not None else []
        return httpx.Response(status, headers=headers, stream=stream)

    options: dict[str, Any] = {"token": "secret-token", "service_token": None, "timeout_s": 5.0, "max_calls": 1}
    dataset = DatasetApi("http://api", transport=httpx.MockTransport(answer), **options)
    imports = ImportApi("http://api", transport=httpx.MockTransport(answer), **options)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: dataset.get_instance("i-1"),
        lambda: dataset.list_instances("submitted", 0, 1000),
        lambda: dataset.add_inserted("i-1", 5, "abc", allowed_at=clock()),
        lambda: dataset.put_state("i-1", "completed", None, allowed_at=clock()),
        lambda: imports.get_job("j-1"),
        lambda: imports.list_jobs("submitted", 0, 1000),
        lambda: imports.put_state("j-1", "completed", allowed_at=clock()),
    )
    try:
        await random.choice(calls[:1] + calls[2:5] + calls[6:] if stream.endless else calls)()
    except TrackerError as error:
        one_line(error)
        if "secret-token" in str(error):
            raise AssertionError("a token is told") from error
    finally:
        await dataset.aclose()
        await imports.aclose()
    assert stream.sent <= 2_000_000 + len(stream.content)


# -- settings --

NAMES = [settings.env_name(field) for field in Settings.model_fields]
GOOD = (
    "10s",
    "1m30s",
    "true",
    "localhost:9092,b:1",
    "http://h:1/p",
    "redis://:pw@h:6379/0",
    "100",
    ":21300",
    "[::1]:80",
    "a-topic",
    "INFO",
)


def environment(random: Random) -> None:
    """Any text for any setting is a value, or one line for each mistake."""
    given = {}
    for name in random.sample(NAMES, random.choice((1, 1, 2, 5))):
        given[name] = mutate(random.choice(GOOD).encode(), random).replace(b"\0", b"").decode("utf-8", "surrogateescape")
    try:
        found = settings.load(given)
    except BadInput as error:
        lines = str(error).split("\n")
        assert len(lines) <= len(given) + 2, lines
        for line in lines:
            one_line(ValueError(line))
            assert re.search(r"\bexpected ", line), line
    else:
        for row in settings.describe(found):
            row.value.encode("utf-8", "surrogateescape")


DOTENV = b"# a comment\nA=host=db user='x y'\n\nB='a # b'\nC=\"$d\"\nSYNC_INTERVAL=5s\n"


def dotenv_file(random: Random) -> None:
    """Any text is values that stand in it as they are, or one line for each mistake."""
    text = mutate(DOTENV, random).decode("utf-8", "replace")
    try:
        found = dotenv.read(text)
    except BadInput as error:
        for line in str(error).split("\n"):
            one_line(ValueError(line))
            assert re.fullmatch(r"\.env, line \d+: expected .+", line), line
    else:
        assert all(f"{name}=" in text and value in text and "\0" not in value for name, value in found.items())


# -- tasks --


class Messages:
    """Batches as messages for a ledger: a refused one leaves no trace, an accepted one moves the position to its end at most."""

    def __init__(self, url: str) -> None:
        self._raw = redis.Redis.from_url(url)
        self.ledger = ledger = Ledger(connect(url), f"{uuid.uuid4().hex[:8]}:")
        ledger.birth(None, 1, [PartitionStart(P0, "e1", 0, 0)], settle_s=0, reason="first start")
        self.id = ledger.state([P0.topic]).id or ""

    def _good(self, start: int) -> dict[str, Any]:
        events: list[Any] = [
            (start, ObservationsInserted("i-1", 5)),
            (start + 2, ObservationsInserted("i-2", 7)),
            (start + 3, Undecodable("bad", b"x")),
        ]
        payload, records = pack("counts", start, events, lambda event: event)
        return Batch(self.id, P0.topic, P0.number, "e1", start, start + 4, "counts", records, payload, "0" * 8).to_message()

    def __call__(self, random: Random) -> None:
        before, at = self._everything(), self._next()
        message = self._good(at)
        if random.randrange(3):
            message["payload"] = json.dumps(edit(json.loads(message["payload"]), random))
        if random.randrange(3) == 0:
            message["payload"] = mutate(str(message["payload"]).encode(), random).decode("utf-8", "replace")
        if random.randrange(3) == 0:
            edited = edit(message, random)
            message = edited if isinstance(edited, dict) else {}
        try:
            done = self.ledger.apply(Batch.from_message(message))
        except LedgerUnavailable as error:
            raise AssertionError(f"the ledger is there: {error}") from error
        except TrackerError as error:
            one_line(error)
            done = None
        if done is None:
            assert self._everything() == before, "it was refused after a write"
        assert at <= self._next() <= at + 4 or self._next() == message.get("end"), "the position has moved past the batch"

    def _next(self) -> int:
        return self.ledger.positions([P0]).next[P0][1]

    def _everything(self) -> dict[bytes, bytes | None]:
        """All that the ledger has, but for its own tally of what it has refused."""
        keys = [key for key in self._raw.scan_iter(f"{self.ledger.prefix}*") if not key.endswith(b":counters")]
        return {key: self._raw.dump(key) for key in sorted(keys)}

    def close(self) -> None:
        self._raw.close()
        self.ledger.client.close()


TARGETS: Mapping[str, Target] = {"decoding": decoding, "answers": answers, "environment": environment, "dotenv": dotenv_file}
"""Those that need nothing beside them."""
