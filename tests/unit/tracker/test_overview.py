"""What people see of the ledger, made with the ledger itself."""

import dataclasses
import re
import uuid
from collections.abc import Sequence
from typing import Any

import fakeredis
import pytest
import redis

from tests.unit.tracker.broken_redis import away
from tracker import views
from tracker.errors import BadInput, LedgerUnavailable
from tracker.events import Batch, Event, ObservationsInserted, Partition, Undecodable, pack
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.ledger_scripts import script_text
from tracker.ledger_state import PartitionStart
from tracker.overview import Overview

P0 = Partition("counts", 0)
SERVER = fakeredis.FakeServer()


@pytest.fixture
def ledger() -> Ledger:
    """A ledger just born and ready."""
    ledger = Ledger(fakeredis.FakeRedis(server=SERVER, decode_responses=True), f"{uuid.uuid4().hex[:8]}:")
    ledger.birth(None, 1, [PartitionStart(P0, "e", 0, 0)], settle_s=0, reason="there is no ledger")
    return ledger


@pytest.fixture
def overview(ledger: Ledger) -> Overview:
    return Overview(ledger)


def count(ledger: Ledger, *counts: tuple[str, int]) -> None:
    """Apply one batch of counts behind all before it."""
    apply(ledger, [ObservationsInserted(name, number) for name, number in counts])


def apply(ledger: Ledger, events: list[Event]) -> None:
    start = ledger.positions([P0]).next[P0][1]
    payload, records = pack("counts", start, [(start + n, event) for n, event in enumerate(events)], lambda event: event)
    ledger.apply(Batch(ledger.state(()).id or "", "counts", 0, "e", start, start + len(events), "counts", records, payload))


def seen(name: str, *, total: int | None = None, inserted: int = 0, job: str = "j-1", tasks: tuple[str, ...] = ()) -> Instance:
    return Instance(name, "submitted", job, total, inserted, "etag", tasks)


def finish(ledger: Ledger, name: str, *, job: str = "j-1") -> None:
    ledger.finish(ledger.seen(ledger.take(name), seen(name, total=5, inserted=5, job=job)), "completed")


def view(overview: Overview, name: str) -> views.InstanceView:
    found = overview.instance(name)
    assert found is not None
    return found


# -- instances ----------------------------------------------------------------------------------------------------


def test_an_instance_nobody_has_heard_of_is_none(overview: Overview) -> None:
    assert overview.instance("i-1") is None


def test_a_registered_instance_has_no_total_yet(ledger: Ledger, overview: Overview) -> None:
    ledger.register("i-1", "j-1")
    found = view(overview, "i-1")
    assert (found.job_id, found.total, found.inserted, found.owed) == ("j-1", None, 0, 0)


def test_what_was_counted_is_owed_until_the_api_confirms_it(ledger: Ledger, overview: Overview) -> None:
    ledger.follow("submitted", [seen("i-1", total=10)])
    count(ledger, ("i-1", 4), ("i-1", 2))
    before = view(overview, "i-1")
    assert (before.state, before.total, before.inserted, before.owed, before.counted) == ("submitted", 10, 0, 6, 6)
    turn = ledger.open_intent(ledger.seen(ledger.take("i-1"), seen("i-1", total=10)), 0, "etag")
    during = view(overview, "i-1")
    assert during.intent is not None
    assert during.intent.delta == 6
    assert during.intent.age_s >= 0
    ledger.release(ledger.close_intent(turn, applied=True, etag="next"))
    after = view(overview, "i-1")
    assert (after.intent, after.inserted, after.owed, after.counted) == (None, 6, 0, 6)
    assert after.last_record_s is not None


def test_a_failed_try_shows_its_reason_and_when_it_is_tried_again(ledger: Ledger, overview: Overview) -> None:
    count(ledger, ("i-1", 4))
    ledger.release(ledger.seen(ledger.take("i-1"), seen("i-1")), delay_s=30, reason="connection refused")
    found = view(overview, "i-1")
    assert (found.reason, found.tries) == ("connection refused", 1)
    assert found.next_try_s is not None
    assert found.next_try_s > overview.figures().now_s


def test_an_instance_that_waits_for_import_tasks_says_so(ledger: Ledger, overview: Overview) -> None:
    ledger.follow("submitted", [seen("i-1", total=5, inserted=5, tasks=("hierarchy of geography",))])
    found = view(overview, "i-1")
    assert (found.state, found.open_tasks) == (views.WAITING_FOR_TASKS, "hierarchy of geography")


def test_a_parked_instance_says_why_and_since_when(ledger: Ledger, overview: Overview) -> None:
    count(ledger, ("i-1", 4))
    ledger.park(ledger.seen(ledger.take("i-1"), seen("i-1")), "drift", "somebody else counts")
    found = view(overview, "i-1")
    assert (found.state, found.parked_kind, found.reason, found.owed) == ("parked", "drift", "somebody else counts", 4)
    assert found.parked_since_s is not None


def test_a_finished_instance_keeps_its_figures_and_says_when_it_ended(ledger: Ledger, overview: Overview) -> None:
    ledger.register("i-1", "j-1")
    finish(ledger, "i-1")
    found = view(overview, "i-1")
    assert (found.state, found.inserted, found.total, found.over) == ("completed", 5, 5, False)
    assert found.ended_s is not None


def test_more_inserted_than_the_total_is_shown(ledger: Ledger, overview: Overview) -> None:
    ledger.register("i-1", "j-1")
    ledger.release(ledger.seen(ledger.take("i-1"), seen("i-1", total=5, inserted=6)))
    assert view(overview, "i-1").over


def test_counts_by_hand_are_told_apart(ledger: Ledger, overview: Overview) -> None:
    ledger.add_by_hand("i-1", 7, "key-1")
    found = view(overview, "i-1")
    assert (found.owed, found.by_hand) == (7, 7)
    assert overview.key_applied("key-1") == "i-1 7"
    assert overview.key_applied("key-2") is None


def test_after_a_birth_nothing_of_the_older_ledger_is_shown_as_owed(ledger: Ledger, overview: Overview) -> None:
    ledger.follow("submitted", [seen("i-1", total=10)])
    count(ledger, ("i-1", 4))
    ledger.add_by_hand("i-1", 7, "key-1")
    ledger.birth(ledger.state(()).id, 2, [PartitionStart(P0, "e", 0, 2)], settle_s=60, reason="test")
    found = view(overview, "i-1")
    assert (found.state, found.owed, found.counted, found.aside, found.by_hand, found.total) == (views.SETTLING, 0, 0, 7, 7, 10)
    assert overview.figures().owed == 0


def test_what_has_ended_is_shown_after_a_birth_as_it_ended(ledger: Ledger, overview: Overview) -> None:
    """Where Kafka no longer holds its records, nothing of the new ledger ever touches it."""
    ledger.follow("submitted", [seen("i-1", total=7)])
    ledger.add_by_hand("i-1", 7, "key-1")
    turn = ledger.seen(ledger.take("i-1"), seen("i-1", total=7))
    turn = ledger.close_intent(ledger.open_intent(turn, 0, "t0"), applied=True, etag="t1")
    ledger.finish(turn, "completed")
    before = view(overview, "i-1")
    ledger.birth(ledger.state(()).id, 2, [PartitionStart(P0, "e", 0, 2)], settle_s=60, reason="test")
    assert view(overview, "i-1") == dataclasses.replace(before, counted=0), "this ledger has counted none of it"
    assert (before.state, before.inserted, before.aside, before.ended_s is None) == ("completed", 7, None, False)


def test_what_a_birth_voids_is_what_the_script_deletes() -> None:
    (listed,) = re.findall(r"redis\.call\('HDEL', k, ('owed'.*?)\)", script_text("state").partition("local function touch")[2], re.DOTALL)
    assert set(re.findall(r"'(\w+)'", listed)) == views._VOIDED_BY_A_BIRTH


@pytest.mark.parametrize("sent", [False, True])
def test_what_has_ended_and_still_owed_at_a_birth_is_to_be_settled(ledger: Ledger, overview: Overview, sent: bool) -> None:  # noqa: FBT001 -- a case
    ledger.add_by_hand("i-1", 40, "key-1")
    turn = ledger.seen(ledger.take("i-1"), dataclasses.replace(seen("i-1", total=99, inserted=3), state="failed"))
    ledger.finish(ledger.open_intent(turn, 3, "t0") if sent else turn, "failed")
    ledger.birth(ledger.state(()).id, 2, [PartitionStart(P0, "e", 0, 2)], settle_s=60, reason="test")
    assert view(overview, "i-1").aside == 40


def test_a_long_parked_instance_that_became_a_dead_letter_is_given_up(ledger: Ledger, overview: Overview) -> None:
    count(ledger, ("i-1", 4))
    turn = ledger.seen(ledger.take("i-1"), seen("i-1"))
    turn = ledger.open_intent(turn, 0, None)
    ledger.park(turn, "drift", "somebody else counts")
    ledger.bury_parked("i-1", "parked longer than PARKED_TTL", 0)
    given_up = view(overview, "i-1")
    assert (given_up.state, given_up.tries, given_up.next_try_s) == (views.GIVEN_UP, 0, None)
    (letter,) = overview.dead_letters()
    assert (letter.what, letter.instance_id, letter.count, letter.perhaps, letter.job_id) == ("counts", "i-1", 4, 4, "j-1")
    assert "perhaps counted" in letter.reason


# -- lists --------------------------------------------------------------------------------------------------------


def test_ten_thousand_instances_are_paged_in_a_few_round_trips(ledger: Ledger, overview: Overview, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in range(0, 10_000, 1000):
        ledger.follow("submitted", [seen(f"i-{number}", total=5, job=f"j-{number // 2}") for number in range(start, start + 1000)])
    trips: list[int] = []
    ask = overview.ask

    def counting(*commands: Sequence[Any], client: "redis.Redis | None" = None) -> list[Any]:
        trips.append(len(commands))
        return ask(*commands, client=client)

    monkeypatch.setattr(overview, "ask", counting)
    page = overview.instances(limit=700, offset=9600)
    assert (len(page.items), page.total, page.limit, page.offset) == (400, 10_000, 700, 9600)
    assert len(trips) <= 4
    assert overview.instances("submitted", limit=1).total == 10_000
    assert overview.jobs(limit=3).total == 5_000
    assert len(trips) < 60


def test_pages_together_hold_every_instance_once(ledger: Ledger, overview: Overview) -> None:
    ledger.follow("submitted", [seen(f"i-{number}") for number in range(25)])
    count(ledger, ("i-3", 1), ("i-4", 1))
    finish(ledger, "i-5")
    found = [item.id for offset in range(0, 30, 7) for item in overview.instances("all", limit=7, offset=offset).items]
    assert sorted(found) == sorted(f"i-{number}" for number in range(25))


def test_what_needs_attention_comes_first(ledger: Ledger, overview: Overview) -> None:
    ledger.follow("submitted", [seen("i-quiet"), seen("i-owes"), seen("i-parked"), seen("i-done")])
    count(ledger, ("i-owes", 1), ("i-parked", 1))
    ledger.park(ledger.seen(ledger.take("i-parked"), seen("i-parked")), "drift", "why")
    finish(ledger, "i-done")
    assert [item.id for item in overview.instances("all").items] == ["i-parked", "i-owes", "i-quiet", "i-done"]
    assert [item.id for item in overview.instances("unfinished").items] == ["i-parked", "i-owes", "i-quiet"]


@pytest.mark.parametrize(
    "name, expected", [("followed", {"i-1", "i-2"}), ("finished", {"i-3"}), ("owing", {"i-2"}), ("parked", set()), ("completed", {"i-3"})]
)
def test_lists_and_states_filter(ledger: Ledger, overview: Overview, name: str, expected: set[str]) -> None:
    ledger.follow("submitted", [seen("i-1"), seen("i-2"), seen("i-3")])
    count(ledger, ("i-2", 1))
    finish(ledger, "i-3")
    page = overview.instances(name)
    assert {item.id for item in page.items} == expected
    assert page.total == len(expected)


def test_instances_read_again_at_a_birth_and_not_listed_are_found_too(ledger: Ledger, overview: Overview) -> None:
    ledger.birth(ledger.state(()).id, 2, [PartitionStart(P0, "e", 0, 9)], settle_s=60, reason="test")
    count(ledger, ("i-old", 3))
    assert overview.figures().settling == 1
    assert [(item.id, item.aside) for item in overview.instances("all").items] == [("i-old", 3)]


@pytest.mark.parametrize("state", ["", "bogus", "ALL"])
def test_an_unknown_state_is_refused_with_what_is_known(overview: Overview, state: str) -> None:
    with pytest.raises(BadInput, match="expected one of all"):
        overview.instances(state)
    with pytest.raises(BadInput, match="expected one of all"):
        overview.jobs(state)


@pytest.mark.parametrize("limit, offset", [(0, 0), (1, -1)])
def test_an_impossible_page_is_refused(overview: Overview, limit: int, offset: int) -> None:
    with pytest.raises(BadInput):
        overview.instances(limit=limit, offset=offset)
    with pytest.raises(BadInput):
        overview.jobs(limit=limit, offset=offset)


# -- jobs ---------------------------------------------------------------------------------------------------------


def test_a_job_has_the_instances_that_the_ledger_remembers(ledger: Ledger, overview: Overview) -> None:
    ledger.follow("submitted", [seen("i-2"), seen("i-1"), seen("i-3", job="j-2")])
    finish(ledger, "i-2")
    ledger.release_job(ledger.take_job("j-1"), "not ready")
    job = overview.job("j-1")
    assert job is not None
    assert (job.instances, job.state, job.pending) == (("i-1", "i-2"), views.JOB_IN_PROGRESS, False)
    assert overview.job("j-9") is None


def test_a_pending_a_parked_and_a_done_job_differ(ledger: Ledger, overview: Overview) -> None:
    for name in ("j-pending", "j-parked", "j-done"):
        ledger.register(f"i-of-{name}", name)
        ledger.expect_job(name)
    finish(ledger, "i-of-j-done", job="j-done")
    ledger.release_job(ledger.take_job("j-parked"), "parked", reason="job not found")
    ledger.release_job(ledger.take_job("j-done"), "done", state="completed")
    found = {job.id: job for job in overview.jobs().items}
    assert {name: job.state for name, job in found.items()} == {"j-pending": "pending", "j-parked": "parked", "j-done": "completed"}
    assert (found["j-pending"].pending, found["j-parked"].reason) == (True, "job not found")
    assert found["j-parked"].parked_since_s is not None
    assert [job.id for job in overview.jobs("completed").items] == ["j-done"]
    assert {job.id for job in overview.jobs("unfinished").items} == {"j-pending", "j-parked"}
    assert overview.jobs(limit=1, offset=1).total == 3


def test_jobs_that_have_failed_for_long_are_counted_and_the_first_are_shown(ledger: Ledger, overview: Overview) -> None:
    assert overview.failing_jobs(0.0, 3).total == 0
    for number in range(5):
        ledger.expect_job(f"j-{number}")
        ledger.release_job(ledger.take_job(f"j-{number}"), "later", reason="404 instance not found", delay_s=60.0)
    failing = overview.failing_jobs(0.0, 3)
    assert failing.total == 5
    assert [job.reason for job in failing.items] == ["404 instance not found"] * 3
    assert overview.failing_jobs(60.0, 3) == views.Page((), 0, 3, 0)


# -- the whole ----------------------------------------------------------------------------------------------------


def test_the_figures_count_everything_once(ledger: Ledger, overview: Overview) -> None:
    ledger.follow("submitted", [seen("i-1"), seen("i-2"), seen("i-3")])
    count(ledger, ("i-1", 4), ("i-2", 5))
    apply(ledger, [Undecodable("too short", b"\x01")])
    ledger.record_loss(ledger.state(()).id or "", P0, "e", 3, 9, "deleted")
    finish(ledger, "i-3")
    ledger.note_sync({"ok": 1_000_000, "tried": 2_000_000, "attempts": 2, "pages": 3, "why": "timed out"})
    ledger.client.lpush(f"{ledger.prefix}tracker.push", "task", "task")
    figures = overview.figures()
    assert (figures.followed, figures.finished, figures.owing, figures.owed, figures.owed_is_bounded) == (2, 1, 2, 9, False)
    assert (figures.dead_letters, figures.losses, figures.births, figures.jobs_pending) == (1, 1, 1, 1)
    assert figures.queues == {"tracker.apply": 0, "tracker.push": 2, "tracker.control": 0}
    assert figures.unacked == 0
    assert (figures.sync.succeeded_s, figures.sync.attempts, figures.sync.pages, figures.sync.reason) == (1000, 2, 3, "timed out")
    (loss,) = overview.losses()
    assert (loss.start, loss.end, loss.topic, loss.reason) == (3, 9, "counts", "deleted")
    (birth,) = overview.births()
    assert (birth.ledger, birth.before, birth.reason) == (figures.ledger.id, "", "there is no ledger")
    (letter,) = overview.dead_letters()
    assert (letter.what, letter.offset, letter.raw, letter.reason) == ("undecodable", 2, "AQ==", "too short")


def test_without_a_ledger_there_is_still_something_to_see() -> None:
    figures = Overview(Ledger(fakeredis.FakeRedis(decode_responses=True), "p:")).figures()
    assert (figures.ledger.id, figures.ledger.verified, figures.ledger.ready) == (None, False, False)


def test_a_ledger_below_its_horizon_or_too_young_is_not_ready(ledger: Ledger, overview: Overview) -> None:
    assert overview.ledger_view().ready
    ledger.birth(ledger.state(()).id, 2, [PartitionStart(P0, "e", 0, 5)], settle_s=0, reason="test")
    assert (overview.ledger_view().ready, overview.ledger_view().unpassed) == (False, 1)
    ledger.birth(ledger.state(()).id, 3, [PartitionStart(P0, "e", 0, 0)], settle_s=60, reason="test")
    young = overview.ledger_view()
    assert not young.ready
    assert young.ready_in_s is not None
    assert 59 < young.ready_in_s <= 60


def test_a_void_ledger_refuses_every_change_and_is_shown(ledger: Ledger, overview: Overview) -> None:
    ledger.register("i-1", None)
    void = ledger.void("a person asked for it")
    assert overview.ledger_view().void == "a person asked for it"
    assert not overview.ledger_view().verified
    assert ledger.state([]).id == void
    assert not ledger.verify(ledger.state([]))
    with pytest.raises(LedgerUnavailable, match="void: a person asked for it"):
        ledger.register("i-2", None)
    assert view(overview, "i-1").state == views.REGISTERED
    ledger.birth(void, 2, [PartitionStart(P0, "e", 0, 0)], settle_s=0, reason="test")
    assert overview.ledger_view().void == ""
    assert overview.ledger_view().ready


def test_a_ledger_of_a_newer_version_is_shown_with_what_is_wrong(ledger: Ledger, overview: Overview) -> None:
    ledger.client.hset(f"{ledger.prefix}ledger", "format", "2")
    assert "format 2" in overview.ledger_view().trouble


def test_a_broker_that_is_away_hides_only_its_queues(ledger: Ledger) -> None:
    overview = Overview(ledger, broker=away())
    assert overview.figures().queues is None
    assert "the broker of the tasks" in overview.broker_trouble()
    assert Overview(ledger).broker_trouble() == ""


def test_a_redis_that_is_away_is_said_to_be() -> None:
    overview = Overview(Ledger(away(), "p:"))
    for ask in (overview.figures, overview.instances, overview.jobs, overview.dead_letters, overview.durability):
        with pytest.raises(LedgerUnavailable, match="does not answer"):
            ask()


def test_a_server_that_tells_nothing_of_its_durability_is_not_an_error(overview: Overview) -> None:
    assert overview.durability() == {"appendonly": None, "appendfsync": None, "maxmemory-policy": None}


def test_views_become_json_with_their_properties(ledger: Ledger, overview: Overview) -> None:
    ledger.register("i-1", "j-1")
    page = views.as_json(overview.instances())
    assert (page["total"], page["count"], page["items"][0]["id"], page["items"][0]["over"]) == (1, 1, "i-1", False)
    assert views.as_json(overview.figures())["ledger"]["number"] == 1
