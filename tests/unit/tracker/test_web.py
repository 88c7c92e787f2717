"""What the web application answers, without a socket."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from tests.unit.tracker.broken_redis import away
from tests.unit.tracker.web_client import Client, Looks, look, make_web, new_ledger, started
from tracker.errors import LedgerUnavailable, Transient
from tracker.findings import Finding, Status
from tracker.health import CHECKS, REDIS, Board
from tracker.instance import Instance
from tracker.ledger import Ledger
from tracker.overview import Overview
from tracker.settings import Settings
from tracker.web import server
from tracker.web.app import Web


@pytest.fixture
def ledger() -> Ledger:
    return new_ledger()


@pytest.fixture
def client(ledger: Ledger) -> Client:
    return started(make_web(ledger))


# -- health -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status, code", [("OK", 200), ("WARNING", 429), ("CRITICAL", 500)])
@pytest.mark.parametrize("path", ["/health", "/healthcheck"])
def test_health_answers_with_the_status_of_the_whole(ledger: Ledger, path: str, status: Status, code: int) -> None:
    answer = started(make_web(ledger, Looks(status))).get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (code, "application/json; charset=utf-8")
    assert answer.json()["status"] == status
    assert [check["name"] for check in answer.json()["checks"]] == list(CHECKS)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_health_answers_to_any_method(client: Client, method: str) -> None:
    assert client.request(method, "/healthcheck").json()["status"] == "OK"


def test_head_has_the_status_and_no_body(client: Client) -> None:
    answer = client.request("HEAD", "/health")
    assert (answer.status_code, answer.content) == (200, b"")


def test_before_the_first_look_health_is_a_warning(ledger: Ledger) -> None:
    answer = Client(make_web(ledger).app()).get("/health")
    assert (answer.status_code, answer.json()["status"]) == (429, "WARNING")


def test_the_process_lives_before_the_first_look_and_is_ready_after_it(ledger: Ledger) -> None:
    web = make_web(ledger)
    client = Client(web.app())
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503
    look(web)
    assert client.get("/readyz").status_code == 200


def test_without_redis_the_process_lives_and_is_not_ready() -> None:
    looks = Looks()
    looks.found[REDIS] = Finding("CRITICAL", "Redis does not answer")
    client = started(make_web(Ledger(away(), "p:"), looks))
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").json() == {"error": "Redis does not answer"}
    assert client.get("/health").status_code == 500


def run_until_it_has_looked(ledger: Ledger, beat: Callable[[], None]) -> Board:
    """Start the application and stop it after its first look."""
    looks = Looks()
    web = Web(Overview(ledger), Board(critical_timeout_s=0), looks.examine, beat)

    async def serve() -> None:
        async with asyncio.timeout(5), web._lifespan(web.app()):
            await looks.looked.wait()

    asyncio.run(serve())
    return web.board


def test_it_looks_in_the_background_and_says_that_it_lives(ledger: Ledger) -> None:
    beats: list[int] = []
    board = run_until_it_has_looked(ledger, lambda: beats.append(1))
    assert (board.status, beats) == ("OK", [1])


def test_a_sign_of_life_that_fails_does_not_end_the_looking(ledger: Ledger) -> None:
    def beat() -> None:
        raise LedgerUnavailable("away")

    assert run_until_it_has_looked(ledger, beat).status == "OK"


def test_changes_of_health_are_logged_once(ledger: Ledger) -> None:
    web = make_web(ledger, Looks("CRITICAL"))
    with capture_logs() as logs:
        look(web)
        look(web)
    assert [entry["check"] for entry in logs if entry["event"] == "health_changed"] == list(CHECKS)


# -- instances and jobs -------------------------------------------------------------------------------------------


def test_instances_and_jobs_are_listed_in_pages(ledger: Ledger, client: Client) -> None:
    ledger.follow("submitted", [Instance(f"i-{number}", "submitted", f"j-{number}", 10, 4) for number in range(5)])
    page = client.get("/instances?limit=2&offset=1").json()
    assert (page["count"], page["limit"], page["offset"], page["total"]) == (2, 2, 1, 5)
    assert page["items"][0].keys() >= {"id", "state", "total", "inserted", "owed", "job_id", "over"}
    assert client.get("/instances?state=completed").json()["total"] == 0
    assert client.get("/jobs?limit=1").json()["total"] == 5
    assert client.get("/figures").json()["followed"] == 5


def test_one_instance_and_one_job(ledger: Ledger, client: Client) -> None:
    ledger.register("a/b ü", "j-1")
    assert client.get("/instances/a%2Fb%20%C3%BC").json()["job_id"] == "j-1"
    assert client.get("/jobs/j-1").json()["instances"] == ["a/b ü"]


@pytest.mark.parametrize("path", ["/instances/none", "/jobs/none", "/nowhere"])
def test_what_is_not_known_is_a_404_in_json(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"].startswith("no such")


@pytest.mark.parametrize(
    "query, words",
    [
        ("/instances?limit=0", "limit='0': expected a whole number from 1 to 1000"),
        ("/instances?limit=1001", "limit='1001': expected a whole number from 1 to 1000"),
        ("/instances?limit=", "limit='': expected"),
        ("/instances?limit=٣", "limit='٣': expected"),
        ("/instances?limit=1e3", "limit='1e3': expected"),
        ("/jobs?offset=-1", "offset='-1': expected a whole number from 0"),
        ("/jobs?offset=99999999999999999999", "offset='99999999999999999999': expected"),
        ("/instances?state=bogus", "state='bogus': expected one of all"),
        ("/jobs?state=bogus", "state='bogus': expected one of all"),
        ("/instances?ofset=1", "'ofset': no such parameter, expected state, limit, offset"),
        ("/figures?x=1", "'x': no such parameter, expected none"),
        ("/dead-letters?limit=x", "limit='x': expected"),
        ("/history?what=bogus", "what='bogus': expected one of registered"),
        ("/history?since=soon", "since='soon': expected a duration"),
        ("/history?until=1h", "'until': no such parameter, expected instance, job, what, since, limit"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_was_expected(client: Client, query: str, words: str) -> None:
    answer = client.get(query)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_dead_letters_are_shown(ledger: Ledger, client: Client) -> None:
    ledger.client.xadd(
        f"{ledger.prefix}dead", {"at": 1000, "what": "undecodable", "offset": 3, "partition": 0, "topic": "t", "reason": "short"}
    )
    (letter,) = client.get("/dead-letters").json()["items"]
    assert (letter["offset"], letter["at_s"], letter["reason"]) == (3, 1.0, "short")


def test_what_has_happened_is_told_the_newest_first(ledger: Ledger, client: Client) -> None:
    ledger.register("i-1", "job-1", "ann@host")
    told = client.get("/history?instance=i-1&since=1h").json()
    assert (told["source"], told["trouble"]) == ("redis", "")
    (item,) = told["items"]
    assert (item["instance_id"], item["job_id"], item["text"]) == ("i-1", "job-1", "registered by hand by ann@host")
    assert [item["what"] for item in client.get("/history").json()["items"]] == ["registered", "birth"]


@pytest.mark.parametrize("path", ["/instances", "/instances/i-1", "/jobs", "/jobs/j-1", "/figures", "/dead-letters", "/history"])
def test_without_redis_there_is_an_answer_all_the_same(path: str) -> None:
    answer = started(make_web(Ledger(away(), "p:"))).get(path)
    assert answer.status_code == 503
    assert "Redis does not answer" in answer.json()["error"]


def test_what_is_only_read_refuses_other_methods(client: Client) -> None:
    answer = client.request("POST", "/instances")
    assert answer.status_code == 405
    assert "use GET" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/nowhere", "/static/nothing.css"])
def test_to_a_browser_an_error_is_a_page(client: Client, path: str) -> None:
    answer = client.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "No such page" in answer.text


# -- every request ------------------------------------------------------------------------------------------------


def test_a_request_id_is_taken_over_or_made(client: Client) -> None:
    assert client.get("/livez", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    made = {client.get("/livez").headers["x-request-id"] for _ in range(2)}
    assert len(made) == 2


@pytest.mark.parametrize("given", ["", "a b", "x" * 201])
def test_an_odd_request_id_is_replaced(client: Client, given: str) -> None:
    assert client.get("/livez", headers={"X-Request-Id": given}).headers["x-request-id"] not in {given, ""}


def requests_logged(client: Client, path: str) -> list[Any]:
    with capture_logs() as logs:
        client.get(path, headers={"X-Request-Id": "r-1"})
    return [entry for entry in logs if entry["event"] == "request"]


def test_every_request_is_logged_once_and_health_quietly(client: Client) -> None:
    (entry,) = requests_logged(client, "/instances")
    assert (entry["log_level"], entry["method"], entry["path"], entry["status"]) == ("info", "GET", "/instances", 200)
    assert entry["request_id"] == "r-1"
    assert entry["duration_ms"] >= 0
    assert [entry["log_level"] for entry in requests_logged(client, "/health")] == ["debug"]
    assert [entry["status"] for entry in requests_logged(client, "/instances?limit=x")] == [400]


def test_a_mistake_of_ours_is_a_500_without_a_traceback_and_logged_with_one(ledger: Ledger) -> None:
    def broken(_: Request) -> Response:
        raise RuntimeError("secret inner workings")

    app = make_web(ledger).app()
    app.router.routes.insert(0, Route("/broken", broken))
    with capture_logs() as logs:
        answer = Client(app).get("/broken", headers={"X-Request-Id": "r-9"})
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal error; the log has it under request id r-9"}
    assert [entry["request_id"] for entry in logs if entry["event"] == "request_broke"] == ["r-9"]


# -- the server ---------------------------------------------------------------------------------------------------


def test_an_address_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(bind_addr=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Transient, match=r"^BIND_ADDR='127.0.0.1:\d+': cannot listen there: Address already in use$"):
            server.listen(settings)


def test_without_a_host_every_interface_is_listened_at() -> None:
    with server.listen(Settings(bind_addr=":0")) as listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=2):
        pass


@pytest.fixture(autouse=True)
def unconfigured_logs() -> Iterator[None]:
    """Logs as a library sees them, whatever a test before has set up."""
    structlog.reset_defaults()
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)
