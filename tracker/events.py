"""
What travels from Kafka to the ledger: partitions, records, events, and the batches that carry them.

A batch is one polled stretch `[start, end)` of one partition. Its records travel as one JSON text in columns,
which neither the worker nor the Redis client parses; the apply script does:

    counts         {"i": [instance ids], "x": [index into i, per record], "n": [count per record]}
    registrations  {"i": [instance ids], "x": [index into i, per record], "j": [job id or "", per record]}

plus, in both, `"o": [offset - start, per record]` where the offsets are not simply start, start + 1, …, and
`"d": [[offset - start, reason, base64 of the raw bytes], …]` for what could not be decoded.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, Self, cast

from tracker.errors import BadInput

Kind = Literal["counts", "registrations"]

BATCH_FORMAT = 1
"""Version of the task message. A worker refuses a newer one, so that a rolling upgrade starts with the workers."""

MAX_COUNT = 2**31 - 1
"""The Avro schema's `int`: the largest count one record can carry."""


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of a Kafka topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.number}"


class Record(Protocol):
    """One Kafka record as it was polled: what the client library hands out, without a copy. `value` may be missing."""

    @property
    def offset(self) -> int:
        """The record's place in its partition."""

    @property
    def value(self) -> bytes | None:
        """What the record carries."""


def checksum(offset: int, value: bytes | None) -> str:
    """CRC-32 of a record's offset and value in 8 hex digits, to recognise the record again."""
    return f"{zlib.crc32(value or b'', zlib.crc32(offset.to_bytes(8, 'big'))):08x}"


@dataclass(frozen=True, slots=True)
class InputFileAvailable:
    """An import instance has a file to load. `job_id` is "" in the schema used before 2018."""

    instance_id: str
    job_id: str
    file_url: str


@dataclass(frozen=True, slots=True)
class ObservationsInserted:
    """`count` observations of the instance have been inserted (0 … `MAX_COUNT`)."""

    instance_id: str
    count: int


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A record that is kept as a dead letter, with its reason in words and its raw bytes."""

    reason: str
    raw: bytes


Event = InputFileAvailable | ObservationsInserted | Undecodable


@dataclass(frozen=True, slots=True)
class Batch:
    """
    The records of `[start, end)` of one partition, on their way to one ledger.

    `epoch` is the topic's id ("" from brokers without one), `checksum` that of the record at `end - 1` ("" where
    that offset holds none), `records` how many records the payload carries, dead letters included.
    """

    ledger: str
    topic: str
    partition: int
    epoch: str
    start: int
    end: int
    kind: Kind
    records: int
    payload: str
    checksum: str = ""

    @property
    def id(self) -> str:
        """The batch's identity everywhere: task id, log field, ledger."""
        return f"{self.ledger}:{self.topic}:{self.partition}:{self.epoch}:{self.start}-{self.end}"

    def to_message(self) -> dict[str, Any]:
        """The keyword arguments of the task that carries this batch."""
        return {"format": BATCH_FORMAT} | {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Self:
        """
        Rebuild a batch from a task's keyword arguments.

        Raises BadInput, naming the argument, when one is missing, superfluous or of the wrong type.
        """
        values = dict(message)
        if values.pop("format", None) != BATCH_FORMAT:
            raise BadInput(f"batch format {message.get('format')!r}: expected {BATCH_FORMAT}; upgrade the workers before the bridges")
        expected = {field.name: int if field.name in {"partition", "start", "end", "records"} else str for field in fields(cls)}
        for name, kind in expected.items():
            if not isinstance(values.get(name), kind) or isinstance(values.get(name), bool):
                raise BadInput(f"batch argument {name}={values.get(name)!r}: expected {kind.__name__}")
        for name in values.keys() - expected.keys():
            raise BadInput(f"batch argument {name}: not known")
        if values["kind"] not in {"counts", "registrations"}:
            raise BadInput(f"batch argument kind={values['kind']!r}: expected counts or registrations")
        return cls(**values)


def pack(kind: Kind, start: int, events: Iterable[tuple[int, Event]]) -> tuple[str, int]:
    """
    Put `(offset, event)` pairs, offsets rising from `start` or above, into a batch's payload.

    Returns the payload and the number of records in it.
    """
    index: dict[str, int] = {}
    which: list[int] = []
    values: list[int | str] = []
    offsets: list[int] = []
    dead: list[tuple[int, str, str]] = []
    for offset, event in events:  # the one loop here that every record goes through
        if type(event) is ObservationsInserted:
            values.append(event.count)
        elif type(event) is InputFileAvailable:
            values.append(event.job_id)
        else:
            bad = cast("Undecodable", event)
            dead.append((offset - start, bad.reason, base64.b64encode(bad.raw).decode()))
            continue
        which.append(index.setdefault(event.instance_id, len(index)))
        offsets.append(offset - start)
    columns: dict[str, Any] = {"i": list(index), "x": which, "n" if kind == "counts" else "j": values}
    if offsets and offsets[-1] != len(offsets) - 1:
        columns["o"] = offsets
    if dead:
        columns["d"] = dead
    return json.dumps(columns, separators=(",", ":")), len(which) + len(dead)
