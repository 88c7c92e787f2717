"""Bytes from Kafka become events or dead letters; nothing they hold raises."""

import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracker.decoding import decode_file_available, decode_inserted, decoder
from tracker.events import MAX_COUNT, MAX_ID_CHARACTERS, InputFileAvailable, ObservationsInserted, Undecodable

V1 = bytes.fromhex("18 73 33 3a 2f 2f 62 2f 66 2e 63 73 76 0a 69 69 64 2d 31")
V2 = V1 + bytes.fromhex("0a 6a 69 64 2d 31")
IID_1 = bytes.fromhex("0a 69 69 64 2d 31")


def zigzag(number: int) -> bytes:
    """Write an Avro int or long."""
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


def text(value: str) -> bytes:
    """Write an Avro string."""
    raw = value.encode()
    return zigzag(len(raw)) + raw


@pytest.mark.parametrize("tail, count", [("d0 0f", 1000), ("fc 07", 510), ("00", 0), ("fe ff ff ff 0f", MAX_COUNT)])
def test_counts_are_read_as_upstream_writes_them(tail: str, count: int) -> None:
    assert decode_inserted(IID_1 + bytes.fromhex(tail)) == ObservationsInserted("iid-1", count)


def test_both_versions_of_a_registration_are_read() -> None:
    assert decode_file_available(V1) == InputFileAvailable("iid-1", "", "s3://b/f.csv")
    assert decode_file_available(V2) == InputFileAvailable("iid-1", "jid-1", "s3://b/f.csv")


def test_a_registration_whose_job_is_cut_short_is_damage_not_an_old_one() -> None:
    for end in range(len(V1) + 1, len(V2)):
        assert decode_file_available(V2[:end]) == Undecodable("not an input-file-available record: the data ends too early", V2[:end])


def test_bytes_behind_the_last_field_are_ignored_as_upstream_does() -> None:
    assert decode_inserted(IID_1 + b"\xd0\x0f" + b"later field") == ObservationsInserted("iid-1", 1000)
    assert decode_file_available(V2 + b"\x00\xff") == InputFileAvailable("iid-1", "jid-1", "s3://b/f.csv")


@pytest.mark.parametrize("count", [-1, -(2**31), MAX_COUNT + 1, 2**40, -(2**63)])
def test_negative_and_absurd_counts_are_dead_letters(count: int) -> None:
    value = text("i-1") + zigzag(count)
    assert decode_inserted(value) == Undecodable(f"the count {count} is not within 0 … {MAX_COUNT}", value)


def test_a_count_that_would_wrap_round_is_a_dead_letter() -> None:
    event = decode_inserted(text("i-1") + b"\x82" + b"\x80" * 9 + b"\x00")
    assert isinstance(event, Undecodable)


@pytest.mark.parametrize("bad", ["", ".", "..", "a\nb", "\x00", "a\x7f", "\x85", "x" * (MAX_ID_CHARACTERS + 1)])
def test_ids_that_no_url_can_carry_are_dead_letters(bad: str) -> None:
    counted = text(bad) + zigzag(5)
    registered = text("url") + text(bad) + text("job")
    assert isinstance(decode_inserted(counted), Undecodable)
    assert isinstance(decode_file_available(registered), Undecodable)


def test_a_bad_job_id_is_a_dead_letter_but_an_empty_one_is_none() -> None:
    assert isinstance(decode_file_available(text("url") + text("i-1") + text("..")), Undecodable)
    assert decode_file_available(text("url") + text("i-1") + text("")) == InputFileAvailable("i-1", "", "url")


@pytest.mark.parametrize("good", ["...", "a/b", "é", "🙂", " ", "x" * MAX_ID_CHARACTERS, "🙂" * MAX_ID_CHARACTERS])
def test_unusual_ids_are_taken(good: str) -> None:
    assert decode_inserted(text(good) + zigzag(MAX_COUNT)) == ObservationsInserted(good, MAX_COUNT)


def test_a_record_without_a_value_is_a_dead_letter() -> None:
    assert decode_inserted(None) == decode_file_available(None) == Undecodable("the record has no value", b"")


def test_a_text_that_is_not_utf8_is_a_dead_letter() -> None:
    assert decode_inserted(b"\x04\xff\xfe\x02") == Undecodable(
        "not an import-observations-inserted record: a text is not UTF-8", b"\x04\xff\xfe\x02"
    )


def test_a_huge_declared_length_allocates_nothing() -> None:
    tracemalloc.start()
    for length in (2**31, 2**40, 2**62, -1, -(2**62)):
        assert isinstance(decode_inserted(zigzag(length) + b"abc"), Undecodable)
        assert isinstance(decode_file_available(zigzag(length) + b"abc"), Undecodable)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@given(st.binary(max_size=80))
@example(b"\xff" * 40)
@example(b"")
def test_no_bytes_raise(value: bytes) -> None:
    counted, registered = decode_inserted(value), decode_file_available(value)
    for event in (counted, registered):
        if isinstance(event, Undecodable):
            assert event.raw == value
            assert event.reason
    if isinstance(counted, ObservationsInserted):
        assert 0 <= counted.count <= MAX_COUNT
        assert counted.instance_id not in {"", ".", ".."}


@given(st.text(min_size=1, max_size=40), st.integers(0, MAX_COUNT), st.binary(max_size=3))
def test_what_was_written_is_what_is_read_or_a_dead_letter(instance: str, count: int, tail: bytes) -> None:
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in instance) or instance in {".", ".."}:
        return
    assert decode_inserted(text(instance) + zigzag(count) + tail) == ObservationsInserted(instance, count)


def test_what_is_remembered_is_what_is_decoded() -> None:
    counts, registrations = decoder("counts"), decoder("registrations")
    for _ in range(2):
        assert counts(IID_1 + b"\xd0\x0f") == ObservationsInserted("iid-1", 1000)
        assert registrations(V2) == InputFileAvailable("iid-1", "jid-1", "s3://b/f.csv")
        assert isinstance(counts(b""), Undecodable)
        assert isinstance(counts(None), Undecodable)


def test_more_values_than_are_remembered_are_still_right() -> None:
    counts = decoder("counts")
    started = time.perf_counter()
    for number in range(60_000):
        assert counts(text(f"i-{number}") + b"\x02") == ObservationsInserted(f"i-{number}", 1)
    assert time.perf_counter() - started < 20
