"""The ledger's suite, over the in-memory fake and over real servers: applying, births and verification."""

import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.valkey import Valkey
from tests.contract.batches import P0, TOPIC, batch, counts, owed, position, stream, take_settled, woken
from tracker.errors import BadInput, LedgerUnavailable, LostTurn
from tracker.events import Batch, Event, InputFileAvailable, Kind, ObservationsInserted, Undecodable
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.ledger_scripts import connect
from tracker.ledger_state import NotNow, PartitionStart

# -- applying -----------------------------------------------------------------------------------------------------


def test_a_record_delivered_twice_counts_once(ledger: Ledger) -> None:
    first = counts(ledger, 0, ("i-1", 5), ("i-2", 7), ("i-1", 1))
    assert sorted(woken(ledger, first)) == ["i-1", "i-2"]
    assert woken(ledger, first) == []
    assert (owed(ledger, "i-1"), owed(ledger, "i-2"), position(ledger)) == (6, 7, 3)


def test_a_batch_that_arrives_early_waits_above_next_and_counts_once(ledger: Ledger) -> None:
    late, early = counts(ledger, 0, ("i-1", 5), ("i-1", 6)), counts(ledger, 2, ("i-1", 7))
    ledger.apply(early)
    assert (position(ledger), owed(ledger, "i-1")) == (0, 7)
    ledger.apply(early)
    ledger.apply(late)
    assert (position(ledger), owed(ledger, "i-1")) == (3, 18)


def test_a_batch_cut_elsewhere_counts_only_what_is_new(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 1), ("i-1", 2)))
    ledger.apply(counts(ledger, 3, ("i-1", 8)))
    ledger.apply(counts(ledger, 1, ("i-1", 2), ("i-1", 4), ("i-1", 8), ("i-1", 16)))
    assert (position(ledger), owed(ledger, "i-1")) == (5, 31)


def test_holes_in_the_offsets_close_by_themselves(ledger: Ledger) -> None:
    ledger.apply(batch(ledger, 0, 10, [(4, ObservationsInserted("i-1", 3)), (8, ObservationsInserted("i-1", 4))]))
    ledger.apply(batch(ledger, 10, 12, []))
    assert (position(ledger), owed(ledger, "i-1")) == (12, 7)


def test_the_checksum_of_the_last_record_is_kept_with_next_also_over_an_early_range(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 1, ("i-1", 1)))
    assert ledger.state([TOPIC]).partitions[P0].checksum == ""
    ledger.apply(counts(ledger, 0, ("i-1", 1)))
    assert ledger.state([TOPIC]).partitions[P0].checksum == "2"


def test_a_count_of_nought_is_applied_and_changes_nothing(ledger: Ledger) -> None:
    assert woken(ledger, counts(ledger, 0, ("i-1", 0))) == []
    assert (position(ledger), owed(ledger, "i-1")) == (1, 0)


def test_an_undecodable_record_is_kept_once_with_its_raw_bytes(ledger: Ledger) -> None:
    bad = batch(ledger, 0, 2, [(0, Undecodable("no instance id", b"\x00\xff")), (1, ObservationsInserted("i-1", 2))])
    ledger.apply(bad)
    ledger.apply(bad)
    letters = stream(ledger, "dead")
    assert [letter["reason"] for letter in letters] == ["no instance id"]
    assert (letters[0]["raw"], letters[0]["offset"], owed(ledger, "i-1")) == ("AP8=", "0", 2)


def test_ids_that_look_like_keys_or_fields_are_only_ids(ledger: Ledger) -> None:
    names = ["ledger", "i:x", "owing", "part:a:0:e1", "x:lock", "ä ö", "'; DROP"]
    ledger.apply(counts(ledger, 0, *((name, 3) for name in names)))
    assert [owed(ledger, name) for name in names] == [3] * len(names)
    assert ledger.state([TOPIC]).number == 1


@pytest.mark.parametrize(
    "start, end, kind, payload",
    [
        (3, 3, "counts", '{"i":[],"w":[],"t":[],"x":"","n":[]}'),
        (-1, 3, "counts", '{"i":[],"w":[],"t":[],"x":"","n":[]}'),
        (0, 1, "counts", "not json"),
        (0, 1, "counts", "7"),
        (0, 1, "counts", '{"i":["a"],"w":[0],"t":[1],"x":"0000"}'),
        (0, 1, "counts", '{"i":["a"],"w":[0],"t":[1],"n":[1]}'),
        (0, 1, "counts", '{"i":["a"],"w":[0],"x":"0000","n":[1]}'),
        (0, 1, "counts", '{"i":["a"],"w":[0,0],"t":[1],"x":"0000","n":[1]}'),
        (0, 1, "counts", '{"i":["a"],"w":[0],"t":[1],"x":"00","n":[1]}'),
        (0, 1, "counts", '{"i":["a"],"w":[0],"t":[1],"x":"000g","n":[1]}'),
        (0, 1, "counts", '{"i":["a"],"w":[1],"t":[1],"x":"0000","n":[1]}'),
        (0, 1, "counts", '{"i":["a"],"w":[-1],"t":[1],"x":"0000","n":[1]}'),
        (0, 1, "counts", '{"i":[""],"w":[0],"t":[1],"x":"0000","n":[1]}'),
        (0, 1, "counts", '{"i":[5],"w":[0],"t":[1],"x":"0000","n":[1]}'),
        (0, 1, "counts", '{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[-1]}'),
        (0, 1, "counts", '{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[1.5]}'),
        (0, 1, "counts", '{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[2147483648]}'),
        (0, 3, "counts", '{"i":["a"],"w":[0],"t":[2],"x":"0000","n":[1]}'),
        (0, 3, "counts", '{"i":["a"],"w":[0,0],"t":[2,0],"x":"00000001","n":[1,2]}'),
        (0, 1, "counts", '{"i":["a"],"w":[0],"t":[2],"x":"00000000","n":[1]}'),
        (0, 2, "counts", '{"i":["a"],"w":[0],"t":[2],"x":"00000000","n":[1],"o":[1,1]}'),
        (5, 9, "counts", '{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[1],"o":[-1]}'),
        (0, 2, "counts", '{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[1],"o":[2]}'),
        (0, 2, "counts", '{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[1],"o":[]}'),
        (0, 2, "counts", '{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[1],"d":[[2,"r","x"]]}'),
        (0, 2, "counts", '{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[1],"d":["r"]}'),
        (0, 1, "counts", '{"i":[],"w":[],"t":[],"x":"","n":[]}'),
        (0, 1, "counts", '{"i":[],"w":[],"t":[],"x":"","n":[],"d":[[0.5,"r","x"]]}'),
        (0, 2, "counts", '{"i":["a"],"w":[0],"t":[2],"x":"00000000","n":[1]}'),
        (0, 1, "registrations", '{"i":["a"],"w":[0],"t":[1],"x":"0000","j":[7]}'),
        (0, 1, "registrations", '{"i":["a"],"w":[0],"t":[1],"x":"0001","j":["j"]}'),
        (0, 1, "others", '{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[1]}'),
    ],
)
def test_a_malformed_batch_is_refused_before_anything_is_changed(ledger: Ledger, start: int, end: int, kind: Kind, payload: str) -> None:
    before = ledger.state([TOPIC])
    with pytest.raises(BadInput):
        ledger.apply(Batch(before.id or "", TOPIC, 0, "e1", start, end, kind, 1, payload))
    assert ledger.state([TOPIC]) == before
    assert owed(ledger, "a") == 0


def test_a_batch_of_another_ledger_or_an_unknown_epoch_is_dropped(ledger: Ledger) -> None:
    assert ledger.apply(Batch("0-dead", TOPIC, 0, "e1", 0, 1, "counts", 1, '{"i":["a"],"w":[0],"t":[1],"x":"0000","n":[1]}')) is None
    assert ledger.apply(batch(ledger, 0, 1, [(0, ObservationsInserted("a", 1))], epoch="e9")) is None
    assert (position(ledger), owed(ledger, "a")) == (0, 0)


def test_a_recreated_topic_counts_in_full_and_late_batches_of_the_old_one_still_count(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 1)))
    late = counts(ledger, 1, ("i-1", 2))
    ledger_id = ledger.state([TOPIC]).id or ""
    assert ledger.start_partition(ledger_id, PartitionStart(P0, "e2", 0, None, replaces="e1")) == 0
    ledger.apply(batch(ledger, 0, 1, [(0, ObservationsInserted("i-1", 4))], epoch="e2"))
    assert ledger.start_partition(ledger_id, PartitionStart(P0, "e2", 0, None, replaces="e1")) == 1
    ledger.apply(late)
    ledger.apply(late)
    assert (owed(ledger, "i-1"), ledger.positions([P0]).next[P0]) == (7, ("e2", 1))


def test_a_start_decided_on_old_evidence_changes_nothing(ledger: Ledger) -> None:
    """A bridge slept over a second re-creation of the topic: what it decided before must not begin an epoch twice."""
    ledger_id = ledger.state([TOPIC]).id or ""
    ledger.start_partition(ledger_id, PartitionStart(P0, "e3", 0, None, replaces="e1"))
    ledger.apply(batch(ledger, 0, 1, [(0, ObservationsInserted("i-1", 5))], epoch="e3"))
    assert ledger.start_partition(ledger_id, PartitionStart(P0, "e2", 0, None, replaces="e1")) == 1
    assert ledger.positions([P0]).next[P0] == ("e3", 1)
    ledger.start_partition(ledger_id, PartitionStart(P0, "e2", 0, None, replaces="e3"))
    assert ledger.start_partition(ledger_id, PartitionStart(P0, "e3", 0, None, replaces="e2")) == 1, "an epoch goes on where it was"


def test_late_batches_of_a_topic_made_anew_below_its_horizon_are_not_simply_owed(client: "redis.Redis", prefix: str) -> None:
    ledger = Ledger(client, prefix)
    ledger.birth(None, 1, [PartitionStart(P0, "e1", 0, 4)], settle_s=0, reason="test")
    late, later = counts(ledger, 0, ("i-1", 10)), counts(ledger, 1, ("i-1", 3))
    ledger.apply(counts(ledger, 2, ("i-1", 1)))
    ledger.start_partition(ledger.state([TOPIC]).id or "", PartitionStart(P0, "e2", 0, None, replaces="e1"))
    ledger.apply(late)
    turn = ledger.take("i-1")
    assert (turn.owed, turn.aside) == (0, 11)
    ledger.release(ledger.seen(turn, Instance("i-1", "submitted", None, None, 11, "t0")))
    ledger.apply(later)
    assert owed(ledger, "i-1") == 0
    assert [letter["perhaps"] for letter in stream(ledger, "dead")] == ["3"]


def test_what_kafka_deleted_is_recorded_and_next_moves_on(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 1)))
    ledger_id = ledger.state([TOPIC]).id or ""
    assert ledger.record_loss(ledger_id, P0, "e1", 0, 40, "retention") == 40
    assert ledger.record_loss(ledger_id, P0, "e1", 0, 40, "retention") == 40
    losses = stream(ledger, "losses")
    assert [(loss["start"], loss["end"], loss["reason"]) for loss in losses] == [("1", "40", "retention")]


def test_what_was_applied_early_is_no_loss(ledger: Ledger) -> None:
    """A later batch overtook one whose message was lost, then Kafka deleted both: only the first was never counted."""
    ledger.apply(counts(ledger, 0, ("i-1", 1)))
    ledger.apply(counts(ledger, 7, ("i-1", 4), ("i-1", 4)))
    ledger.apply(counts(ledger, 4, ("i-1", 2)))
    ledger_id = ledger.state([TOPIC]).id or ""
    assert ledger.record_loss(ledger_id, P0, "e1", 1, 8, "retention") == 9
    assert [(loss["start"], loss["end"]) for loss in stream(ledger, "losses")] == [("1", "4"), ("5", "7")]


def test_a_registration_is_followed_with_its_job(ledger: Ledger) -> None:
    events: list[tuple[int, Event]] = [(0, InputFileAvailable("i-1", "", "u")), (1, InputFileAvailable("i-2", "job-9", "u"))]
    assert woken(ledger, batch(ledger, 0, 2, events, kind="registrations")) == []
    assert ledger.followed() == {"i-1", "i-2"}
    assert [ledger.take(name).job_id for name in ("i-1", "i-2")] == [None, "job-9"]


Cut = tuple[int, int]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_history_of_batches_counts_each_record_once(client: "redis.Redis", prefix: str, data: st.DataObject) -> None:
    """Shuffled, re-cut, duplicated, sparse, holed: against a dictionary of offsets."""
    ledger = Ledger(client, f"{prefix}{uuid.uuid4().hex}:")
    first = data.draw(st.sampled_from([0, 5, 2**40]))
    horizon = first + data.draw(st.sampled_from([0, 0, 7]))
    ledger.birth(None, 1, [PartitionStart(P0, "e1", first, horizon)], settle_s=0, reason="test")
    length = data.draw(st.integers(1, 40))
    log = {
        first + offset: (f"i-{data.draw(st.integers(0, 3))}", data.draw(st.integers(0, 2**31 - 1)))
        for offset in range(length)
        if data.draw(st.booleans())
    }
    cuts: list[Cut] = [(first, first + length)]
    for _ in range(data.draw(st.integers(0, 12))):
        low = data.draw(st.integers(0, length - 1))
        cuts.append((first + low, first + data.draw(st.integers(low + 1, length))))
    seen: set[int] = set()
    for start, end in data.draw(st.permutations(cuts)):
        events: list[tuple[int, Event]] = [(at, ObservationsInserted(*log[at])) for at in sorted(log) if start <= at < end]
        ledger.apply(batch(ledger, start, end, events))
        seen.update(range(start, end))
        expected = next(at for at in range(first, first + length + 1) if at not in seen)
        assert position(ledger) == expected
    totals: Counter[str] = Counter()
    for at, (name, count) in log.items():
        if at >= horizon:
            totals[name] += count
    assert {name: owed(ledger, name) for name in totals} == dict(totals)
    part = ledger.client.hgetall(f"{ledger.prefix}part:{P0}:e1")
    assert part["ranges"] == "", "state per partition stays small"


# -- births and verification --------------------------------------------------------------------------------------


def test_without_a_ledger_everything_but_its_state_is_refused(client: "redis.Redis", prefix: str) -> None:
    empty = Ledger(client, prefix)
    assert empty.state([TOPIC]).id is None
    assert empty.positions([P0]).ledger is None
    for call in (lambda: empty.take("i-1"), lambda: empty.register("i-1", None), lambda: empty.due(1, 1, 1)):
        with pytest.raises(LedgerUnavailable):
            call()


def test_only_one_of_two_births_takes_place(client: "redis.Redis", prefix: str) -> None:
    ledger = Ledger(client, prefix)
    one = ledger.birth(None, 1, [], settle_s=0, reason="a")
    assert ledger.birth(None, 1, [], settle_s=0, reason="b") == one
    two = ledger.birth(one, 2, [], settle_s=0, reason="c")
    assert two.startswith("2-")
    assert ledger.birth(one, 3, [], settle_s=0, reason="d") == two
    with pytest.raises(BadInput):
        ledger.birth(two, 2, [], settle_s=0, reason="e")


def test_after_a_restart_of_redis_all_but_verification_is_refused(ledger: Ledger) -> None:
    ledger.client.hset(f"{ledger.prefix}ledger", "run", "another")
    state = ledger.state([TOPIC])
    assert not state.verified
    for call in (lambda: ledger.take("i-1"), lambda: ledger.apply(counts(ledger, 0, ("i-1", 1)))):
        with pytest.raises(LedgerUnavailable):
            call()
    assert not ledger.verify(replace(state, id="7-other"))
    assert not ledger.verify(replace(state, run="the run before")), "it restarted while it was examined"
    assert not ledger.verify(replace(state, version=state.version + 1)), "it went back while it was examined"
    assert ledger.verify(state)
    assert woken(ledger, counts(ledger, 0, ("i-1", 1))) == ["i-1"]


def test_nothing_is_pushed_before_all_horizons_are_passed_and_old_requests_are_dead(client: "redis.Redis", prefix: str) -> None:
    ledger = Ledger(client, prefix)
    ledger.birth(None, 1, [PartitionStart(P0, "e1", 0, 2)], settle_s=0, reason="test")
    assert woken(ledger, counts(ledger, 0, ("i-1", 5))) == []
    with pytest.raises(NotNow, match="NOT_READY"):
        ledger.take("i-1")
    assert P0 not in ledger.positions([P0]).passed
    ledger.apply(counts(ledger, 1, ("i-1", 6), ("i-1", 7)))
    assert P0 in ledger.positions([P0]).passed
    assert ledger.due(10, 10, 0).push == ("i-1",)
    waiting = Ledger(client, f"{prefix}2:")
    waiting.birth(None, 1, [PartitionStart(P0, "e1", 0, 0)], settle_s=60, reason="test")
    waiting.apply(counts(waiting, 0, ("i-1", 5)))
    with pytest.raises(NotNow, match="NOT_READY"):
        waiting.take("i-1")


@pytest.mark.parametrize("inserted, owes", [(0, 18), (5, 13), (11, 7), (99, 7)])
def test_what_was_set_aside_is_settled_with_the_api_s_total(client: "redis.Redis", prefix: str, inserted: int, owes: int) -> None:
    ledger = Ledger(client, prefix)
    ledger.birth(None, 1, [PartitionStart(P0, "e1", 0, 2)], settle_s=0, reason="test")
    ledger.apply(counts(ledger, 0, ("i-1", 5), ("i-1", 6), ("i-1", 7)))
    turn = ledger.take("i-1")
    assert turn.aside == 11
    turn = ledger.seen(turn, Instance("i-1", "submitted", None, None, inserted, "t0"))
    assert (turn.owed, turn.aside) == (owes, None)
    turn = ledger.seen(turn, Instance("i-1", "submitted", None, None, 0, "t0"))
    assert turn.owed == owes, "settled once"


def test_what_was_set_aside_for_a_failed_instance_is_settled_as_any_other(client: "redis.Redis", prefix: str) -> None:
    ledger = Ledger(client, prefix)
    ledger.birth(None, 1, [PartitionStart(P0, "e1", 0, 2)], settle_s=0, reason="test")
    ledger.apply(counts(ledger, 0, ("i-1", 5), ("i-1", 6)))
    assert ledger.seen(ledger.take("i-1"), Instance("i-1", "failed", None, None, 3, "t0")).owed == 8


def test_what_was_set_aside_for_a_completed_instance_is_gone(client: "redis.Redis", prefix: str) -> None:
    ledger = Ledger(client, prefix)
    ledger.birth(None, 1, [PartitionStart(P0, "e1", 0, 2)], settle_s=0, reason="test")
    ledger.apply(counts(ledger, 0, ("i-1", 5), ("i-1", 6)))
    turn = ledger.seen(ledger.take("i-1"), Instance("i-1", "completed", None, 99, 3, "t0"))
    assert (turn.owed, turn.aside) == (0, None)
    ledger.finish(turn, "completed")
    assert ledger.client.exists(f"{prefix}i:i-1") == 0, "an import of long ago leaves nothing behind"


def test_a_birth_voids_what_an_older_ledger_knew_and_keeps_counts_by_hand(ledger: Ledger) -> None:
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    ledger.add_by_hand("i-1", 40, "key-1")
    turn = take_settled(ledger, "i-1")
    turn = ledger.open_intent(turn, 0, "t0")
    old = ledger.state([TOPIC]).id
    ledger.birth(old, 2, [PartitionStart(P0, "e1", 0, 1)], settle_s=0, reason="test")
    with pytest.raises(LostTurn):
        ledger.close_intent(turn, applied=True, etag="t1")
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    turn = ledger.take("i-1")
    assert (turn.owed, turn.aside, turn.intent) == (0, 45, None)


@pytest.mark.parametrize("births", [1, 2])
@pytest.mark.parametrize("how", ["parked", "failed"])
def test_a_birth_finds_what_is_owed_by_hand_though_neither_records_nor_a_listing_tell_of_it(ledger: Ledger, how: str, births: int) -> None:
    ledger = Ledger(ledger.client, ledger.prefix, kick_s=0.0)  # no push task is waited for
    ledger.add_by_hand("i-1", 40, "key-1")
    if how == "parked":
        for _ in range(2):
            turn = ledger.take("i-1", force=True)
            ledger.unknown(turn)
            ledger.release(turn)
    else:
        turn = ledger.seen(ledger.take("i-1"), Instance("i-1", "failed", None, 99, 3, "t0"))
        ledger.finish(turn, "failed")
    for number in range(2, 2 + births):
        ledger.birth(ledger.state([TOPIC]).id, number, [PartitionStart(P0, "e1", 0, 0)], settle_s=0, reason="test")
    assert ledger.due(10, 10, 10).push == ("i-1",)
    turn = ledger.seen(ledger.take("i-1"), Instance("i-1", "failed", None, 99, 3, "t0"))
    assert (turn.owed, turn.aside) == (37, None)


@pytest.mark.parametrize("sent, inserted, owes", [(False, 40, 7), (True, 40, 7), (True, 47, 0), (False, 60, 7)])
@pytest.mark.parametrize("births", [1, 2])
def test_what_a_completed_instance_owes_by_hand_is_owed_after_a_birth(
    ledger: Ledger,
    births: int,
    inserted: int,
    owes: int,
    sent: bool,  # noqa: FBT001 -- a case
) -> None:
    """Of all else that is read again of one that is completed the API has confirmed that it was in."""
    ledger.add_by_hand("i-1", 40, "key-1")
    turn = ledger.seen(ledger.take("i-1"), Instance("i-1", "submitted", None, 40, 0, "t0"))
    turn = ledger.close_intent(ledger.open_intent(turn, 0, "t0"), applied=True, etag="t1")
    ledger.finish(turn, "completed")
    ledger.add_by_hand("i-1", 7, "key-2")
    if sent:
        ledger.open_intent(ledger.take("i-1", force=True), 40, "t1")
    for number in range(2, 2 + births):
        ledger.birth(ledger.state([TOPIC]).id, number, [PartitionStart(P0, "e1", 0, 0)], settle_s=0, reason="test")
    turn = ledger.seen(ledger.take("i-1"), Instance("i-1", "completed", None, 40, inserted, "t2"))
    assert (turn.owed, turn.aside) == (owes, None)
    ledger.release(turn)
    again = ledger.seen(ledger.take("i-1", force=True), Instance("i-1", "completed", None, 40, 0, "t2"))
    assert again.owed == owes, "settled once"


def test_a_birth_lets_those_rest_who_have_ended_and_owe_nothing(ledger: Ledger) -> None:
    ledger.add_by_hand("i-1", 40, "key-1")
    turn = ledger.seen(ledger.take("i-1"), Instance("i-1", "completed", None, 40, 0, "t0"))
    turn = ledger.close_intent(ledger.open_intent(turn, 0, "t0"), applied=True, etag="t1")
    ledger.finish(turn, "completed")
    ledger.birth(ledger.state([TOPIC]).id, 2, [PartitionStart(P0, "e1", 0, 0)], settle_s=0, reason="test")
    assert ledger.due(10, 10, 10).push == ()


def test_the_version_rises_with_every_change_of_counts(ledger: Ledger) -> None:
    def version() -> int:
        return ledger.state([TOPIC]).version

    seen = [version()]
    ledger.apply(counts(ledger, 0, ("i-1", 5)))
    seen.append(version())
    turn = take_settled(ledger, "i-1")
    turn = ledger.open_intent(turn, 0, "t0")
    seen.append(version())
    turn = ledger.copy_intent(turn, turn.intent)  # type: ignore[arg-type]
    seen.append(version())
    turn = ledger.close_intent(turn, applied=True, etag="t1")
    seen.append(version())
    ledger.finish(turn, "completed")
    seen.append(version())
    ledger.add_by_hand("i-1", 1, "k")
    seen.append(version())
    assert sorted(set(seen)) == seen


class Mute(Valkey):
    """A server whose operator has taken INFO away."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--rename-command", "INFO", ""]


def test_a_real_server_that_does_not_tell_its_run_is_refused(tmp_path: Path, prefix: str) -> None:
    """Without it a restart, and what it lost, would go unnoticed."""
    with Mute(tmp_path) as server, connect(server.url) as client, pytest.raises(LedgerUnavailable, match="INFO"):
        Ledger(client, prefix).birth(None, 1, [], settle_s=0, reason="test")
