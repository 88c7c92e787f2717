"""The rules of today's Dataset API, as they were seen on the running service."""

import re
from collections.abc import Callable

import httpx
import pytest

Dataset = Callable[..., httpx.Client]


def add(api: httpx.Client, count: object, instance: str = "i-1", **headers: str) -> httpx.Response:
    return api.put(f"/instances/{instance}/inserted_observations/{count}", headers=headers)


def inserted(api: httpx.Client, instance: str = "i-1") -> int:
    count = api.get(f"/instances/{instance}").json()["import_tasks"]["import_observations"]["total_inserted_observations"]
    assert isinstance(count, int)
    return count


def test_an_increment_adds_and_answers_an_empty_body_with_the_new_etag(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"})
    before = api.get("/instances/i-1").headers["etag"]
    response = add(api, 5)
    assert (response.status_code, response.content) == (200, b"")
    assert re.fullmatch("[0-9a-f]{40}", response.headers["etag"])
    assert response.headers["etag"] != before
    assert response.headers["etag"] == api.get("/instances/i-1").headers["etag"]
    assert inserted(api) == 5


def test_every_increment_changes_the_etag_also_one_of_zero(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"})
    assert len({add(api, 0).headers["etag"] for _ in range(300)}) == 300
    assert inserted(api) == 0


@pytest.mark.parametrize("count, total", [("-3", 4), ("+3", 10), ("0", 7), (str(2**62), 2**62 + 7)])
def test_increments_may_have_a_sign(dataset: Dataset, count: str, total: int) -> None:
    api = dataset("today", {"id": "i-1", "total_inserted_observations": 7})
    assert add(api, count).status_code == 200
    assert inserted(api) == total


@pytest.mark.parametrize("count", ["x", "1.5", "1_000", "0x10", str(2**63), "-", "9" * 5000])
def test_a_count_that_is_no_integer_of_64_bits_is_refused(dataset: Dataset, count: str) -> None:
    api = dataset("today", {"id": "i-1"})
    response = add(api, count)
    assert (response.status_code, response.text) == (400, "inserted observation request parameter not an integer\n")
    assert inserted(api) == 0


@pytest.mark.parametrize("state", ["created", "submitted", "completed", "edition-confirmed", "associated", "failed"])
def test_increments_are_taken_in_every_state_but_published(dataset: Dataset, state: str) -> None:
    assert add(dataset("today", {"id": "i-1", "state": state}), 1).status_code == 200


def test_nothing_may_be_put_to_a_published_instance(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1", "state": "published"})
    for response in (
        add(api, 1),
        api.put("/instances/i-1", json={"state": "published"}),
        api.put("/instances/i-1/import_tasks", json={"import_observations": {"state": "completed"}}),
    ):
        assert (response.status_code, response.text) == (403, "unable to update resource as it has been published\n")
    assert inserted(api) == 0


@pytest.mark.parametrize("headers", [{}, {"If-Match": ""}, {"If-Match": "*"}], ids=["absent", "empty", "star"])
def test_an_if_match_that_asks_for_nothing_is_not_checked(dataset: Dataset, headers: dict[str, str]) -> None:
    assert add(dataset("today", {"id": "i-1"}), 1, **headers).status_code == 200


def test_the_right_unquoted_etag_lets_the_increment_through_and_only_once(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"})
    etag = api.get("/instances/i-1").headers["etag"]
    assert add(api, 1, **{"If-Match": etag}).status_code == 200
    assert add(api, 1, **{"If-Match": etag}).status_code == 409
    assert inserted(api) == 1


def test_a_quoted_or_other_etag_is_a_conflict_that_changes_nothing(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"})
    etag = api.get("/instances/i-1").headers["etag"]
    for wrong in (f'"{etag}"', "0" * 40):
        for response in (
            add(api, 1, **{"If-Match": wrong}),
            api.get("/instances/i-1", headers={"If-Match": wrong}),
            api.put("/instances/i-1", json={"state": "completed"}, headers={"If-Match": wrong}),
        ):
            assert (response.status_code, response.text) == (409, "instance does not match the expected eTag\n")
    assert api.get("/instances/i-1").headers["etag"] == etag


def test_if_none_match_is_ignored(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"})
    etag = api.get("/instances/i-1").headers["etag"]
    assert api.get("/instances/i-1", headers={"If-None-Match": etag}).status_code == 200


def test_a_conflict_wins_over_a_published_instance(dataset: Dataset) -> None:
    assert add(dataset("today", {"id": "i-1", "state": "published"}), 1, **{"If-Match": "0" * 40}).status_code == 409


def test_an_unknown_instance_is_not_found_in_the_api_s_own_plain_text(dataset: Dataset) -> None:
    api = dataset()
    for response in (api.get("/instances/x"), add(api, 1, "x"), api.put("/instances/x", json={})):
        assert (response.status_code, response.text) == (404, "instance not found\n")
        assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_other_paths_and_methods_are_the_router_s_business(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"})
    assert (api.get("/nowhere").status_code, api.get("/nowhere").text) == (404, "404 page not found\n")
    assert (api.delete("/instances/i-1").status_code, api.delete("/instances/i-1").content) == (405, b"")


def test_a_put_to_an_instance_without_a_dataset_link_gets_no_answer(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1", "links": {"job": None}})
    with pytest.raises(httpx.RemoteProtocolError):
        add(api, 1)
    with pytest.raises(httpx.RemoteProtocolError):
        api.put("/instances/i-1", json={"state": "completed"})
    assert api.get("/instances/i-1").json()["links"] == {"job": None}
    assert inserted(api) == 0


def test_the_json_of_an_instance_has_its_count_inside_the_import_tasks(dataset: Dataset) -> None:
    shown = dataset("today", {"id": "i-1"}).get("/instances/i-1").json()
    assert shown["import_tasks"] == {
        "import_observations": {"total_inserted_observations": 0, "state": "created"},
        "build_hierarchies": None,
        "build_search_indexes": None,
    }
    assert "total_observations" not in shown
    assert "total_inserted_observations" not in shown
    assert shown["links"]["job"]["id"] == "j-1"


def test_import_tasks_may_be_null(dataset: Dataset) -> None:
    assert dataset("today", {"id": "i-1", "import_tasks": None}).get("/instances/i-1").json()["import_tasks"] is None


def test_a_state_put_answers_the_whole_instance_with_its_etag(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"})
    response = api.put("/instances/i-1", json={"state": "completed"})
    assert response.status_code == 200
    assert response.json() == api.get("/instances/i-1").json()
    assert response.headers["etag"] == api.get("/instances/i-1").headers["etag"]


NEEDED = {
    "submitted": "created",
    "completed": "submitted",
    "edition-confirmed": "completed",
    "associated": "edition-confirmed",
    "published": "associated",
}


@pytest.mark.parametrize("current", ["created", "submitted", "completed", "edition-confirmed", "associated", "failed"])
@pytest.mark.parametrize("wanted", [*NEEDED, "failed"])
def test_a_state_follows_only_the_one_before_it_or_itself(dataset: Dataset, current: str, wanted: str) -> None:
    api = dataset("today", {"id": "i-1", "state": current})
    response = api.put("/instances/i-1", json={"state": wanted})
    if wanted in {current, "failed"} or NEEDED[wanted] == current:
        assert response.status_code == 200
    else:
        assert (response.status_code, response.text) == (
            403,
            f"unable to update resource, expected resource to have a state of {NEEDED[wanted]}\n",
        )
        assert api.get("/instances/i-1").json()["state"] == current


def test_a_state_that_today_s_api_does_not_know_is_refused(dataset: Dataset) -> None:
    response = dataset("today", {"id": "i-1"}).put("/instances/i-1", json={"state": "error"})
    assert (response.status_code, response.text) == (400, "bad request - invalid instance state: error\n")


@pytest.mark.parametrize("body", ["{", "", "[]", '"x"', '{"state": 5}', '{"total_observations": "9"}', "\xff"])
def test_a_body_that_cannot_be_read_is_refused(dataset: Dataset, body: str) -> None:
    response = dataset("today", {"id": "i-1"}).put("/instances/i-1", content=body.encode("latin-1"))
    assert (response.status_code, response.text) == (400, "failed to parse json body\n")


def test_links_events_and_version_cannot_be_put(dataset: Dataset) -> None:
    body = {"links": {"job": {"id": "j-2"}, "dataset": {"id": "x"}, "spatial": {"href": "s"}}, "events": [{}], "version": 2}
    response = dataset("today", {"id": "i-1"}).put("/instances/i-1", json=body)
    assert response.status_code == 400
    assert response.text == (
        "unable to update instance contains invalid fields: [instance.Links.Dataset instance.Links.Job instance.Events instance.Version]\n"
    )


def test_the_dimension_extractor_sets_the_total(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"})
    before = api.get("/instances/i-1").headers["etag"]
    response = api.put("/instances/i-1", json={"headers": ["V4_0", "time"], "total_observations": 1510})
    assert response.json()["total_observations"] == 1510
    assert response.json()["state"] == "submitted"
    assert response.headers["etag"] != before


def test_a_put_that_carries_import_observations_overwrites_the_count(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1", "total_inserted_observations": 900})
    api.put("/instances/i-1", json={"import_tasks": {"import_observations": {"total_inserted_observations": 1}}})
    assert inserted(api) == 1


# --- import tasks ---

TASKS = {
    "build_hierarchies": [{"dimension_name": "geo", "code_list_id": "c", "state": "created"}],
    "build_search_indexes": [{"dimension_name": "geo", "state": "created"}],
}


def test_import_tasks_are_completed_one_kind_at_a_time(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1", "import_tasks": TASKS})
    url = "/instances/i-1/import_tasks"
    assert api.put(url, json={"import_observations": {"state": "completed"}, "build_hierarchies": None}).status_code == 200
    done = {"dimension_name": "geo", "state": "completed"}
    assert api.put(url, json={"build_hierarchies": [done]}).content == b""
    response = api.put(url, json={"build_search_indexes": [done]})
    assert response.headers["etag"] == api.get("/instances/i-1").headers["etag"]
    tasks = api.get("/instances/i-1").json()["import_tasks"]
    assert tasks["import_observations"]["state"] == "completed"
    assert tasks["build_hierarchies"] == [done | {"code_list_id": "c"}]
    assert tasks["build_search_indexes"] == [done]


@pytest.mark.parametrize(
    "body, text",
    [
        ({}, "request body does not contain any import tasks"),
        ({"import_observations": {}}, "invalid import observation task, must include state"),
        ({"import_observations": {"state": "created"}}, "invalid task state value for import observations: created"),
        ({"build_hierarchies": []}, "missing hierarchy task"),
        ({"build_search_indexes": []}, "missing search index task"),
        ({"build_hierarchies": [{}]}, "missing mandatory fields: [dimension_name state]"),
        ({"build_hierarchies": [{"dimension_name": "geo", "state": "x"}], "build_search_indexes": []}, "invalid task state value: x"),
    ],
)
def test_only_the_first_problem_of_import_tasks_is_told(dataset: Dataset, body: dict[str, object], text: str) -> None:
    response = dataset("today", {"id": "i-1", "import_tasks": TASKS}).put("/instances/i-1/import_tasks", json=body)
    assert (response.status_code, response.text) == (400, f"bad request - {text}\n")


def test_tasks_before_an_unknown_dimension_stay_completed(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1", "import_tasks": TASKS})
    body = {"import_observations": {"state": "completed"}, "build_hierarchies": [{"dimension_name": "age", "state": "completed"}]}
    response = api.put("/instances/i-1/import_tasks", json=body)
    assert (response.status_code, response.text) == (500, "mongo: no documents in result\n")
    assert api.get("/instances/i-1").json()["import_tasks"]["import_observations"]["state"] == "completed"


def test_import_tasks_that_are_no_json_get_the_parser_s_words(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"})
    assert api.put("/instances/i-1/import_tasks", content=b"").text == "unexpected end of JSON input\n"
    assert api.put("/instances/i-1/import_tasks", content=b"x").text == "invalid character 'x' looking for beginning of value\n"


# --- lists ---


def test_a_list_is_paged_twenty_at_a_time(dataset: Dataset) -> None:
    page = dataset("today", *({"id": f"i-{n}"} for n in range(25))).get("/instances?state=submitted").json()
    assert {key: page[key] for key in ("count", "offset", "limit", "total_count")} == {
        "count": 20,
        "offset": 0,
        "limit": 20,
        "total_count": 25,
    }
    assert len(page["items"]) == 20


def test_an_instance_that_changes_moves_to_the_front(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"}, {"id": "i-2"}, {"id": "i-3"})
    add(api, 1, "i-1")
    assert api.get("/instances").json()["items"][0]["id"] == "i-1"


def test_a_list_may_be_of_several_states_and_datasets(dataset: Dataset) -> None:
    other = {"dataset": {"id": "gdp", "href": ""}}
    api = dataset("today", {"id": "a"}, {"id": "b", "state": "failed"}, {"id": "c", "state": "created"}, {"id": "d", "links": other})
    assert {item["id"] for item in api.get("/instances?state=submitted,failed").json()["items"]} == {"a", "b", "d"}
    assert {item["id"] for item in api.get("/instances?dataset=gdp,x").json()["items"]} == {"d"}


def test_unknown_states_are_refused_by_name(dataset: Dataset) -> None:
    response = dataset().get("/instances?state=submitted,error,x")
    assert (response.status_code, response.text) == (400, "bad request - invalid filter state values: [error x]\n")


@pytest.mark.parametrize("query", ["limit=1001", "limit=-1", "offset=-1", "offset=x"])
def test_wrong_paging_is_refused(dataset: Dataset, query: str) -> None:
    response = dataset().get(f"/instances?{query}")
    assert (response.status_code, response.text) == (400, "invalid query parameter\n")


def test_no_instance_is_an_empty_list_but_an_offset_past_the_end_or_a_limit_of_zero_is_null(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"})
    assert api.get("/instances?state=failed").json()["items"] == []
    assert api.get("/instances?offset=5").json()["items"] is None
    nothing = api.get("/instances?limit=0")
    assert (nothing.status_code, nothing.json()["items"], nothing.json()["total_count"]) == (200, None, 1)


# --- creating, auth, health ---


def test_an_instance_is_created_with_a_count_of_zero(dataset: Dataset) -> None:
    api = dataset()
    body = {"links": {"job": {"id": "j", "href": "h"}, "dataset": {"id": "cpi", "href": "d"}}, "dimensions": []}
    response = api.post("/instances", json=body)
    assert (response.status_code, response.json()["state"]) == (201, "created")
    assert inserted(api, response.json()["id"]) == 0
    assert api.post("/instances", json=body | {"id": "mine"}).json()["id"] == "mine"
    assert api.post("/instances", json={"links": {}}).status_code == 400


def test_without_a_token_every_call_but_health_is_turned_away_with_no_word(dataset: Dataset) -> None:
    api = dataset("today", {"id": "i-1"}, token="t")
    for response in (api.get("/instances"), api.get("/instances/i-1"), add(api, 1)):
        assert (response.status_code, response.content) == (401, b"")
    refused = api.get("/instances/i-1", headers={"Authorization": "Bearer other"})
    assert (refused.status_code, refused.content) == (403, b"")
    assert api.get("/health").json()["status"] == "OK"


@pytest.mark.parametrize("value", ["Bearer t", "Bearer Bearer t"])
def test_the_token_may_carry_the_word_bearer_once_or_twice(dataset: Dataset, value: str) -> None:
    assert dataset("today", {"id": "i-1"}, token="t").get("/instances/i-1", headers={"Authorization": value}).status_code == 200
