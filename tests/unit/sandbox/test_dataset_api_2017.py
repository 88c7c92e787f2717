"""The rules of the Dataset API of 2017, where they differ from today's."""

from collections.abc import Callable

import httpx
import pytest

Dataset = Callable[..., httpx.Client]


def test_the_count_is_at_the_top_and_absent_until_the_first_increment(dataset: Dataset) -> None:
    api = dataset("2017", {"id": "i-1"})
    assert "total_inserted_observations" not in api.get("/instances/i-1").json()
    response = api.put("/instances/i-1/inserted_observations/0")
    assert (response.status_code, response.content) == (200, b"")
    assert "etag" not in response.headers
    shown = api.get("/instances/i-1")
    assert "etag" not in shown.headers
    assert shown.json()["total_inserted_observations"] == 0
    assert "import_tasks" not in shown.json()


def test_links_are_always_there_with_empty_strings(dataset: Dataset) -> None:
    links = dataset("2017", {"id": "i-1", "links": {}}).get("/instances/i-1").json()["links"]
    assert links == {name: {"id": "", "href": ""} for name in ("job", "dataset", "version")}


def test_if_match_is_not_known(dataset: Dataset) -> None:
    api = dataset("2017", {"id": "i-1"})
    assert api.put("/instances/i-1/inserted_observations/1", headers={"If-Match": "0" * 40}).status_code == 200


def test_an_instance_without_a_dataset_link_takes_puts(dataset: Dataset) -> None:
    assert dataset("2017", {"id": "i-1", "links": {}}).put("/instances/i-1", json={"state": "completed"}).status_code == 200


def test_an_unknown_instance_is_not_found_with_a_capital_letter(dataset: Dataset) -> None:
    api = dataset("2017")
    for response in (api.get("/instances/x"), api.put("/instances/x/inserted_observations/1"), api.put("/instances/x", json={})):
        assert (response.status_code, response.text) == (404, "Instance not found\n")


def test_a_count_that_is_no_integer_gets_the_parser_s_words(dataset: Dataset) -> None:
    api = dataset("2017", {"id": "i-1"})
    response = api.put("/instances/i-1/inserted_observations/x")
    assert (response.status_code, response.text) == (400, 'strconv.ParseInt: parsing "x": invalid syntax\n')
    response = api.put(f"/instances/i-1/inserted_observations/{2**63}")
    assert response.text.endswith("value out of range\n")


@pytest.mark.parametrize("current", ["created", "failed", "edition-confirmed", "published"])
@pytest.mark.parametrize("wanted", ["submitted", "completed", "error", "failed", "any text"])
def test_most_states_follow_any_other(dataset: Dataset, current: str, wanted: str) -> None:
    api = dataset("2017", {"id": "i-1", "state": current})
    response = api.put("/instances/i-1", json={"state": wanted})
    assert (response.status_code, response.content) == (200, b"")
    assert api.get("/instances/i-1").json()["state"] == wanted


@pytest.mark.parametrize(
    "wanted, needed", [("edition-confirmed", "completed"), ("associated", "edition-confirmed"), ("published", "associated")]
)
def test_the_last_states_need_the_one_before(dataset: Dataset, wanted: str, needed: str) -> None:
    api = dataset("2017", {"id": "ready", "state": needed}, {"id": "early", "state": "submitted"})
    assert api.put("/instances/ready", json={"state": wanted}).status_code == 200
    response = api.put("/instances/early", json={"state": wanted})
    assert (response.status_code, response.text) == (403, "Unable to update resource, edition not confirmed\n")


def test_a_body_that_cannot_be_read_is_refused_with_the_parser_s_words(dataset: Dataset) -> None:
    response = dataset("2017", {"id": "i-1"}).put("/instances/i-1", content=b"")
    assert (response.status_code, response.text) == (400, "Failed to parse json body: unexpected end of JSON input\n")


def test_a_list_is_everything_of_one_exact_state(dataset: Dataset) -> None:
    api = dataset("2017", *({"id": f"i-{n}"} for n in range(25)))
    assert list(api.get("/instances?state=submitted").json()) == ["items"]
    assert len(api.get("/instances?state=submitted&limit=1").json()["items"]) == 25
    assert api.get("/instances?state=submitted,created").json() == {"items": []}


def test_import_tasks_do_not_exist_yet(dataset: Dataset) -> None:
    assert dataset("2017", {"id": "i-1"}).put("/instances/i-1/import_tasks", json={}).status_code == 404


def test_only_writes_need_the_internal_token(dataset: Dataset) -> None:
    api = dataset("2017", {"id": "i-1"}, token="t")
    url = "/instances/i-1/inserted_observations/1"
    assert api.get("/instances/i-1").status_code == 200
    for missing in ({}, {"Internal-token": ""}):
        response = api.put(url, headers=missing)
        assert (response.status_code, response.text) == (401, "No authentication header provided\n")
    response = api.put(url, headers={"Internal-token": "other"})
    assert (response.status_code, response.text) == (401, "Unauthorised access to API\n")
    assert api.put(url, headers={"Internal-token": "t"}).status_code == 200
    assert api.post("/instances", json={}).status_code == 401


def test_health_has_another_path_and_no_body(dataset: Dataset) -> None:
    api = dataset("2017")
    assert (api.get("/healthcheck").status_code, api.get("/healthcheck").content) == (200, b"")
    assert api.get("/health").status_code == 404


def test_a_count_that_is_absent_stays_absent_when_carried_to_another_stand_in(dataset: Dataset) -> None:
    other = dataset("2017")
    other.post("/sandbox/state", json=dataset("2017", {"id": "i-1"}).get("/sandbox/state").json())
    assert "total_inserted_observations" not in other.get("/instances/i-1").json()
