"""The control surface: faults that are switched on, and what the journal says of the calls that met them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from sandbox.control import StandIn
from sandbox.dataset_api import DatasetApi

Dataset = Callable[..., httpx.Client]

URL = "/instances/i-1/inserted_observations/1"


@pytest.fixture
def api(dataset: Dataset) -> httpx.Client:
    return dataset("today", {"id": "i-1"})


def switch_on(api: httpx.Client, **fault: Any) -> int:
    response = api.post("/sandbox/faults", json=fault)
    assert response.status_code == 201, response.text
    made = response.json()["ids"][0]
    assert isinstance(made, int)
    return made


def count(api: httpx.Client) -> int:
    counted = api.get("/sandbox/counts").json()["i-1"]
    assert isinstance(counted, int)
    return counted


def last_call(api: httpx.Client) -> dict[str, Any]:
    call: dict[str, Any] = api.get("/sandbox/calls").json()["calls"][-1]
    return call


@pytest.mark.parametrize("when, applied", [("before", False), ("after", True)])
def test_an_answer_in_place_of_the_api_s_before_or_after_applying(api: httpx.Client, when: str, *, applied: bool) -> None:
    switch_on(api, do="answer", when=when, status=500, body="internal error\n")
    response = api.put(URL)
    assert (response.status_code, response.text) == (500, "internal error\n")
    assert count(api) == int(applied)
    call = last_call(api)
    assert (call["method"], call["path"], call["status"], call["applied"]) == ("PUT", URL, 500, applied)


@pytest.mark.parametrize("when, applied", [("before", False), ("after", True)])
def test_a_connection_cut_before_or_after_applying(api: httpx.Client, when: str, *, applied: bool) -> None:
    switch_on(api, do="cut", when=when)
    with pytest.raises(httpx.RemoteProtocolError):
        api.put(URL)
    assert count(api) == int(applied)
    assert (last_call(api)["status"], last_call(api)["applied"]) == (None, applied)


def test_a_reset_connection_is_a_read_error(api: httpx.Client) -> None:
    switch_on(api, do="cut", reset=True)
    with pytest.raises(httpx.ReadError):
        api.put(URL)


def test_a_fault_is_for_its_method_and_path_only(api: httpx.Client) -> None:
    switch_on(api, do="answer", status=429, method="put", path="^/instances/[^/]+$")
    assert api.put(URL).status_code == 200
    assert api.get("/instances/i-1").status_code == 200
    assert api.put("/instances/i-1", json={"state": "completed"}).status_code == 429


def test_a_path_is_searched_with_its_query(api: httpx.Client) -> None:
    switch_on(api, do="answer", path=r"\?state=submitted")
    assert api.get("/instances?state=submitted").status_code == 500
    assert api.get("/instances?state=failed").status_code == 200


def test_a_fault_is_used_up_after_its_number_of_times(api: httpx.Client) -> None:
    made = switch_on(api, do="answer", times=2)
    assert [api.put(URL).status_code for _ in range(3)] == [500, 500, 200]
    faults = api.get("/sandbox/faults").json()["faults"]
    assert [(fault["id"], fault["hits"]) for fault in faults] == [(made, 2)]


def test_a_fault_with_a_probability_hits_some_calls(api: httpx.Client) -> None:
    switch_on(api, do="answer", probability=0.5)
    assert {api.put(URL).status_code for _ in range(60)} == {200, 500}


def test_faults_are_switched_off_one_by_one_or_all_together(api: httpx.Client) -> None:
    first = switch_on(api, do="answer", status=500)
    switch_on(api, do="answer", status=403)
    assert api.put(URL).status_code == 500
    assert api.delete(f"/sandbox/faults/{first}").status_code == 204
    assert api.put(URL).status_code == 403
    assert api.delete("/sandbox/faults").status_code == 204
    assert api.put(URL).status_code == 200
    assert api.delete("/sandbox/faults/99").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"do": "explode"},
        {},
        {"do": "cut", "colour": 1},
        {"do": "cut", "path": "("},
        {"do": "cut", "probability": 2},
        "x",
        [{"do": "cut"}, {}],
    ],
)
def test_a_wrong_fault_is_refused_and_nothing_is_switched_on(api: httpx.Client, body: object) -> None:
    response = api.post("/sandbox/faults", json=body)
    assert response.status_code == 400
    assert response.json()["error"]
    assert api.get("/sandbox/faults").json() == {"faults": []}


def test_a_broken_control_call_is_refused(api: httpx.Client) -> None:
    for response in (
        api.post("/sandbox/faults", content=b"{"),
        api.get("/sandbox/calls?since=x"),
        api.get("/sandbox/calls?path=("),
        api.post("/sandbox/state", json={}),
        api.post("/sandbox/state", json={"instances": [{}]}),
        api.post("/sandbox/release", json=[]),
    ):
        assert response.status_code == 400


def test_an_outage_needs_a_server(api: httpx.Client) -> None:
    assert api.post("/sandbox/outage", json={"seconds": 1}).status_code == 501


# --- the journal and what is stored ---


def test_the_journal_keeps_what_was_sent(api: httpx.Client) -> None:
    api.get("/instances?state=submitted")
    api.put("/instances/i-1", json={"state": "completed"}, headers={"If-Match": "*"})
    listing, put = api.get("/sandbox/calls").json()["calls"]
    assert (listing["seq"], listing["query"], listing["applied"]) == (1, "state=submitted", False)
    assert (put["seq"], put["body"], put["headers"]["if-match"], put["applied"]) == (2, '{"state":"completed"}', "*", True)
    assert put["took_s"] >= 0


def test_the_journal_can_be_searched_and_forgotten(api: httpx.Client) -> None:
    api.put(URL)
    api.get("/instances/i-1")
    api.put(URL.replace("i-1", "unknown"))

    def found(query: str) -> list[int]:
        return [call["seq"] for call in api.get(f"/sandbox/calls?{query}").json()["calls"]]

    assert found("method=put") == [1, 3]
    assert found("applied=true") == [1]
    assert found("path=i-1$") == [2]
    assert found("since=1") == [2, 3]
    assert found("limit=1") == [3]
    assert api.delete("/sandbox/calls").status_code == 204
    assert api.get("/sandbox/calls").json() == {"total": 3, "calls": []}


def test_the_journal_forgets_the_oldest_calls_but_counts_all() -> None:
    stand_in = StandIn(DatasetApi(), journal_size=2)

    async def scenario(client: httpx.AsyncClient) -> None:
        for _ in range(5):
            await client.get("/instances")
        assert (await client.get("/sandbox/stats")).json() == {
            "generation": "today",
            "calls": 5,
            "applied": 0,
            "cut": 0,
            "answers": {"GET 200": 5},
            "held": 0,
            "faults_hit": 0,
            "journal": 2,
        }

    run(stand_in, scenario)


def test_what_is_stored_can_be_carried_to_another_stand_in(dataset: Dataset) -> None:
    one, other = dataset("today", {"id": "i-1", "total_observations": 9, "import_tasks": None}), dataset()
    one.put(URL)
    stored = one.get("/sandbox/state").json()
    assert other.post("/sandbox/state", json=stored).status_code == 204
    assert other.get("/sandbox/counts").json() == {"i-1": 1}
    assert other.get("/sandbox/states").json() == {"i-1": "submitted"}
    assert other.get("/instances/i-1").headers["etag"] == one.get("/instances/i-1").headers["etag"]
    assert other.delete("/sandbox/state").status_code == 204
    assert other.get("/sandbox/counts").json() == {}


def test_the_import_api_has_the_same_surface(imports: Callable[..., httpx.Client]) -> None:
    api = imports("2017", {"id": "j-1", "state": "submitted"})
    switch_on(api, do="answer", status=503)
    assert api.get("/jobs/j-1").status_code == 503
    assert api.get("/sandbox/states").json() == {"j-1": "submitted"}
    assert api.get("/sandbox/counts").json() == {}
    assert api.post("/sandbox/state", json=api.get("/sandbox/state").json()).status_code == 204
    assert api.post("/sandbox/state", json={"jobs": [{}]}).status_code == 400
    assert api.delete("/sandbox/state").status_code == 204


# --- holding and delaying, with several calls at once ---


def run(stand_in: StandIn, scenario: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(stand_in), base_url="http://stand-in") as client:
            await scenario(client)

    asyncio.run(main())


@pytest.fixture
def stand_in() -> StandIn:
    api = DatasetApi()
    api.load({"instances": [{"id": "i-1", "state": "submitted", "links": {"dataset": {"id": "cpi"}}}]})
    return StandIn(api)


@pytest.mark.parametrize("when, applied", [("before", 0), ("after", 1)])
def test_a_held_call_waits_until_it_is_released(stand_in: StandIn, when: str, applied: int) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/sandbox/hold", json={"method": "PUT", "when": when})
        call = asyncio.create_task(client.put(URL))
        held = await client.get("/sandbox/held?at_least=1")
        assert held.json()["held"] == [{"seq": 1, "method": "PUT", "path": URL, "when": when, "fault": 1}]
        assert (await client.get("/sandbox/counts")).json() == {"i-1": applied}
        assert (await client.get("/instances/i-1")).status_code == 200
        assert (await client.post("/sandbox/release")).json() == {"released": 1}
        assert (await call).status_code == 200
        assert (await client.put(URL)).status_code == 200
        assert (await client.get("/sandbox/counts")).json() == {"i-1": 2}

    run(stand_in, scenario)


def test_held_calls_are_released_in_their_order_by_number(stand_in: StandIn) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/sandbox/hold")
        calls = []
        for waiting in (1, 2, 3):
            calls.append(asyncio.create_task(client.put(URL)))
            assert (await client.get(f"/sandbox/held?at_least={waiting}")).status_code == 200
        assert (await client.post("/sandbox/release", json={"count": 2})).json() == {"released": 2}
        await asyncio.gather(*calls[:2])
        assert [held["seq"] for held in (await client.get("/sandbox/held")).json()["held"]] == [3]
        await client.delete("/sandbox/faults")
        assert (await calls[2]).status_code == 200

    run(stand_in, scenario)


def test_removing_a_hold_releases_what_it_holds(stand_in: StandIn) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        made = (await client.post("/sandbox/hold")).json()["ids"][0]
        call = asyncio.create_task(client.put(URL))
        await client.get("/sandbox/held?at_least=1")
        await client.delete(f"/sandbox/faults/{made}")
        assert (await call).status_code == 200

    run(stand_in, scenario)


def test_a_call_meets_its_faults_in_the_order_they_were_made(stand_in: StandIn) -> None:
    """The late PUT that is applied and whose answer is lost."""

    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/sandbox/faults", json=[{"do": "hold"}, {"do": "cut", "when": "after"}])
        call = asyncio.create_task(client.put(URL))
        await client.get("/sandbox/held?at_least=1")
        await client.post("/sandbox/release")
        with pytest.raises(httpx.RemoteProtocolError):
            await call
        assert (await client.get("/sandbox/counts")).json() == {"i-1": 1}

    run(stand_in, scenario)


def test_waiting_in_vain_is_told(stand_in: StandIn) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/sandbox/held?at_least=1&timeout_s=0.02")).status_code == 504
        assert (await client.get("/sandbox/calls?at_least=1&timeout_s=0.02")).status_code == 504
        await client.put(URL)
        assert (await client.get("/sandbox/calls?at_least=1&timeout_s=0.02")).status_code == 200

    run(stand_in, scenario)


def test_a_delayed_call_takes_its_time_and_others_do_not(stand_in: StandIn) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/sandbox/faults", json={"do": "delay", "seconds": 0.05, "method": "PUT"})
        await client.put(URL)
        await client.get("/instances/i-1")
        put, get = (await client.get("/sandbox/calls")).json()["calls"]
        assert put["took_s"] >= 0.05 > get["took_s"]

    run(stand_in, scenario)


def test_what_is_stored_is_forgotten_by_the_beginning_of_its_id(dataset: Dataset) -> None:
    api = dataset("today", {"id": "r1-1"}, {"id": "r1-2"}, {"id": "r2-1"})
    assert api.delete("/sandbox/state?prefix=r1-").status_code == 204
    assert list(api.get("/sandbox/counts").json()) == ["r2-1"]
    assert api.delete("/sandbox/state").status_code == 204
    assert api.get("/sandbox/counts").json() == {}
