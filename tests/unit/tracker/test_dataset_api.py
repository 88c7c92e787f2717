"""What an answer of the Dataset API says, of either generation, and what is sent to it."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracker.api_client import clock
from tracker.dataset_api import DatasetApi, Page, read_instance
from tracker.errors import TrackerError, Transient, UnknownInstance
from tracker.events import MAX_ID_CHARACTERS
from tracker.instance import Instance

T = TypeVar("T")

OF_2017 = {
    "id": "i-1",
    "links": {"job": {"id": "job-77", "href": "http://host/jobs/job-77"}, "dataset": {"id": "cpi"}, "version": {"id": "", "href": ""}},
    "state": "submitted",
    "total_observations": 1510,
    "total_inserted_observations": 1000,
    "last_updated": "2017-10-12T09:00:05Z",
}

OF_TODAY = {
    "id": "i-1",
    "links": {"job": {"id": "job-77"}, "self": {"href": "http://host/instances/i-1"}},
    "state": "submitted",
    "total_observations": 1510,
    "import_tasks": {
        "import_observations": {"total_inserted_observations": 1000, "state": "created"},
        "build_hierarchies": [
            {"dimension_name": "geography", "code_list_id": "cl-1", "state": "created"},
            {"dimension_name": "aggregate", "code_list_id": "cl-2", "state": "completed"},
        ],
        "build_search_indexes": [{"dimension_name": "geography", "state": "created"}],
    },
}

THINGS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**18, max_value=10**30)
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["i-1", "submitted", "completed", "\ud800", ""])
)
NAMES = st.sampled_from(
    [
        "id",
        "state",
        "links",
        "job",
        "instances",
        "items",
        "total_count",
        "count",
        "import_tasks",
        "import_observations",
        "total_observations",
        "total_inserted_observations",
        "build_hierarchies",
        "build_search_indexes",
        "dimension_name",
    ]
)
JSON = st.recursive(THINGS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=6))
ALMOST = st.builds(lambda changes: OF_TODAY | changes, st.dictionaries(NAMES, JSON, max_size=3))


def call(handler: Callable[[httpx.Request], httpx.Response], use: Callable[[DatasetApi], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        api = DatasetApi("http://api", token=None, service_token=None, timeout_s=5, max_calls=2, transport=httpx.MockTransport(handler))
        try:
            return await use(api)
        finally:
            await api.aclose()

    return asyncio.run(run())


def answering(value: object, status: int = 200, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    body = value if isinstance(value, str) else json.dumps(value)
    return lambda _: httpx.Response(status, content=body.encode(), headers=headers)


def get(value: object, status: int = 200, **headers: str) -> Instance:
    return call(answering(value, status, **headers), lambda api: api.get_instance("i-1"))


def page(value: object, status: int = 200) -> Page:
    return call(answering(value, status), lambda api: api.list_instances("submitted", 0, 1000))


def test_an_instance_of_2017() -> None:
    assert get(OF_2017) == Instance("i-1", "submitted", "job-77", 1510, 1000)


def test_an_instance_of_today() -> None:
    expected = Instance("i-1", "submitted", "job-77", 1510, 1000, "3f2a", ("hierarchy of geography", "search index of geography"))
    assert get(OF_TODAY, ETag="3f2a") == expected


@pytest.mark.parametrize("tasks", [None, {}, {"import_observations": None, "build_hierarchies": None, "build_search_indexes": None}])
def test_import_tasks_may_be_null_as_a_whole_or_in_part(tasks: object) -> None:
    assert get({"id": "i-1", "state": "created", "import_tasks": tasks}) == Instance("i-1", "created")


@pytest.mark.parametrize("links", [None, {}, {"job": None}, {"job": {}}, {"job": {"id": ""}}, {"job": {"id": None}}])
def test_an_instance_may_have_no_job(links: object) -> None:
    assert get(OF_2017 | {"links": links}).job_id is None


def test_a_total_that_is_not_set_is_none() -> None:
    assert get(OF_2017 | {"total_observations": None}).total_observations is None
    assert get({"id": "i-1", "state": "submitted"}).total_observations is None


@pytest.mark.parametrize("total", [0, -1, 0.0])
def test_a_total_that_is_set_to_nothing_is_0(total: object) -> None:
    assert get(OF_2017 | {"total_observations": total}).total_observations == 0


def test_a_whole_number_may_be_written_with_a_fraction() -> None:
    assert get('{"id": "i-1", "total_observations": 1.51e3}').total_observations == 1510


@pytest.mark.parametrize("inserted", ["5", True, 1.5, [5], {}, 10**30, float("nan")])
def test_an_inserted_count_that_cannot_be_read_is_no_answer_rather_than_0(inserted: object) -> None:
    with pytest.raises(Transient, match="no answer: total_inserted_observations is no whole number"):
        get(OF_2017 | {"total_inserted_observations": inserted})


@pytest.mark.parametrize("change", [{"id": 5}, {"id": None}, {"id": ""}, {"state": 5}, {"links": {"job": {"id": 7}}}, {"state": "\ud800"}])
def test_text_of_another_type_is_no_answer(change: dict[str, object]) -> None:
    with pytest.raises(Transient, match="no answer"):
        get(OF_2017 | change)


@pytest.mark.parametrize("field", ["id", "links"])
def test_an_id_that_no_record_could_carry_cannot_be_read(field: str) -> None:
    def with_id(length: int) -> dict[str, object]:
        return OF_2017 | {field: "x" * length if field == "id" else {"job": {"id": "x" * length}}}

    assert page({"items": [with_id(MAX_ID_CHARACTERS), with_id(MAX_ID_CHARACTERS + 1)]}).unreadable == 1


def test_an_instance_whose_job_has_too_long_an_id_is_no_answer() -> None:
    with pytest.raises(Transient, match=r"no answer: links\.job\.id is 513 characters long, more than 512"):
        get(OF_2017 | {"links": {"job": {"id": "x" * 513}}})


@pytest.mark.parametrize("value", [None, [], "i-1", 1, {}, {"items": []}])
def test_what_is_no_instance_is_no_answer(value: object) -> None:
    with pytest.raises(Transient, match="no answer"):
        get(json.dumps(value))


def test_another_instance_is_no_answer() -> None:
    with pytest.raises(Transient, match="no answer: another id"):
        get(OF_2017 | {"id": "i-2"})


def test_a_task_that_cannot_be_read_is_open() -> None:
    tasks = {"build_hierarchies": [None, {"dimension_name": "time"}, {"state": "completed"}]}
    assert get({"id": "i-1", "import_tasks": tasks}).open_tasks == ("hierarchy of ?", "hierarchy of time")


@pytest.mark.parametrize("text", ["instance not found\n", "Instance not found\n"])
def test_an_instance_unknown_in_the_apis_own_words(text: str) -> None:
    with pytest.raises(UnknownInstance):
        get(text, 404)


def test_a_route_that_is_switched_off_is_no_unknown_instance() -> None:
    with pytest.raises(Transient):
        get("404 page not found\n", 404)


def test_the_listing_of_2017_does_not_page() -> None:
    assert page({"items": [OF_2017]}) == Page((Instance("i-1", "submitted", "job-77", 1510, 1000),), None)


def test_the_listing_of_today_has_a_total_and_no_etags() -> None:
    answer = call(
        answering({"items": [OF_TODAY], "count": 1, "offset": 0, "limit": 1000, "total_count": 7}, ETag="of-the-listing"),
        lambda api: api.list_instances("submitted", 0, 1000),
    )
    assert (answer.total, answer.items[0].etag, answer.unreadable) == (7, None, 0)


def test_items_that_are_null_are_none() -> None:
    assert page({"items": None, "count": 0, "offset": 9, "limit": 0, "total_count": 3}) == Page((), 3)


def test_items_that_cannot_be_read_are_counted_and_passed_over() -> None:
    answer = page({"items": [None, OF_2017, {"id": 5}, [], {"id": "i-3", "total_inserted_observations": "x"}]})
    assert ([item.id for item in answer.items], answer.unreadable) == (["i-1"], 4)


@pytest.mark.parametrize("value", [None, {}, 5, {"items": {}}, {"items": [], "limit": 20}, {"items": [], "total_count": "7"}])
def test_what_is_no_listing_is_no_answer(value: object) -> None:
    with pytest.raises(Transient, match="no answer"):
        page(json.dumps(value))


def test_a_404_on_the_listing_is_never_an_empty_one() -> None:
    with pytest.raises(Transient):
        page("instance not found\n", 404)


def test_what_is_sent() -> None:
    sent: list[tuple[str, str, str | None, bytes]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append((request.method, request.url.raw_path.decode(), request.headers.get("If-Match"), request.content))
        return httpx.Response(200, json=OF_2017 | {"id": "a/b"} if "?" not in str(request.url) else {"items": []}, headers={"ETag": "e2"})

    async def use(api: DatasetApi) -> None:
        await api.get_instance("a/b")
        await api.list_instances("submitted", 1000, 500)
        assert await api.add_inserted("a/b", -5, "e1", allowed_at=clock()) == "e2"
        assert await api.put_state("a/b", "completed", None, allowed_at=clock()) == "e2"
        assert (await api.health()).status == "OK"

    call(handler, use)
    assert sent == [
        ("GET", "/instances/a%2Fb", None, b""),
        ("GET", "/instances?state=submitted&offset=1000&limit=500", None, b""),
        ("PUT", "/instances/a%2Fb/inserted_observations/-5", "e1", b""),
        ("PUT", "/instances/a%2Fb", None, b'{"state": "completed"}'),
        ("GET", "/health", None, b""),
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JSON | ALMOST)
def test_whatever_json_comes_it_is_an_instance_or_no_answer(value: object) -> None:
    try:
        instance = read_instance(value)
    except ValueError:
        return
    assert 0 < len(instance.id) <= MAX_ID_CHARACTERS
    assert all(len(text) <= MAX_ID_CHARACTERS for text in (instance.job_id or "", instance.state))
    assert all(len(task) <= MAX_ID_CHARACTERS + 30 for task in instance.open_tasks)
    assert instance.total_observations is None or instance.total_observations >= 0
    assert abs(instance.inserted_observations) <= 2**63
    json.dumps([instance.id, instance.state, instance.job_id, instance.open_tasks], ensure_ascii=False).encode()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JSON | ALMOST, st.sampled_from([200, 404, 500]))
def test_whatever_json_comes_the_room_answers_in_its_own_terms(value: object, status: int) -> None:
    for use in (lambda: get(value, status), lambda: page(value, status)):
        with contextlib.suppress(TrackerError):
            assert isinstance(use(), Instance | Page)
