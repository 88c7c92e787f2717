"""What the periodic check sets in motion, and when it reads the full listing instead."""

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace

import fakeredis
import pytest

from tracker import checking
from tracker.dataset_api import Page
from tracker.errors import Transient
from tracker.import_api import JobPage
from tracker.instance import Instance, Job
from tracker.ledger import Ledger
from tracker.ledger_state import Due

SETTINGS = SimpleNamespace(
    check_complete_interval_s=2.0, sync_interval_s=30.0, initialise_list_interval_s=4.0, initialise_list_attempts=3, parked_ttl_s=3600.0
)


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(fakeredis.FakeRedis(server=fakeredis.FakeServer(), decode_responses=True), "t:")
    ledger.birth(None, 1, [], settle_s=0, reason="test")
    return ledger


@dataclass
class DatasetApi:
    """Lists these instances, or is away."""

    instances: tuple[Instance, ...] = ()
    away: bool = False

    async def list_instances(self, state: str, offset: int, limit: int) -> Page:
        """One page of a thousand."""
        if self.away:
            raise Transient("the Dataset API is away")
        return Page(tuple(each for each in self.instances if each.state == state)[offset : offset + limit], len(self.instances))


@dataclass
class ImportApi:
    """Lists these jobs, or is away."""

    jobs: tuple[Job, ...] = ()
    away: bool = False

    async def list_jobs(self, state: str, offset: int, limit: int) -> JobPage:
        """One page."""
        if self.away:
            raise Transient("the Import API is away")
        return JobPage(tuple(job for job in self.jobs if job.state == state)[offset : offset + limit], len(self.jobs))


def check(ledger: Ledger) -> checking.Check:
    """One check, whoever did the last one."""
    ledger.end_lease("tick")
    found = checking.check(ledger, SETTINGS)
    assert found is not None
    return found


def sync(ledger: Ledger, dataset_api: DatasetApi, import_api: ImportApi | None = None) -> None:
    """One full listing."""
    asyncio.run(checking.sync(ledger, dataset_api, import_api or ImportApi(), SETTINGS))


def test_one_of_two_checks_at_once_does_nothing(ledger: Ledger) -> None:
    assert checking.check(ledger, SETTINGS) is not None
    assert checking.check(ledger, SETTINGS) is None


def test_until_the_first_listing_succeeds_it_is_tried_again_quickly_a_few_times() -> None:
    def due(tried_s: float, attempts: int, now_s: float) -> bool:
        return checking.sync_is_due({"tried": str(int(tried_s * 1000)), "attempts": str(attempts)}, now_s, 0.0, SETTINGS)

    assert checking.sync_is_due({}, 1000.0, None, SETTINGS)
    assert not due(1000, 1, 1003)
    assert due(1000, 1, 1004)
    assert not due(1000, 3, 1029), "the attempts are used up"
    assert due(1000, 3, 1030)


def test_a_ledger_that_has_become_ready_is_listed_once_more() -> None:
    assert checking.sync_is_due({"ok": "1000000"}, 1010.0, 1005.0, SETTINGS)
    assert not checking.sync_is_due({"ok": "1006000"}, 1010.0, 1005.0, SETTINGS)
    assert not checking.sync_is_due({"ok": "1000000"}, 1010.0, None, SETTINGS)


def test_of_many_instances_without_a_total_a_few_are_asked_for_beside_the_listing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"i-{n}" for n in range(50))
    monkeypatch.setattr(ledger, "due", lambda *_: Due(look=("x",), totals=names, ready_since_s=0.0))
    sync(ledger, DatasetApi())
    ledger.note_sync({"took": 60_000})
    assert not check(ledger).sync, "a listing that takes a minute is not read all the time"
    ledger.note_sync({"took": 0})
    asked: set[str] = set()
    for _ in range(200):
        found = check(ledger)
        assert found.sync
        assert len(found.look) == 1 + checking.FEW
        asked.update(found.look)
    assert asked == {"x", *names}, "not always the same ones: what has left submitted is in no listing"


def test_without_a_listing_all_of_them_are_asked_for(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"i-{n}" for n in range(50))
    monkeypatch.setattr(ledger, "due", lambda *_: Due(totals=names, ready_since_s=0.0))
    sync(ledger, DatasetApi(away=True))
    assert check(ledger).look == names


def test_the_listing_follows_what_it_shows_and_names_what_it_lacks(ledger: Ledger) -> None:
    ledger.register("gone", None)
    api = DatasetApi(tuple(Instance(f"i-{n}", "submitted", "job-1") for n in range(2500)))
    listing = asyncio.run(checking.sync(ledger, api, ImportApi(), SETTINGS))
    assert listing is not None
    assert (listing.pages, listing.listed, listing.new, listing.missing) == (3, 2500, 2500, ("gone",))
    assert len(ledger.followed()) == 2501


def test_jobs_left_submitted_with_no_submitted_instance_are_looked_at(ledger: Ledger) -> None:
    left, done = Job("left", "submitted", ("i-2",)), Job("done", "completed", ("i-3",))
    jobs = (Job("busy", "submitted", ("i-1",)), left, Job("empty", "submitted"), done)
    sync(ledger, DatasetApi((Instance("i-1", "submitted", "busy"),)), ImportApi(jobs))
    assert ledger.due(10, 0, 0).jobs == ("left",)


def test_an_import_api_that_is_away_leaves_the_listing_of_instances_valid(ledger: Ledger) -> None:
    api = DatasetApi((Instance("i-1", "submitted"),))
    sync(ledger, api, ImportApi(away=True))
    state = ledger.sync_state()
    assert state["ok"]
    assert state["why"] == ""
    sync(ledger, api, ImportApi((Job("left", "submitted", ("i-2",)),)))
    assert ledger.due(10, 0, 0).jobs == ("left",), "asked again by the next listing"


def test_a_listing_that_fails_is_counted_and_said(ledger: Ledger) -> None:
    for attempts in ("1", "2"):
        sync(ledger, DatasetApi(away=True))
        assert ledger.sync_state()["attempts"] == attempts
    assert "away" in ledger.sync_state()["why"]
    assert "ok" not in ledger.sync_state()


def test_a_listing_that_was_cut_off_is_not_asked_for_again_at_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes longer than a task may would be begun by every check else, and never end."""
    now_s, passed_s = ledger.now_s, [0.0]
    monkeypatch.setattr(Ledger, "now_s", lambda _: now_s() + passed_s[0])
    names = [f"i-{number}" for number in range(50)]
    sync(ledger, DatasetApi(tuple(Instance(name, "submitted", "j-1") for name in names)))
    ledger.watch(names)
    passed_s[0] = 3600

    class Slow(DatasetApi):
        async def list_instances(self, state: str, offset: int, limit: int) -> Page:
            passed_s[0] += 80
            raise asyncio.CancelledError

    assert check(ledger).sync
    with pytest.raises(asyncio.CancelledError):
        sync(ledger, Slow())
    for after_s, due in ((2, False), (880, True)):
        passed_s[0] += after_s
        ledger.client.zadd("t:watched", dict.fromkeys(names, 0))
        assert check(ledger).sync == due, after_s


def test_a_listing_that_overlaps_one_whose_jobs_could_not_be_listed_asks_for_them(ledger: Ledger) -> None:
    import_api = ImportApi((Job("job-1", "submitted", ("i-1",)),))
    failed = asyncio.Event()

    class Slow(DatasetApi):
        async def list_instances(self, state: str, offset: int, limit: int) -> Page:
            await failed.wait()
            return await super().list_instances(state, offset, limit)

    class Away(ImportApi):
        async def list_jobs(self, state: str, offset: int, limit: int) -> JobPage:
            others.append(asyncio.create_task(checking.sync(ledger, Slow(), import_api, SETTINGS)))
            await asyncio.sleep(0)  # until it has begun
            raise Transient("the Import API is away")

    async def overlap() -> None:
        await checking.sync(ledger, DatasetApi(), Away(), SETTINGS)
        failed.set()
        await others[0]

    others: list[asyncio.Task[object]] = []
    asyncio.run(overlap())
    assert check(ledger).jobs == ("job-1",)


def test_a_birth_in_the_middle_of_a_walk_of_the_jobs_does_not_put_the_next_one_off(ledger: Ledger) -> None:
    ledger.note_sync({"times": 2000})
    import_api = ImportApi((Job("job-1", "submitted", ("i-1",)),))

    class Reborn(ImportApi):
        async def list_jobs(self, state: str, offset: int, limit: int) -> JobPage:
            ledger.birth(ledger.positions([]).ledger, 2, [], settle_s=0, reason="test")
            return JobPage((), 0)

    sync(ledger, DatasetApi(), Reborn())
    sync(ledger, DatasetApi(), import_api)
    assert check(ledger).jobs == ("job-1",)


def test_a_walk_of_the_jobs_that_was_cut_off_is_not_begun_again_by_the_next_listing(ledger: Ledger) -> None:
    walks = []

    class Slow(ImportApi):
        async def list_jobs(self, state: str, offset: int, limit: int) -> JobPage:
            walks.append(offset)
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        sync(ledger, DatasetApi(), Slow())
    sync(ledger, DatasetApi(), Slow())
    assert walks == [0]
    ledger.client.delete("t:lease:jobs")
    with pytest.raises(asyncio.CancelledError):
        sync(ledger, DatasetApi(), Slow())


@pytest.mark.parametrize("room, pushed", [(True, ("i-1",)), (False, ())])
def test_a_check_without_room_leaves_those_in_passing_for_the_next(ledger: Ledger, room: bool, pushed: tuple[str, ...]) -> None:  # noqa: FBT001
    ledger.follow("submitted", [Instance("i-1", "submitted", "j-1", 10, 0)])
    ledger.client.hset("t:i:i-1", mapping={"rs": "1", "owed": "1"})
    ledger.client.zadd("t:owing", {"i-1": 1})
    ledger.end_lease("tick")
    found = checking.check(ledger, SETTINGS, in_passing=room)
    assert found is not None
    assert found.in_passing == pushed
