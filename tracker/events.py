"""
What travels from Kafka to the ledger: partitions, records, events, and the batches that carry them.

A batch is one polled stretch `[start, end)` of one partition. Its records travel as one JSON text, which neither the
worker nor the Redis client parses; the apply script does. An importer says the same few values over and over, so each
is there once, with how often it came:

    {"i": [instance ids], "w": [index into i, per value], "t": [times, per value], "x": "4 hex digits per record: its value",
     "n": [count, per value]}         or, for registrations,      "j": [job id or "", per value]

plus `"o": [offset - start, per record]` where the offsets are not simply start, start + 1, …, and
`"d": [[offset - start, reason, base64 of the raw bytes], …]` for what could not be decoded. The sums per value serve
the everyday batch, of which nothing is applied yet; the records one by one, a batch that overlaps what is.
"""

import base64
import json
import re
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, Self, TypeVar

from tracker.errors import BadInput

Kind = Literal["counts", "registrations"]

BATCH_FORMAT = 2
"""Version of the task message. A worker refuses a newer one, so that a rolling upgrade starts with the workers."""

MAX_COUNT = 2**31 - 1
"""The Avro schema's `int`: the largest count one record can carry."""

MAX_ID_CHARACTERS = 512
"""The longest id taken, of an instance or a job. Real ones are UUIDs (36); beyond this a URL made from one would be refused on its way."""

LARGEST_OFFSET = 2**53
"""The largest offset that is counted with: Lua's numbers are exact up to here. Kafka would need 285 years at a million records a second."""

WHOLE = f"a whole number from 0 to {LARGEST_OFFSET}"

_NO_CHARACTER = re.compile(r"[\ud800-\udfff]")
"""Halves of characters, which JSON can write and UTF-8 cannot."""


class Partition(NamedTuple):
    """One partition of a Kafka topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.number}"


Record = tuple[int, bytes | None]
"""One Kafka record as far as it is read here: its offset in the partition, and its value, which may be missing."""

MAX_RECORDS = 2**16
"""The most records that one batch can carry."""


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
            raise BadInput(f"batch format {message.get('format')!r:.100}: expected {BATCH_FORMAT}; upgrade the workers before the bridges")
        expected = {field.name: int if field.name in {"partition", "start", "end", "records"} else str for field in fields(cls)}
        for name, kind in expected.items():
            if not _is(values.get(name), kind):
                raise BadInput(f"batch argument {name}={values.get(name)!r:.100}: expected {'a text' if kind is str else WHOLE}")
        for name in values.keys() - expected.keys():
            raise BadInput(f"batch argument {name!r:.100}: not known")
        if values["kind"] not in {"counts", "registrations"}:
            raise BadInput(f"batch argument kind={values['kind']!r:.100}: expected counts or registrations")
        return cls(**values)


def _is(value: object, kind: type) -> bool:
    """Whether an argument is a text that Redis can be told, or a whole number that Lua can hold."""
    if isinstance(value, str):
        return kind is str and not _NO_CHARACTER.search(value)
    return kind is int and isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_OFFSET


Value = TypeVar("Value", bound=Hashable)


def pack(kind: Kind, start: int, records: Sequence[tuple[int, Value]], decode: Callable[[Value], Event]) -> tuple[str, int]:
    """
    Put `(offset, value)` pairs, offsets rising from `start` or above, into a batch's payload.

    At most `MAX_RECORDS`. Each different value is decoded once. Returns the payload and the number of records in it.
    """
    # Every record goes through here, so no loop of ours but over what is different, unless something is dead or missing.
    values = [value for _, value in records]
    events = {value: decode(value) for value in dict.fromkeys(values)}
    dead: list[tuple[int, str, str]] = []
    good = records
    if any(type(event) is Undecodable for event in events.values()):
        for offset, value in records:
            event = events[value]
            if isinstance(event, Undecodable):
                dead.append((offset - start, event.reason, base64.b64encode(event.raw).decode()))
        good = [record for record in records if type(events[record[1]]) is not Undecodable]
        values = [value for _, value in good]
    times = Counter(values)
    numbers = {value: number for number, value in enumerate(times)}
    index: dict[str, int] = {}
    which: list[int] = []
    what: list[int | str] = []
    for value in times:
        event = events[value]
        if isinstance(event, ObservationsInserted):
            what.append(event.count)
        elif isinstance(event, InputFileAvailable):
            what.append(event.job_id)
        else:
            continue  # not reached: what is dead has been taken out
        which.append(index.setdefault(event.instance_id, len(index)))
    columns: dict[str, Any] = {"i": list(index), "w": which, "t": list(times.values()), "x": _hex(map(numbers.__getitem__, values))}
    columns["n" if kind == "counts" else "j"] = what
    if good and good[-1][0] - start != len(good) - 1:
        columns["o"] = [offset - start for offset, _ in good]
    if dead:
        columns["d"] = dead
    return json.dumps(columns, separators=(",", ":")), len(good) + len(dead)


def _hex(numbers: Iterable[int]) -> str:
    """Write each number, below 65,536, as 4 hex digits."""
    words = array("H", numbers)
    if sys.byteorder == "little":
        words.byteswap()
    return words.tobytes().hex()
