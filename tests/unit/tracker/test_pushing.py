"""What an instance owes reaches the API exactly once, whatever becomes of a call."""

import asyncio
import uuid
from collections.abc import Callable

import fakeredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.tracker.model_apis import PUT_FATES, ModelDatasetApi, Stored
from tracker import pushing
from tracker.events import Batch, ObservationsInserted, Partition, pack
from tracker.ledger import Ledger
from tracker.ledger_state import PartitionStart, Turn
from tracker.pushing import ComeAgain, Park, Rules

RULES = Rules(timeout_s=0.0, max_request_age_s=0.0, jitter=lambda: 0.0)

SERVER = fakeredis.FakeServer()


class Path:
    """One instance's way from batches to the API, taken turn by turn."""

    def __init__(self, api: ModelDatasetApi, rules: Rules = RULES) -> None:
        self.api = api
        self.rules = rules
        self.ledger = Ledger(fakeredis.FakeRedis(server=SERVER, decode_responses=True), f"{uuid.uuid4().hex}:")
        self.id = self.ledger.birth(None, 1, [PartitionStart(Partition("t", 0), "e", 0, 0)], settle_s=0, reason="test")
        self.offset = 0
        self.counted = 0

    def count(self, count: int) -> None:
        """One record from Kafka."""
        payload, records = pack("counts", self.offset, [(self.offset, count)], lambda count: ObservationsInserted("i-1", count))
        self.ledger.apply(Batch(self.id, "t", 0, "e", self.offset, self.offset + 1, "counts", records, payload))
        self.offset += 1
        self.counted += count

    def turn(self) -> Turn:
        """Push once, as far as it goes; raises how the turn ends."""
        turn = self.ledger.take("i-1", force=True)
        try:
            turn = asyncio.run(pushing.push(turn, self.ledger, self.api, self.rules, lambda: 0.0))
        except ComeAgain as later:
            self.ledger.release(turn, delay_s=later.delay_s, reason=later.why)
            raise
        except Park as park:
            self.ledger.park(turn, park.kind, park.why)
            raise
        self.ledger.release(turn)
        return turn

    def until_settled(self) -> Turn:
        """Push until a turn ends with nothing owed."""
        for _ in range(50):
            try:
                return self.turn()
            except ComeAgain:
                continue
        raise AssertionError("never settled")


def path(**model: object) -> Path:
    """An instance that the API knows."""
    return Path(ModelDatasetApi(instances={"i-1": Stored()}, **model))  # type: ignore[arg-type]


def once(fate: str) -> Callable[[], str]:
    """This fate for the first PUT, a good day from then on."""
    fates = iter([fate])
    return lambda: next(fates, "fine")


def test_many_counts_become_one_call() -> None:
    way = path()
    for _ in range(20):
        way.count(1000)
    assert way.turn().owed == 0
    assert way.api.calls == ["GET i-1", "PUT i-1 +20000"]


def test_the_etag_of_the_last_answer_still_serves() -> None:
    way = path()
    way.count(5)
    way.turn()
    way.count(6)
    way.turn()
    assert way.api.calls == ["GET i-1", "PUT i-1 +5", "PUT i-1 +6"]


def test_without_etags_the_total_is_read_before_each_call() -> None:
    way = path(etags=False)
    way.count(5)
    way.turn()
    way.count(6)
    way.turn()
    assert way.api.calls == ["GET i-1", "PUT i-1 +5", "GET i-1", "PUT i-1 +6"]


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize("fate", PUT_FATES)
def test_whatever_becomes_of_a_call_the_count_is_right_in_the_end(fate: str, etags: bool) -> None:  # noqa: FBT001
    way = path(etags=etags, fate=once(fate))
    way.count(5)
    way.until_settled()
    way.api.arrive()
    assert way.api.instances["i-1"].inserted == 5


def test_a_409_is_read_back_at_once() -> None:
    way = path(fate=once("another writer"))
    way.count(5)
    way.turn()
    assert way.api.calls == ["GET i-1", "PUT i-1 +5", "GET i-1", "PUT i-1 +5"]


def test_an_unknown_outcome_is_sent_again_with_the_same_delta_though_more_is_owed() -> None:
    way = path(fate=once("late"))
    way.count(5)
    with pytest.raises(ComeAgain):
        way.turn()
    way.count(7)
    way.turn()
    assert way.api.calls[2:] == ["GET i-1", "PUT i-1 +5", "PUT i-1 +7"]
    way.api.arrive()
    assert way.api.instances["i-1"].inserted == 12


def test_a_later_copy_that_is_not_sent_leaves_the_intent_open() -> None:
    fates = iter(["late", "not sent", "turned away"])
    way = path(fate=lambda: next(fates, "fine"))
    way.count(5)
    for _ in range(3):
        with pytest.raises(ComeAgain):
            way.turn()
    assert way.ledger.take("i-1", force=True).intent is not None


def test_without_etags_nothing_is_read_back_before_the_request_is_dead() -> None:
    way = Path(
        ModelDatasetApi(etags=False, fate=once("late"), instances={"i-1": Stored()}),
        Rules(timeout_s=5.0, max_request_age_s=10.0),
    )
    way.count(5)
    with pytest.raises(ComeAgain):
        way.turn()
    with pytest.raises(ComeAgain, match="still be on its way") as later:
        way.turn()
    assert 14.0 < later.value.delay_s <= 15.0
    assert way.api.calls == ["GET i-1", "PUT i-1 +5"]


def test_an_api_that_lost_its_etags_is_waited_for_likewise() -> None:
    way = Path(ModelDatasetApi(fate=once("late"), instances={"i-1": Stored()}), Rules(timeout_s=5.0, max_request_age_s=10.0))
    way.count(5)
    with pytest.raises(ComeAgain):
        way.turn()
    way.api.etags = False
    with pytest.raises(ComeAgain, match="still be on its way"):
        way.turn()
    assert [call for call in way.api.calls if call.startswith("PUT")] == ["PUT i-1 +5"]


def test_a_count_by_somebody_else_parks_the_instance() -> None:
    way = path(fate=once("lost"))
    way.count(5)
    with pytest.raises(ComeAgain):
        way.turn()
    way.api.instances["i-1"].inserted += 1
    way.api.instances["i-1"].version += 1
    with pytest.raises(Park, match="somebody else counts: the API says 1, expected 0 or 5"):
        way.turn()
    way.count(7)
    assert way.ledger.client.hget(f"{way.ledger.prefix}i:i-1", "owed") == "12"


def test_an_unknown_instance_is_tried_slowly_and_goes_on_by_itself() -> None:
    way = path()
    way.api.instances.clear()
    way.count(5)
    for wait in (1.0, 60.0):
        with pytest.raises(ComeAgain) as later:
            way.turn()
        assert later.value.delay_s == wait
    assert way.ledger.due(10, 10, 0).parked[0][0] == "i-1"
    way.api.instances["i-1"] = Stored()
    way.turn()
    assert way.api.instances["i-1"].inserted == 5
    assert way.ledger.due(10, 10, 0).parked == ()


def test_what_a_published_instance_is_owed_becomes_a_dead_letter() -> None:
    way = path()
    way.api.instances["i-1"].state = "published"
    way.count(5)
    assert way.turn().owed == 0
    letters = way.ledger.client.xrange(f"{way.ledger.prefix}dead")
    assert [letter["count"] for _, letter in letters] == ["5"]  # type: ignore[union-attr,index]


def test_what_became_of_a_lost_copy_is_clear_once_the_instance_is_published() -> None:
    """Every later copy would be refused, and the ETag says that the lost one was not applied: not tried for ever."""
    way = path(fate=once("lost"))
    way.api.instances["i-1"].state = "published"
    way.count(5)
    with pytest.raises(ComeAgain):
        way.turn()
    assert way.turn().owed == 0
    letters = way.ledger.client.xrange(f"{way.ledger.prefix}dead")
    assert [(letter["count"], letter["perhaps"]) for _, letter in letters] == [("5", "0")]  # type: ignore[union-attr,index]


def test_a_turn_ends_after_a_few_seconds_though_more_is_owed() -> None:
    way = path()
    now = 0.0

    def tick() -> float:
        nonlocal now
        now += 0.5
        return now

    def more_meanwhile() -> str:
        way.count(1)
        return "fine"

    way.api.fate = more_meanwhile

    way.count(1)
    turn = way.ledger.take("i-1")
    turn = asyncio.run(pushing.push(turn, way.ledger, way.api, way.rules, tick))
    assert turn.owed > 0
    assert now < 5
    assert way.ledger.release(turn) is True, "it is pushed again"


def test_back_offs_grow_up_to_a_bound_and_are_jittered() -> None:
    rules = Rules(jitter=lambda: 1.0)
    assert [rules.wait_s(tries) for tries in (0, 1, 2, 10, 10**6)] == [0.2, 0.4, 0.8, 15.0, 15.0]
    assert rules.wait_s(0, slow=True) == 2.0
    assert Rules(jitter=lambda: 0.0).wait_s(1) == 0.2


@settings(max_examples=300, deadline=None)
@given(etags=st.booleans(), data=st.data())
def test_any_sequence_of_fates_counts_every_record_once(etags: bool, data: st.DataObject) -> None:  # noqa: FBT001
    """Counts come between turns, calls meet any fate, late ones arrive any time: the total is the sum, and nothing is parked."""
    bad = st.sampled_from(PUT_FATES)
    calm = False

    def fate() -> str:
        return "fine" if calm else data.draw(bad)

    def get_fate() -> str:
        return "fine" if calm else data.draw(st.sampled_from(["fine", "fine", "away"]))

    way = path(etags=etags, fate=fate, get_fate=get_fate)
    way.count(1)
    for step in data.draw(st.lists(st.sampled_from(["count", "turn", "turn", "arrive"]), max_size=12)):
        if step == "count":
            way.count(data.draw(st.integers(1, 9)))
        elif step == "arrive":
            way.api.arrive()
        else:
            try:
                way.turn()
            except ComeAgain:
                continue
    calm = True
    way.until_settled()
    way.api.arrive()
    assert way.api.instances["i-1"].inserted == way.counted
