"""What an answer of the Import API says, of either generation, and what is sent to it."""

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
from tracker.errors import OutcomeUnknown, TrackerError, Transient, UnknownJob
from tracker.events import MAX_ID_CHARACTERS
from tracker.import_api import ImportApi, JobPage
from tracker.instance import Job

T = TypeVar("T")

JOB = {
    "id": "job-77",
    "recipe": "rec-5",
    "state": "submitted",
    "files": [],
    "links": {"instances": [{"id": "i-1", "href": "http://host/instances/i-1"}, {"id": "i-2"}], "self": {"id": "", "href": ""}},
}
TOO_LONG = [{"id": "i-1"}, {"id": "x" * (MAX_ID_CHARACTERS + 1)}]
READ = Job("job-77", "submitted", ("i-1", "i-2"))


def call(handler: Callable[[httpx.Request], httpx.Response], use: Callable[[ImportApi], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        api = ImportApi("http://api", token=None, service_token=None, timeout_s=5, max_calls=2, transport=httpx.MockTransport(handler))
        try:
            return await use(api)
        finally:
            await api.aclose()

    return asyncio.run(run())


def answering(value: object, status: int = 200) -> Callable[[httpx.Request], httpx.Response]:
    body = value if isinstance(value, str) else json.dumps(value)
    return lambda _: httpx.Response(status, content=body.encode())


def get(value: object, status: int = 200) -> Job:
    return call(answering(value, status), lambda api: api.get_job("job-77"))


def page(value: object, status: int = 200, offset: int = 0) -> JobPage:
    return call(answering(value, status), lambda api: api.list_jobs("submitted", offset, 1000))


def test_a_job_with_its_instances() -> None:
    assert get(JOB) == READ


@pytest.mark.parametrize("links", [None, {}, {"instances": None}, {"instances": []}])
def test_a_job_may_have_no_instances(links: object) -> None:
    assert get(JOB | {"links": links}).instance_ids == ()


def test_an_instance_linked_twice_is_one() -> None:
    assert get(JOB | {"links": {"instances": [{"id": "i-1"}, {"id": "i-1"}]}}).instance_ids == ("i-1",)


@pytest.mark.parametrize(
    "instances", [{}, "i-1", 5, [{"id": 5}], [{}], [{"id": ""}], ["i-1"], [None], [{"id": "i-1"}, {"id": "\ud800"}], TOO_LONG]
)
def test_a_job_with_an_instance_that_cannot_be_read_is_no_answer(instances: object) -> None:
    with pytest.raises(Transient, match="no answer"):
        get(JOB | {"links": {"instances": instances}})


@pytest.mark.parametrize("value", [None, [], 5, {}, {"id": 5}, JOB | {"id": "job-78"}, JOB | {"state": []}])
def test_what_is_not_this_job_is_no_answer(value: object) -> None:
    with pytest.raises(Transient, match="no answer"):
        get(json.dumps(value))


@pytest.mark.parametrize("text", ["job not found\n", "resource not found\n", "Job Not Found"])
def test_a_job_unknown_in_the_apis_own_words(text: str) -> None:
    with pytest.raises(UnknownJob):
        get(text, 404)


def test_any_other_404_may_pass() -> None:
    with pytest.raises(Transient):
        get("404 page not found\n", 404)


def test_the_listing_of_2017_is_a_bare_array() -> None:
    assert page([JOB]) == JobPage((READ,), None)
    assert page([]) == JobPage((), None)


def test_the_listing_of_today_pages() -> None:
    assert page({"items": [JOB], "count": 1, "offset": 0, "limit": 1000, "total_count": 1}) == JobPage((READ,), 1)


def test_no_job_in_that_state_is_an_empty_page() -> None:
    assert page("job not found\n", 404) == JobPage((), 0)
    assert page("job not found\n", 404, offset=2000) == JobPage((), 2000)


def test_any_other_404_on_the_listing_may_pass() -> None:
    for text in ("404 page not found\n", "resource not found\n"):
        with pytest.raises(Transient):
            page(text, 404)


def test_a_job_that_cannot_be_read_is_counted_and_passed_over() -> None:
    assert page([JOB, {"id": 5}, JOB | {"id": "x" * (MAX_ID_CHARACTERS + 1)}]) == JobPage((READ,), None, 2)


def test_a_put_to_an_unknown_job_is_read_back_before_anything_else() -> None:
    with pytest.raises(OutcomeUnknown, match="PUT /jobs/job-77: 404 job not found"):
        call(answering("job not found\n", 404), lambda api: api.put_state("job-77", "completed", allowed_at=clock()))


def test_what_is_sent() -> None:
    sent: list[tuple[str, str, bytes]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append((request.method, request.url.raw_path.decode(), request.content))
        return httpx.Response(200, json=[] if "?" in str(request.url) else JOB)

    async def use(api: ImportApi) -> None:
        await api.get_job("job-77")
        await api.list_jobs("submitted", 0, 1000)
        await api.put_state("job-77", "failed", allowed_at=clock())
        assert (await api.health()).status == "OK"

    call(handler, use)
    assert sent == [
        ("GET", "/jobs/job-77", b""),
        ("GET", "/jobs?state=submitted&offset=0&limit=1000", b""),
        ("PUT", "/jobs/job-77", b'{"state": "failed"}'),
        ("GET", "/health", b""),
    ]


NAMES = st.sampled_from(["id", "state", "links", "instances", "items", "total_count"])
THINGS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("job-77")
JSON = st.recursive(THINGS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JSON | st.builds(lambda changes: JOB | changes, st.dictionaries(NAMES, JSON, max_size=3)), st.sampled_from([200, 404]))
def test_whatever_json_comes_the_room_answers_in_its_own_terms(value: object, status: int) -> None:
    for use in (lambda: get(value, status), lambda: page(value, status)):
        with contextlib.suppress(TrackerError):
            assert isinstance(use(), Job | JobPage)
