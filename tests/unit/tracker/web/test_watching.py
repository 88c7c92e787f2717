"""The one reader: what it has read when, however many instances there are."""

import pytest

from tests.unit.tracker.broken_redis import away
from tests.unit.tracker.web_client import new_ledger
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.steering import Steering
from tracker.web import catalogue
from tracker.web.catalogue import Catalogue, Wanted
from tracker.web.reading import Reader
from tracker.web.watching import LONG_STRETCH, REST_S, STRETCH, WATCHED_FOR_S, WATCHED_S, Watch


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger() -> Ledger:
    return new_ledger()


@pytest.fixture
def watch(ledger: Ledger, clock: Clock) -> Watch:
    return Watch(Reader(ledger), clock)


def follow(ledger: Ledger, *names: str, job: str = "j", inserted: int = 0, state: str = "submitted") -> None:
    ledger.follow("submitted", [Instance(name, state, job, 1000, inserted) for name in names])


def test_all_are_read_in_the_first_looks_and_what_is_new_in_the_next(ledger: Ledger, watch: Watch) -> None:
    follow(ledger, *(f"i-{number}" for number in range(50)))
    watch.look()
    assert watch.complete
    assert len(watch.catalogue.rows) == 50
    follow(ledger, "new", job="other")
    watch.look()
    assert watch.catalogue.members("other") == ("new",)


def test_what_redis_has_forgotten_is_forgotten_soon(ledger: Ledger, watch: Watch) -> None:
    """No list names it any more, so no walk comes by; kept for ever, it would in the end leave no place for new ones."""
    gone, kept = [f"gone-{number}" for number in range(120)], [f"kept-{number}" for number in range(30)]
    follow(ledger, *gone, *kept)
    watch.look()
    ledger.client.zrem(f"{ledger.prefix}followed", *gone)
    ledger.client.delete(*(f"{ledger.prefix}i:{name}" for name in gone))
    for _ in range(5):
        watch.look()
    assert sorted(watch.catalogue.rows) == sorted(kept)
    assert sorted(watch.catalogue.members("j")) == sorted(kept)


def test_no_look_reads_more_than_a_stretch_however_many_there_are(ledger: Ledger, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    views = watch.reader.views

    def counted(ids: list[str]) -> object:
        reads.append(len(ids))
        return views(ids)

    monkeypatch.setattr(watch.reader, "views", counted)
    pipeline = ledger.client.pipeline(transaction=False)
    for number in range(3 * LONG_STRETCH):
        pipeline.hset(f"{ledger.prefix}i:i-{number}", mapping={"g": 1, "st": "submitted"})
        pipeline.zadd(f"{ledger.prefix}followed", {f"i-{number}": number})
    pipeline.execute()
    while not watch.complete:
        watch.look()
    assert len(watch.catalogue.rows) == 3 * LONG_STRETCH
    assert max(reads) <= LONG_STRETCH + 700
    reads.clear()
    watch.look()
    assert reads[0] <= STRETCH + 100


def test_where_no_end_can_be_told_it_is_said_why(ledger: Ledger, watch: Watch, clock: Clock) -> None:
    assert watch.no_end() == "still being read"
    watch.look()
    assert watch.no_end() == "no end in sight: nothing moves"  # what is followed is parked, or nothing is
    ledger.follow("submitted", [Instance("none", "submitted", "j", None, 0)])
    watch.look()
    assert watch.no_end() == "no end in sight: no total is known"
    follow(ledger, "i-1", inserted=1000)
    watch.look()
    assert watch.no_end() == "no end in sight: one has no total yet"
    follow(ledger, "i-2", inserted=10)
    watch.look()
    assert watch.no_end() == "the pace is being measured"
    clock.now += 10
    watch.look()
    assert (watch.left_s(), watch.no_end()) == (None, "no end in sight: nothing moves")
    for name in ("none", "i-2"):
        ledger.client.delete(f"{ledger.prefix}i:{name}")
    watch.look()
    assert watch.no_end() == "all is in; the end is awaited"


def test_what_redis_no_longer_holds_is_forgotten(ledger: Ledger, watch: Watch) -> None:
    follow(ledger, "i-1", "i-2")
    watch.look()
    ledger.client.delete(f"{ledger.prefix}i:i-1")
    watch.look()
    assert list(watch.catalogue.rows) == ["i-2"]
    assert watch.catalogue.members("j") == ("i-2",)


def test_it_looks_often_while_somebody_watches_and_rests_else(watch: Watch, clock: Clock) -> None:
    watch.look()
    assert watch.pause_s(0.01) == WATCHED_S
    clock.now += WATCHED_FOR_S
    assert watch.pause_s(0.01) == REST_S
    watch.asked()
    watch.look()
    assert watch.pause_s(0.01) == WATCHED_S
    assert watch.pause_s(2.0) == 8.0, "a slow look is followed by a long pause"


def test_redis_that_is_away_is_not_asked_without_a_pause() -> None:
    watch = Watch(Reader(Ledger(away(), "p:")))
    watch.look()
    assert "Redis does not answer" in watch.trouble
    assert not watch.complete
    assert watch.pause_s(0.001) == WATCHED_S


def test_the_end_of_all_is_that_of_the_last(ledger: Ledger, watch: Watch, clock: Clock) -> None:
    for second in range(2, 14, 2):
        clock.now = 1000.0 + second
        follow(ledger, "quick", inserted=second * 90)
        follow(ledger, "slow", inserted=second * 10)
        watch.look()
    assert watch.left_s() == pytest.approx(88.0)


def rise(ledger: Ledger, watch: Watch, clock: Clock) -> None:
    """For ten seconds an instance comes nearer to its total."""
    for second in range(2, 14, 2):
        clock.now = 1000.0 + second
        follow(ledger, "i-1", inserted=second * 10)
        watch.look()


def test_no_end_is_expected_of_an_instance_whose_pushes_fail_until_they_do_not(ledger: Ledger, watch: Watch, clock: Clock) -> None:
    rise(ledger, watch, clock)
    assert watch.left_s() is not None
    ledger.release(ledger.take("i-1", force=True), delay_s=5.0, reason="503 Service Unavailable")
    watch.look()
    assert watch.left_s() is None
    ledger.client.hdel(f"{ledger.prefix}i:i-1", "tr", "why")
    rise(ledger, watch, clock)
    assert watch.left_s() is not None


def test_no_end_is_expected_while_pushes_are_paused(ledger: Ledger, watch: Watch, clock: Clock) -> None:
    rise(ledger, watch, clock)
    Steering(ledger.client, ledger.prefix).pause("pushes", who="ann", why="upgrade")
    watch.look()
    assert (watch.left_s(), watch.no_end()) == (None, "no end in sight: pushes are paused")
    watch.read(["i-1"])
    assert watch.left_s() is None


# -- orders -------------------------------------------------------------------------------------------------------


@pytest.fixture
def rows(ledger: Ledger, watch: Watch) -> Catalogue:
    follow(ledger, "b-2", "B-1", job="j-1", inserted=10)
    follow(ledger, "a-1", job="j-2", inserted=500)
    follow(ledger, "done", job="j-3")
    follow(ledger, "odd", job="j-4")
    ledger.finish(ledger.seen(ledger.take("done"), Instance("done", "submitted", "j-3", 5, 5)), "completed")
    ledger.park(ledger.take("odd"), "foreign", "somebody else counts")
    watch.look()
    return watch.catalogue


@pytest.mark.parametrize(
    "wanted, ids",
    [
        ({"sort": "name"}, ["B-1", "a-1", "b-2", "done", "odd"]),
        ({"sort": "progress"}, ["a-1", "B-1", "b-2", "odd", "done"]),
        ({"sort": "name", "q": "B-"}, ["B-1", "b-2"]),
        ({"sort": "name", "q": "j-2"}, ["a-1"]),
        ({"state": "completed"}, ["done"]),
        ({"state": "needs a person"}, ["odd"]),
        ({"state": "importing", "sort": "name"}, ["B-1", "a-1", "b-2"]),
        ({"state": "registered"}, []),
    ],
)
def test_instances_are_found_and_put_in_order(rows: Catalogue, wanted: dict[str, str], ids: list[str]) -> None:
    found = list(rows.order(Wanted.read(wanted | {"list": "instances"})))
    assert found == ids


def test_what_needs_a_person_comes_first_and_what_has_ended_last(rows: Catalogue) -> None:
    order = rows.order(Wanted(list="instances"))
    assert (order[0], order[-1]) == ("odd", "done")
    jobs = rows.order(Wanted(), ["j-9", "j-1"])
    assert (jobs[0], jobs[-1]) == ("j-9", "j-3")


def test_an_order_that_took_long_is_used_the_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    kept, made = Catalogue(clock), []

    def slow(_: Wanted) -> list[str]:
        made.append(clock.now)
        clock.now += 0.5
        return []

    monkeypatch.setattr(kept, "_ordered", slow)
    for _ in range(30):
        kept.order(Wanted())
        clock.now += 1.0
    assert len(made) == 3, "half a second in ten"


def test_orders_and_rows_are_bounded(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, watch: Watch) -> None:
    monkeypatch.setattr(catalogue, "MOST_KEPT", 3)
    follow(ledger, *(f"i-{number}" for number in range(9)))
    watch.look()
    assert len(watch.catalogue.rows) == 3
    for number in range(100):
        watch.catalogue.order(Wanted(q=str(number)))
    assert len(watch.catalogue._orders) == catalogue.MOST_ORDERS


def test_what_has_stood_still_for_long_has_no_pace(ledger: Ledger, watch: Watch, clock: Clock) -> None:
    follow(ledger, "old", "new", inserted=5)
    ledger.client.hset(f"{ledger.prefix}i:old", "last", 1000)
    for _ in range(3):
        watch.look()
        clock.now += 5
    assert watch.paces.names() == ["new"]
