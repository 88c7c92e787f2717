"""
The Avro records of the two topics: bytes in, an event or an `Undecodable` out. Pure, and never raises.

A value is the bare binary datum: no container, no schema id, no fingerprint. What the original's Go decoder took is
taken: it ignored bytes behind the last field, so they are ignored here too. `input-file-available` has two shapes;
the older one, used until 2018, ends where `job_id` begins.
"""

import re
from collections.abc import Callable
from io import BytesIO
from typing import Any, cast

from fastavro import parse_schema, schemaless_reader

from tracker.events import MAX_COUNT, MAX_ID_CHARACTERS, Event, InputFileAvailable, Kind, ObservationsInserted, Undecodable

_MAX_INT_BYTES = 5
"""The bytes an Avro `int` (32 bits) takes at most. The reader would let a longer one wrap round."""

_MAX_LENGTH_BYTES = 2
"""The bytes that the length of an id of `MAX_ID_CHARACTERS` takes at most."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_MEMO_ENTRIES = 50_000
"""How many decoded values are remembered: an importer says the same count of the same instance over and over."""

_MEMO_BYTES = 96
"""The longest value remembered, so that the memo stays below about 15 MB."""


def _schema(name: str, **fields: str) -> Any:  # noqa: ANN401 - fastavro's parsed schema has no type of its own
    return parse_schema({"type": "record", "name": name, "fields": [{"name": field, "type": kind} for field, kind in fields.items()]})


INSERTED = _schema("import_observations_inserted", instance_id="string", observations_inserted="int")
FILE_AVAILABLE_V1 = _schema("input_file_available", file_url="string", instance_id="string")
FILE_AVAILABLE = _schema("input_file_available", file_url="string", instance_id="string", job_id="string")


def _read(stream: BytesIO, schema: Any) -> dict[str, Any]:  # noqa: ANN401
    return cast("dict[str, Any]", schemaless_reader(stream, schema, None))


def _bad_id(what: str, text: str) -> str | None:
    """Say why no URL can carry this id, or None."""
    if text in {"", ".", ".."}:
        return f"{what} is {text!r}, which a URL would swallow"
    if len(text) > MAX_ID_CHARACTERS:
        return f"{what} is {len(text)} characters long, more than {MAX_ID_CHARACTERS}"
    if _CONTROL.search(text):
        return f"{what} has control characters"
    return None


def decode_inserted(value: bytes | None) -> ObservationsInserted | Undecodable:
    """Decode a value of `import-observations-inserted`."""
    if value is None:
        return Undecodable("the record has no value", b"")
    stream = BytesIO(value)
    try:
        fields = _read(stream, INSERTED)
        instance_id, count = fields["instance_id"], fields["observations_inserted"]
    except Exception as error:  # noqa: BLE001 - whatever the reader makes of foreign bytes, they are a dead letter
        return Undecodable(f"not an import-observations-inserted record: {_words(error)}", value)
    if not 0 <= count <= MAX_COUNT:
        return Undecodable(f"the count {count} is not within 0 … {MAX_COUNT}", value)
    if (reason := _bad_id("instance_id", instance_id)) is not None:
        return Undecodable(reason, value)
    if stream.tell() > _MAX_LENGTH_BYTES + len(instance_id.encode()) + _MAX_INT_BYTES:
        return Undecodable("the count is longer than an int of 32 bits", value)
    return ObservationsInserted(instance_id, count)


def decode_file_available(value: bytes | None) -> InputFileAvailable | Undecodable:
    """
    Decode a value of `input-file-available`, of either version.

    The older version is taken only when the data ends exactly where `job_id` would begin: a `job_id` cut short is
    damage, not the past.
    """
    if value is None:
        return Undecodable("the record has no value", b"")
    try:
        fields = _read(BytesIO(value), FILE_AVAILABLE)
    except Exception as error:  # noqa: BLE001 - as above
        stream = BytesIO(value)
        try:
            fields = _read(stream, FILE_AVAILABLE_V1)
        except Exception:  # noqa: BLE001 - as above; the newer version's complaint is the one to show
            fields = {}
        if not fields or stream.tell() != len(value):
            return Undecodable(f"not an input-file-available record: {_words(error)}", value)
    instance_id, job_id = fields["instance_id"], fields.get("job_id", "")
    reason = _bad_id("instance_id", instance_id) or (_bad_id("job_id", job_id) if job_id else None)
    if reason is not None:
        return Undecodable(reason, value)
    return InputFileAvailable(instance_id, job_id, fields["file_url"])


def _words(error: Exception) -> str:
    if isinstance(error, EOFError | IndexError):
        return "the data ends too early"
    if isinstance(error, UnicodeDecodeError):
        return "a text is not UTF-8"
    return f"{type(error).__name__} {error}"[:200]


Decode = Callable[[bytes | None], Event]


def decoder(kind: Kind) -> Decode:
    """
    Return the decoding function of one kind of topic.

    It remembers what it has decoded, since the same few values come again and again; values it could not decode, and
    long ones, are not remembered.
    """
    fresh: Decode = decode_inserted if kind == "counts" else decode_file_available
    memo: dict[bytes | None, Event] = {}
    known = memo.get

    def decode(value: bytes | None) -> Event:
        event = known(value)
        if event is None:
            event = fresh(value)
            if value is not None and len(value) <= _MEMO_BYTES and type(event) is not Undecodable:
                if len(memo) >= _MEMO_ENTRIES:
                    memo.clear()
                memo[value] = event
        return event

    return decode
