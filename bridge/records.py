"""
The records of a fetched partition, read quickly: `(offset, value)` and nothing else.

kafka-python makes an object with a dozen fields of each record, from a reader that looks at every byte; that takes ten
times as long as all else that happens to a record here. `Records` is told apart only by that: checksums, transactions, compression,
holes, older formats are dealt with as kafka-python does.
"""

from collections.abc import Iterator
from typing import Any, cast

from kafka import errors as kafka_errors
from kafka.consumer.fetcher import Fetcher, IsolationLevel
from kafka.record.util import decode_varint

from tracker.events import Record

_CONTINUED = 0x80
"""A byte of a varint from here on says that another one follows."""

_NO_KEY = 1
"""The varint -1, as the length of a key that is missing."""


class Records(Fetcher.PartitionRecords):  # type: ignore[misc] # kafka-python has no types
    """What kafka-python's fetcher takes its records from, one object per partition and fetch."""

    def _maybe_skip_record(self, record: Record) -> bool:
        """A fetch from the middle of a batch brings all of it."""
        return record[0] < cast("int", self.fetch_offset)

    def _unpack_records(self, tp: Any, records: Any, *_deserializers: object) -> Iterator[Record]:  # noqa: ANN401
        """Yield the records, `next_fetch_offset` always telling what follows the one that was yielded last."""
        last = None
        while (batch := records.next_batch()) is not None:
            last = batch
            if self.check_crcs and not batch.validate_crc():
                raise kafka_errors.CorruptRecordError(f"the batch at offset {batch.base_offset} of {tp} has another checksum")
            if batch.magic < 2:  # noqa: PLR2004 - before 0.11: no transactions, a checksum per record
                found = self._of_old_format(tp, batch)
            elif self._passed_over(batch):
                self.next_fetch_offset = batch.next_offset
                continue
            else:
                self.bytes_read += batch.size_in_bytes
                found = zip(*_read(batch), strict=True)
            for record in found:
                self.next_fetch_offset = record[0] + 1
                yield record
        if last is not None and last.magic == 2:  # noqa: PLR2004 - which knows where it ends, whatever compaction took
            self.next_fetch_offset = last.next_offset
        self.drain()

    def _passed_over(self, batch: Any) -> bool:  # noqa: ANN401
        """Whether a batch holds nothing for us: the marker of a transaction, or what an aborted one had written."""
        self.leader_epoch = batch.leader_epoch
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)

    def _of_old_format(self, tp: Any, batch: Any) -> Iterator[Record]:  # noqa: ANN401
        for record in batch:
            if self.check_crcs and not record.validate_crc():
                raise kafka_errors.CorruptRecordError(f"the record at offset {record.offset} of {tp} has another checksum")
            self.bytes_read += record.size_in_bytes
            yield record.offset, record.value


def _read(batch: Any) -> tuple[range | list[int], list[bytes | None]]:  # noqa: ANN401
    """Read a batch of format 2: offsets and values. Raises CorruptRecordError where it is not what its lengths say."""
    batch._maybe_uncompress()  # noqa: SLF001 - there is no public way
    data, at, count = bytes(batch._buffer), batch._pos, batch.records_count  # noqa: SLF001
    base, holes = batch.base_offset, batch.last_offset_delta != count - 1
    deltas: list[int] = []
    values: list[bytes | None] = []
    add = values.append
    try:
        for _ in range(count):
            start, length = at, data[at]
            if length < _CONTINUED:
                # The everyday record: shorter than 64 bytes, without key and headers. Past attributes, timestamp and offset:
                at += 1 + (length >> 1)
                where = start + 2
                while data[where] >= _CONTINUED:
                    where += 1
                offset_at = where = where + 1
                while data[where] >= _CONTINUED:
                    where += 1
                # no key, how long the value is, the value, no headers.
                size = data[where + 2]
                end = where + 3 + (size >> 1)
                if data[where + 1] == _NO_KEY and not size & 1 and end + 1 == at and not data[end]:
                    add(data[where + 3 : end])
                    if holes:
                        deltas.append(decode_varint(data, offset_at)[0])
                    continue
            delta, value, at = _read_any(data, start)
            deltas.append(delta)
            add(value)
    except (IndexError, ValueError) as error:
        raise kafka_errors.CorruptRecordError(f"the batch at offset {base} cannot be read: {error!r}") from error
    if at != len(data):
        raise kafka_errors.CorruptRecordError(f"the batch at offset {base} ends {len(data) - at} bytes after its last record")
    return [base + delta for delta in deltas] if holes else range(base, base + count), values


def _read_any(data: bytes, at: int) -> tuple[int, bytes | None, int]:
    """Read any record of format 2 that begins at `at`: the offset in its batch, its value, and where the next one begins."""
    length, at = decode_varint(data, at)
    stop = at + length
    _, at = decode_varint(data, at + 1)  # attributes are one byte; the timestamp
    delta, at = decode_varint(data, at)
    size, at = decode_varint(data, at)  # the key
    at += max(size, 0)
    size, at = decode_varint(data, at)
    value = data[at : at + size] if size >= 0 else None
    at += max(size, 0)
    headers, at = decode_varint(data, at)
    for _ in range(2 * headers):
        size, at = decode_varint(data, at)
        at += max(size, 0)
    if headers < 0 or at != stop or at > len(data):
        raise ValueError(f"a record ends at {at}, not at {stop}")
    return delta, value, at
