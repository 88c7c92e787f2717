"""Batches and their payload."""

import base64
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.errors import BadInput
from tracker.events import (
    BATCH_FORMAT,
    MAX_COUNT,
    MAX_RECORDS,
    Batch,
    Event,
    InputFileAvailable,
    Kind,
    ObservationsInserted,
    Partition,
    Undecodable,
    checksum,
    pack,
)

BATCH = Batch("3-ab", "counts", 2, "topic-id", 10, 13, "counts", 3, "{}", "00ff00ff")


def packed(kind: Kind, start: int, events: list[tuple[int, Event]]) -> tuple[str, int]:
    return pack(kind, start, events, lambda event: event)


def unpacked(kind: Kind, start: int, payload: str) -> list[tuple[int, Event]]:
    """Read a payload as its description says, in the order of the offsets."""
    columns = json.loads(payload)
    numbers = [int(columns["x"][at : at + 4], 16) for at in range(0, len(columns["x"]), 4)]
    assert Counter(numbers) == dict(enumerate(columns["t"]))
    offsets = columns.get("o", range(len(numbers)))
    events: list[tuple[int, Event]] = []
    for number, offset in zip(numbers, offsets, strict=True):
        instance, value = columns["i"][columns["w"][number]], columns["n" if kind == "counts" else "j"][number]
        event: Event = ObservationsInserted(instance, value) if kind == "counts" else InputFileAvailable(instance, value, "")
        events.append((start + offset, event))
    events += [(start + offset, Undecodable(reason, base64.b64decode(raw))) for offset, reason, raw in columns.get("d", [])]
    return sorted(events, key=lambda pair: pair[0])


def test_counts_travel_as_different_values_and_which_record_has_which() -> None:
    five, none = ObservationsInserted("a", 5), ObservationsInserted("b", 0)
    events: list[tuple[int, Event]] = [(7, five), (8, none), (9, five)]
    assert packed("counts", 7, events) == ('{"i":["a","b"],"w":[0,1],"t":[2,1],"x":"000000010000","n":[5,0]}', 3)


def test_counts_of_one_instance_name_it_once() -> None:
    events: list[tuple[int, Event]] = [(0, ObservationsInserted("a", 5)), (1, ObservationsInserted("a", 6))]
    assert packed("counts", 0, events) == ('{"i":["a"],"w":[0,0],"t":[1,1],"x":"00000001","n":[5,6]}', 2)


def test_registrations_travel_alike() -> None:
    events: list[tuple[int, Event]] = [(0, InputFileAvailable("a", "job", "url")), (1, InputFileAvailable("b", "", "url"))]
    assert packed("registrations", 0, events) == ('{"i":["a","b"],"w":[0,1],"t":[1,1],"x":"00000001","j":["job",""]}', 2)


def test_offsets_are_written_only_where_there_are_holes() -> None:
    holes: list[tuple[int, Event]] = [(9, ObservationsInserted("a", 1)), (12, ObservationsInserted("a", 2))]
    assert packed("counts", 9, holes) == ('{"i":["a"],"w":[0,0],"t":[1,1],"x":"00000001","n":[1,2],"o":[0,3]}', 2)
    assert packed("counts", 8, holes[:1]) == ('{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[1],"o":[1]}', 1)


def test_a_stretch_without_records_has_empty_columns() -> None:
    assert packed("counts", 5, []) == ('{"i":[],"w":[],"t":[],"x":"","n":[]}', 0)


def test_what_could_not_be_decoded_travels_with_its_bytes() -> None:
    events: list[tuple[int, Event]] = [(0, Undecodable("because", b"\xff\x00")), (1, ObservationsInserted("a", 1))]
    expected = '{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[1],"o":[1],"d":[[0,"because","/wA="]]}'
    assert packed("counts", 0, events) == (expected, 2)


def test_a_batch_of_the_most_records_names_each_of_as_many_values() -> None:
    events: list[tuple[int, Event]] = [(offset, ObservationsInserted("a", offset)) for offset in range(MAX_RECORDS)]
    assert unpacked("counts", 0, packed("counts", 0, events)[0]) == events


def test_each_different_value_is_decoded_once() -> None:
    asked: list[str] = []

    def decode(value: str) -> Event:
        asked.append(value)
        return ObservationsInserted(value, 1)

    pack("counts", 0, [(0, "a"), (1, "b"), (2, "a")], decode)
    assert asked == ["a", "b"]


some_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(ObservationsInserted, st.text(max_size=3), st.integers(0, MAX_COUNT)),
    st.builds(Undecodable, st.text(max_size=5), st.binary(max_size=5)),
)


@given(st.integers(0, 2**53), st.dictionaries(st.integers(0, 30), some_events))
def test_what_was_packed_is_what_is_read(start: int, at: dict[int, Event]) -> None:
    events: list[tuple[int, Event]] = sorted(((start + offset, event) for offset, event in at.items()), key=lambda pair: pair[0])
    payload, records = packed("counts", start, events)
    assert records == len(events)
    assert unpacked("counts", start, payload) == events


def test_a_batch_survives_the_journey_through_its_message() -> None:
    message = json.loads(json.dumps(BATCH.to_message()))
    assert message["format"] == BATCH_FORMAT
    assert Batch.from_message(message) == BATCH
    assert BATCH.id == "3-ab:counts:2:topic-id:10-13"


@pytest.mark.parametrize(
    "change, named",
    [
        ({"format": BATCH_FORMAT + 1}, "format"),
        ({"format": BATCH_FORMAT - 1}, "format"),
        ({"format": None}, "format"),
        ({"start": "10"}, "start"),
        ({"end": True}, "end"),
        ({"payload": None}, "payload"),
        ({"kind": "other"}, "kind"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_a_malformed_message_is_refused_by_the_name_of_what_is_wrong(change: dict[str, object], named: str) -> None:
    with pytest.raises(BadInput, match=named):
        Batch.from_message(BATCH.to_message() | change)


def test_a_message_that_lacks_an_argument_is_refused() -> None:
    message = BATCH.to_message()
    del message["ledger"]
    with pytest.raises(BadInput, match="ledger"):
        Batch.from_message(message)


@pytest.mark.parametrize(
    "name, value", [("payload", "\ud800"), ("topic", "\udfff"), ("end", 2**53 + 1), ("partition", -1), ("start", 10**400)]
)
def test_a_message_with_what_redis_or_lua_cannot_hold_is_refused(name: str, value: object) -> None:
    with pytest.raises(BadInput, match=name) as refused:
        Batch.from_message(BATCH.to_message() | {name: value})
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_a_checksum_tells_records_and_places_apart() -> None:
    assert checksum(5, b"value") == checksum(5, b"value")
    assert len({checksum(5, b"value"), checksum(6, b"value"), checksum(5, b"other"), checksum(5, b"")}) == 4
    assert checksum(5, None) == checksum(5, b"")
    assert len(checksum(0, b"")) == 8


def test_a_partition_is_named_by_topic_and_number() -> None:
    assert str(Partition("t", 3)) == "t:3"
