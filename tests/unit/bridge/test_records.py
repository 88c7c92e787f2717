"""Records are read as kafka-python reads them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords

from bridge.records import Records
from tracker.events import Record

A_RECORD = st.fixed_dictionaries(
    {
        "timestamp": st.integers(1, 2**41),
        "key": st.none() | st.binary(max_size=70),
        "value": st.none() | st.binary(max_size=200),
        "headers": st.just([]) | st.lists(st.tuples(st.text(max_size=3), st.none() | st.binary(max_size=70)), max_size=2),
    }
)
EVERYDAY: dict[str, Any] = {"timestamp": 1_700_000_000_000, "key": None, "value": b"H0123456789\xd0\x0f", "headers": []}


def batch(records: list[dict[str, Any]], offsets: list[int], compression: int = 0) -> bytes:
    """A batch of format 2, its base offset 0."""
    builder = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, 1 << 20)  # noqa: FBT003 - not transactional
    for offset, record in zip(offsets, records, strict=True):
        builder.append(offset, **record)
    return bytes(builder.build())


def read(*batches: bytes, fetch_offset: int = 0) -> list[Record]:
    """Read what a fetch has brought."""
    return list(Records(fetch_offset, "t", MemoryRecords(b"".join(batches))).take())


@given(st.lists(A_RECORD, min_size=1, max_size=30), st.data(), st.sampled_from([0, 1]))
def test_any_batch_is_read_as_kafka_python_reads_it(records: list[dict[str, Any]], data: st.DataObject, compression: int) -> None:
    holes = data.draw(st.lists(st.integers(0, 40), min_size=len(records), max_size=len(records)) | st.just([0] * len(records)))
    offsets = [number + sum(holes[1 : number + 1]) for number in range(len(records))]
    raw = batch(records, offsets, compression)
    assert read(raw) == [(record.offset, record.value) for record in DefaultRecordBatch(raw)]


def test_the_everyday_batch_is_read() -> None:
    assert read(batch([EVERYDAY] * 300, list(range(300)))) == [(offset, EVERYDAY["value"]) for offset in range(300)]


def test_batches_of_the_old_formats_are_read() -> None:
    for magic in (0, 1):
        builder = LegacyRecordBatchBuilder(magic, 0, 1 << 20)
        for offset, value in ((4, b"a"), (6, None)):
            builder.append(offset, timestamp=1, key=b"k", value=value)
        assert read(builder.build()) == [(4, b"a"), (6, None)]


def test_a_fetch_from_the_middle_of_a_batch_begins_there_and_tells_what_follows() -> None:
    found = Records(2, "t", MemoryRecords(batch([EVERYDAY] * 4, [0, 2, 5, 6])))
    assert found.take(1) == [(2, EVERYDAY["value"])]
    assert found.next_fetch_offset == 3
    assert [offset for offset, _ in found.take(9)] == [5, 6]
    assert found.next_fetch_offset == 7
    assert found.record_iterator is None  # used up


def test_a_batch_that_lost_its_end_to_compaction_is_passed_to_its_end() -> None:
    raw = bytearray(batch([EVERYDAY] * 2, [0, 1]))
    raw[26] = 9  # the last offset in the batch, as the header tells it
    found = Records(0, "t", MemoryRecords(raw), check_crcs=False)
    assert [offset for offset, _ in found.take()] == [0, 1]
    assert found.next_fetch_offset == 10


@pytest.mark.parametrize("at", [61, 62, 70, 75, -1])
def test_a_damaged_batch_is_refused(at: int) -> None:
    raw = bytearray(batch([EVERYDAY] * 2, [0, 1]))
    raw[at] ^= 0x55
    with pytest.raises(CorruptRecordError, match="checksum"):
        read(bytes(raw))


@pytest.mark.parametrize("at, value", [(61, 0x80), (61, 2), (61, 0x7E), (-1, 2), (-1, 0x80), (66, 0xFF)])
def test_a_batch_that_contradicts_itself_is_refused_though_its_checksum_is_right(at: int, value: int) -> None:
    raw = bytearray(batch([EVERYDAY] * 2, [0, 1]))
    raw[at] = value
    with pytest.raises(CorruptRecordError):
        Records(0, "t", MemoryRecords(raw), check_crcs=False).take()
