"""The rules of the Import API, today's and those of 2017."""

from collections.abc import Callable

import httpx
import pytest

from sandbox.control import StandIn
from sandbox.dataset_api import DatasetApi

Imports = Callable[..., httpx.Client]

JOB = {"id": "j-1", "state": "submitted", "links": {"instances": [{"id": "i-1", "href": "h"}], "self": {"id": "", "href": "h"}}}


# --- lists ---


def test_today_a_list_is_a_page_and_none_found_is_404(imports: Imports) -> None:
    api = imports("today", *({**JOB, "id": f"j-{n}"} for n in range(25)))
    page = api.get("/jobs?state=submitted,created").json()
    assert (page["count"], page["offset"], page["limit"], page["total_count"], len(page["items"])) == (20, 0, 20, 25, 20)
    assert api.get("/jobs?offset=20&limit=10").json()["count"] == 5
    for query in ("state=completed", "state=unheard-of"):
        response = api.get(f"/jobs?{query}")
        assert (response.status_code, response.text) == (404, "job not found\n")


@pytest.mark.parametrize("query", ["limit=1001", "limit=-1", "offset=x"])
def test_today_wrong_paging_is_refused(imports: Imports, query: str) -> None:
    assert imports("today", JOB).get(f"/jobs?{query}").status_code == 400


def test_in_2017_a_list_is_a_bare_array_of_all(imports: Imports) -> None:
    api = imports("2017", *({**JOB, "id": f"j-{n}"} for n in range(25)))
    assert len(api.get("/jobs?state=submitted,created").json()) == 25
    assert api.get("/jobs?state=completed").json() == []


# --- one job ---


def test_a_job_shows_its_instances(imports: Imports) -> None:
    shown = imports("today", JOB).get("/jobs/j-1").json()
    assert shown["links"]["instances"] == [{"id": "i-1", "href": "h"}]
    assert shown["processed_instances"] == []
    assert "processed_instances" not in imports("2017", JOB).get("/jobs/j-1").json()


def test_an_unknown_job_is_not_found_in_each_generation_s_words(imports: Imports) -> None:
    assert (imports().get("/jobs/x").status_code, imports().get("/jobs/x").text) == (404, "job not found\n")
    assert (imports("2017").get("/jobs/x").status_code, imports("2017").get("/jobs/x").text) == (404, "resource not found\n")


def test_today_a_put_to_an_unknown_job_is_404(imports: Imports) -> None:
    api = imports()
    response = api.put("/jobs/x", json={"state": "completed"})
    assert (response.status_code, response.text) == (404, "job not found\n")
    assert api.put("/jobs/x/files", json={"alias_name": "a", "url": "u"}).status_code == 404


def test_in_2017_a_put_to_an_unknown_job_makes_a_stray_one(imports: Imports) -> None:
    api = imports("2017")
    assert api.put("/jobs/x", json={"state": "completed"}).status_code == 200
    assert api.get("/jobs/x").json()["state"] == "completed"
    assert api.get("/jobs/x").json()["links"]["instances"] == []


@pytest.mark.parametrize("current", ["created", "submitted", "completed", "failed"])
@pytest.mark.parametrize("wanted", ["created", "submitted", "completed", "failed"])
def test_today_every_known_state_follows_any_other(imports: Imports, current: str, wanted: str) -> None:
    api = imports("today", {**JOB, "state": current})
    response = api.put("/jobs/j-1", json={"state": wanted}, headers={"If-Match": "anything"})
    assert (response.status_code, response.content) == (200, b"")
    assert api.get("/jobs/j-1").json()["state"] == wanted


def test_today_error_is_no_state_and_the_empty_one_changes_nothing(imports: Imports) -> None:
    api = imports("today", JOB)
    response = api.put("/jobs/j-1", json={"state": "error"})
    assert (response.status_code, response.text) == (400, "invalid state\n")
    assert api.put("/jobs/j-1", json={"state": ""}).status_code == 200
    assert api.get("/jobs/j-1").json()["state"] == "submitted"


def test_in_2017_any_text_is_a_state(imports: Imports) -> None:
    api = imports("2017", JOB)
    assert api.put("/jobs/j-1", json={"state": "error"}).status_code == 200
    assert api.get("/jobs/j-1").json()["state"] == "error"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"state": 1}'])
def test_a_body_that_cannot_be_read_is_refused(imports: Imports, body: bytes) -> None:
    response = imports("today", JOB).put("/jobs/j-1", content=body)
    assert (response.status_code, response.text) == (400, "failed to parse json body\n")


def test_a_file_is_added_to_the_job(imports: Imports) -> None:
    api = imports("today", JOB)
    assert api.put("/jobs/j-1/files", json={"alias_name": "CPI", "url": "s3://b/f"}).status_code == 200
    assert api.get("/jobs/j-1").json()["files"] == [{"alias_name": "CPI", "url": "s3://b/f"}]
    assert api.put("/jobs/j-1/files", json={"alias_name": "CPI"}).status_code == 400


# --- creating and submitting ---


@pytest.mark.parametrize("generation", ["2017", "today"])
def test_a_new_job_creates_its_instances_and_submits_them_when_it_is_submitted(imports: Imports, generation: str) -> None:
    datasets = DatasetApi("2017" if generation == "2017" else "today")
    api = imports(generation, dataset_api=StandIn(datasets))
    response = api.post("/jobs", json={"recipe": "r", "id": "j-9", "instance_ids": ["i-1", "i-2"]})
    assert response.status_code == 201
    assert [link["id"] for link in response.json()["links"]["instances"]] == ["i-1", "i-2"]
    assert datasets.states() == {"i-1": "created", "i-2": "created"}
    assert api.put("/jobs/j-9", json={"state": "submitted"}).status_code == 200
    assert datasets.states() == {"i-1": "submitted", "i-2": "submitted"}


def test_submitting_a_job_with_a_completed_instance_is_500_yet_the_job_is_submitted(imports: Imports) -> None:
    datasets = DatasetApi()
    datasets.load({"instances": [{"id": "i-1", "state": "completed", "links": {"dataset": {"id": "cpi"}}}]})
    api = imports("today", {**JOB, "state": "created"}, dataset_api=StandIn(datasets))
    response = api.put("/jobs/j-1", json={"state": "submitted"})
    assert (response.status_code, response.text) == (500, "internal error\n")
    assert api.get("/jobs/j-1").json()["state"] == "submitted"


def test_a_job_without_a_recipe_is_refused(imports: Imports) -> None:
    assert imports().post("/jobs", json={}).status_code == 400


# --- auth, health, router ---


def test_today_every_call_but_health_needs_the_token(imports: Imports) -> None:
    api = imports("today", JOB, token="t")
    for headers in ({}, {"Authorization": "Bearer other"}):
        response = api.get("/jobs/j-1", headers=headers)
        assert (response.status_code, response.content) == (401, b"")
    assert api.get("/jobs/j-1", headers={"Authorization": "Bearer t"}).status_code == 200
    assert api.get("/health").json()["status"] == "OK"


def test_in_2017_everything_is_open(imports: Imports) -> None:
    api = imports("2017", JOB, token="t")
    assert api.put("/jobs/j-1", json={"state": "completed"}).status_code == 200
    assert (api.get("/healthcheck").status_code, api.get("/healthcheck").content) == (200, b"")


def test_other_paths_and_methods_are_the_router_s_business(imports: Imports) -> None:
    api = imports("today", JOB)
    assert (api.get("/nowhere").status_code, api.get("/nowhere").text) == (404, "404 page not found\n")
    assert api.delete("/jobs/j-1").status_code == 405
