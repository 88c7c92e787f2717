"""The rooms of both APIs over the stand-ins of both generations, each a process of its own on a real socket."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import pytest

from tracker.api_client import clock
from tracker.dataset_api import DatasetApi
from tracker.errors import NotSent, OutcomeUnknown, Refused, Transient, TurnedAway, UnknownInstance, UnknownJob
from tracker.import_api import ImportApi
from tracker.instance import Instance, Job

T = TypeVar("T")

TOKEN = "the-token"


@dataclass
class StandIn:
    """One running stand-in and its control surface."""

    generation: str
    address: str

    def store(self, **stored: Any) -> None:
        httpx.post(f"{self.address}/sandbox/state", json=stored).raise_for_status()

    def fault(self, **fault: Any) -> None:
        httpx.post(f"{self.address}/sandbox/faults", json=fault).raise_for_status()

    def clear(self) -> None:
        httpx.delete(f"{self.address}/sandbox/faults").raise_for_status()
        httpx.delete(f"{self.address}/sandbox/state").raise_for_status()

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = httpx.get(f"{self.address}/sandbox/counts").json()
        return counts

    def states(self) -> dict[str, str]:
        states: dict[str, str] = httpx.get(f"{self.address}/sandbox/states").json()
        return states


@pytest.fixture(scope="module", params=["2017", "today"])
def generation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def started(module: str, generation: str) -> Iterator[StandIn]:
    command = [sys.executable, "-m", module, "--port", "0", "--generation", generation, "--token", TOKEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            ready = process.stdout.readline()
            assert ready.startswith("listening on http://")
            yield StandIn(generation, ready.removeprefix("listening on ").strip())
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def datasets_process(generation: str) -> Iterator[StandIn]:
    yield from started("sandbox.dataset_api", generation)


@pytest.fixture(scope="module")
def imports_process(generation: str) -> Iterator[StandIn]:
    yield from started("sandbox.import_api", generation)


@pytest.fixture
def datasets(datasets_process: StandIn) -> StandIn:
    datasets_process.clear()
    return datasets_process


@pytest.fixture
def imports(imports_process: StandIn) -> StandIn:
    imports_process.clear()
    return imports_process


def at_datasets(server: StandIn, use: Callable[[DatasetApi], Awaitable[T]], *, token: str | None = TOKEN, timeout_s: float = 5.0) -> T:
    async def run() -> T:
        api = DatasetApi(server.address, token=token, service_token=token, timeout_s=timeout_s, max_calls=4)
        try:
            return await use(api)
        finally:
            await api.aclose()

    return asyncio.run(run())


def at_imports(server: StandIn, use: Callable[[ImportApi], Awaitable[T]], *, token: str | None = TOKEN) -> T:
    async def run() -> T:
        api = ImportApi(server.address, token=token, service_token=token, timeout_s=5.0, max_calls=4)
        try:
            return await use(api)
        finally:
            await api.aclose()

    return asyncio.run(run())


def get(server: StandIn, instance_id: str = "i-1") -> Instance:
    return at_datasets(server, lambda api: api.get_instance(instance_id))


def add(server: StandIn, delta: int, etag: str | None, *, token: str | None = TOKEN, timeout_s: float = 5.0) -> str | None:
    return at_datasets(server, lambda api: api.add_inserted("i-1", delta, etag, allowed_at=clock()), token=token, timeout_s=timeout_s)


def put_state(server: StandIn, state: str, etag: str | None = None) -> str | None:
    return at_datasets(server, lambda api: api.put_state("i-1", state, etag, allowed_at=clock()))


def an_instance(**fields: Any) -> dict[str, Any]:
    links = {"job": {"id": "job-77", "href": "/jobs/job-77"}, "dataset": {"id": "cpi", "href": "/datasets/cpi"}}
    return {"id": "i-1", "state": "submitted", "links": links, "total_observations": 1510, "total_inserted_observations": 0} | fields


# --- the Dataset API ---


def test_an_instance_is_read_with_its_job_its_total_and_its_count(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance(total_inserted_observations=1000)])
    instance = get(datasets)
    assert (instance.id, instance.state, instance.job_id) == ("i-1", "submitted", "job-77")
    assert (instance.total_observations, instance.inserted_observations, instance.open_tasks) == (1510, 1000, ())
    assert (instance.etag is None) == (datasets.generation == "2017")


def test_a_fresh_instance_has_no_total_and_no_count(datasets: StandIn) -> None:
    datasets.store(instances=[{"id": "i-1", "state": "created"}])
    instance = get(datasets)
    assert (instance.job_id, instance.total_observations, instance.inserted_observations) == (None, None, 0)


def test_an_id_with_letters_that_mean_something_in_a_url_names_one_instance(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance(id="50% of a?b#c é")])
    assert get(datasets, "50% of a?b#c é").id == "50% of a?b#c é"


def test_open_import_tasks_are_named(datasets: StandIn) -> None:
    tasks = {
        "build_hierarchies": [{"dimension_name": "geography", "code_list_id": "cl-1", "state": "created"}],
        "build_search_indexes": [{"dimension_name": "geography", "state": "completed"}],
    }
    datasets.store(instances=[an_instance(import_tasks=tasks)])
    assert get(datasets).open_tasks == (() if datasets.generation == "2017" else ("hierarchy of geography",))


def test_an_instance_without_import_tasks_is_read_all_the_same(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance(import_tasks=None)])
    assert get(datasets).open_tasks == ()


def test_an_unknown_instance_is_known_by_the_apis_own_words_alone(datasets: StandIn) -> None:
    with pytest.raises(UnknownInstance):
        get(datasets, "i-2")
    datasets.fault(do="answer", status=404, body="404 page not found\n")
    with pytest.raises(Transient):
        get(datasets, "i-2")


def test_adding_moves_the_count_and_gives_the_etag_that_the_next_one_needs(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance()])
    etag = get(datasets).etag
    for delta in (1000, 510, 0, -3):
        etag = add(datasets, delta, etag)
    after = get(datasets)
    assert (after.inserted_observations, after.etag) == (1507, etag)


def test_an_old_etag_adds_nothing_and_is_of_unknown_outcome(datasets: StandIn) -> None:
    """In 2017 there are no ETags, and nothing keeps a second copy from counting."""
    datasets.store(instances=[an_instance()])
    old = get(datasets).etag
    add(datasets, 5, old)
    if datasets.generation == "2017":
        add(datasets, 5, old)
        assert datasets.counts() == {"i-1": 10}
        return
    with pytest.raises(OutcomeUnknown) as raised:
        add(datasets, 5, old)
    assert raised.value.status == 409
    assert datasets.counts() == {"i-1": 5}


def test_a_call_without_or_with_a_wrong_token_is_turned_away(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance()])
    for token in (None, "wrong"):
        with pytest.raises(TurnedAway):
            add(datasets, 5, None, token=token)
    assert datasets.counts() == {"i-1": 0}


def test_completing_an_instance(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance()])
    etag = put_state(datasets, "completed", get(datasets).etag)
    after = get(datasets)
    assert (after.state, after.etag) == ("completed", etag)


def test_a_state_that_does_not_follow_is_turned_away_today(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance(state="created")])
    if datasets.generation == "2017":
        put_state(datasets, "completed")
        return
    with pytest.raises(TurnedAway, match="expected resource to have a state"):
        put_state(datasets, "completed")


def test_a_state_that_the_api_does_not_know_is_refused_today(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance()])
    if datasets.generation == "2017":
        put_state(datasets, "whatever")
        return
    with pytest.raises(Refused, match="invalid instance state") as raised:
        put_state(datasets, "whatever")
    assert not raised.value.published


def test_a_published_instance_refuses_counts_today(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance(state="published")])
    if datasets.generation == "2017":
        add(datasets, 5, None)
        return
    with pytest.raises(Refused) as raised:
        add(datasets, 5, None)
    assert raised.value.published


def test_the_pages_of_a_listing_together_hold_everything(datasets: StandIn) -> None:
    """2017's API answers everything at once, and says so by giving no total."""
    datasets.store(instances=[an_instance(id=f"i-{number}") for number in range(45)] + [an_instance(id="other", state="completed")])
    first = at_datasets(datasets, lambda api: api.list_instances("submitted", 0, 20))
    assert first.total == (None if datasets.generation == "2017" else 45)
    found = {item.id for item in first.items}
    for offset in range(20, first.total or 0, 20):
        found |= {item.id for item in at_datasets(datasets, lambda api, at=offset: api.list_instances("submitted", at, 20)).items}  # type: ignore[misc]
    assert found == {f"i-{number}" for number in range(45)}


def test_a_listing_of_nothing_is_an_empty_page(datasets: StandIn) -> None:
    for offset in (0, 1000):
        page = at_datasets(datasets, lambda api, at=offset: api.list_instances("submitted", at, 1000))  # type: ignore[misc]
        assert (page.items, page.unreadable) == ((), 0)


def test_a_500_after_the_count_moved_is_of_unknown_outcome(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance()])
    datasets.fault(do="answer", when="after", status=500, body="internal error\n", times=1)
    with pytest.raises(OutcomeUnknown, match="500 internal error"):
        add(datasets, 5, None)
    assert datasets.counts() == {"i-1": 5}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_cut_without_an_answer_is_of_unknown_outcome(datasets: StandIn, when: str, *, reset: bool) -> None:
    datasets.store(instances=[an_instance()])
    datasets.fault(do="cut", when=when, reset=reset, times=1)
    with pytest.raises(OutcomeUnknown):
        add(datasets, 5, None)
    assert datasets.counts() == {"i-1": 0 if when == "before" else 5}


def test_an_answer_held_past_the_time_out_is_of_unknown_outcome(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance()])
    datasets.fault(do="hold", when="after", method="PUT")
    with pytest.raises(OutcomeUnknown, match="no answer within"):
        add(datasets, 5, None, timeout_s=0.3)
    assert datasets.counts() == {"i-1": 5}


def test_many_calls_at_once_share_the_connections_and_all_count(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance()])

    async def use(api: DatasetApi) -> None:
        await asyncio.gather(*(api.add_inserted("i-1", 1, None, allowed_at=clock()) for _ in range(60)))

    at_datasets(datasets, use)
    assert datasets.counts() == {"i-1": 60}


def test_an_outage_sends_nothing_and_ends(datasets: StandIn) -> None:
    datasets.store(instances=[an_instance()])
    httpx.post(f"{datasets.address}/sandbox/outage", json={"seconds": 0.5}).raise_for_status()

    async def use(api: DatasetApi) -> int:
        await asyncio.sleep(0.1)
        refused = 0
        for _ in range(100):
            try:
                await api.add_inserted("i-1", 5, None, allowed_at=clock())
            except NotSent:
                refused += 1
                await asyncio.sleep(0.05)
            else:
                break
        return refused

    assert at_datasets(datasets, use) > 0
    assert datasets.counts() == {"i-1": 5}


def test_the_dataset_api_says_that_it_is_well(datasets: StandIn) -> None:
    answer = at_datasets(datasets, lambda api: api.health())
    assert (answer.status, answer.status_code) == ("OK", 200)
    assert ("healthcheck" in answer.message) == (datasets.generation == "2017")


# --- the Import API ---


def a_job(**fields: Any) -> dict[str, Any]:
    instances = [{"id": "i-1", "href": "/instances/i-1"}, {"id": "i-2", "href": "/instances/i-2"}]
    return {"id": "job-77", "state": "submitted", "links": {"instances": instances}} | fields


def test_a_job_is_read_with_its_instances(imports: StandIn) -> None:
    imports.store(jobs=[a_job()])
    assert at_imports(imports, lambda api: api.get_job("job-77")) == Job("job-77", "submitted", ("i-1", "i-2"))


def test_an_unknown_job_is_known_by_the_apis_own_words_alone(imports: StandIn) -> None:
    with pytest.raises(UnknownJob):
        at_imports(imports, lambda api: api.get_job("job-78"))
    imports.fault(do="answer", status=404, body="404 page not found\n")
    with pytest.raises(Transient):
        at_imports(imports, lambda api: api.get_job("job-78"))


def test_the_jobs_in_a_state_are_listed(imports: StandIn) -> None:
    assert at_imports(imports, lambda api: api.list_jobs("submitted", 0, 1000)).items == ()
    imports.store(jobs=[a_job(), a_job(id="job-78"), a_job(id="job-79", state="completed")])
    page = at_imports(imports, lambda api: api.list_jobs("submitted", 0, 1000))
    assert {job.id for job in page.items} == {"job-77", "job-78"}
    assert (page.total, page.unreadable) == (None if imports.generation == "2017" else 2, 0)


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_a_job_is_given_its_last_state(imports: StandIn, state: str) -> None:
    imports.store(jobs=[a_job()])
    at_imports(imports, lambda api: api.put_state("job-77", state, allowed_at=clock()))
    assert imports.states() == {"job-77": state}


def test_the_word_error_is_refused_today(imports: StandIn) -> None:
    imports.store(jobs=[a_job()])
    if imports.generation == "2017":
        at_imports(imports, lambda api: api.put_state("job-77", "error", allowed_at=clock()))
        assert imports.states() == {"job-77": "error"}
        return
    with pytest.raises(Refused, match="invalid"):
        at_imports(imports, lambda api: api.put_state("job-77", "error", allowed_at=clock()))


def test_a_call_without_its_token_is_turned_away_today(imports: StandIn) -> None:
    imports.store(jobs=[a_job()])
    if imports.generation == "2017":
        at_imports(imports, lambda api: api.get_job("job-77"), token=None)
        return
    with pytest.raises(TurnedAway):
        at_imports(imports, lambda api: api.get_job("job-77"), token=None)


def test_the_import_api_says_that_it_is_well(imports: StandIn) -> None:
    assert at_imports(imports, lambda api: api.health()).status == "OK"
