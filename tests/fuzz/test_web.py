"""The web application against its description, `docs/openapi.json`: whatever is asked, the answer is one that is described."""

import asyncio
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.routing import Route

from tests.contract.batches import P0, batch
from tests.unit.tracker.web_client import look, make_web, new_ledger
from tracker.events import ObservationsInserted, Undecodable
from tracker.instance import Instance
from tracker.ledger_state import PartitionStart
from tracker.overview import JOB_LISTS, LISTS
from tracker.views import JOB_STATES, STATES, DeadLetter, InstanceView, IntentView, JobView
from tracker.web.app import Web

DESCRIPTION = json.loads((Path(__file__).resolve().parents[2] / "docs" / "openapi.json").read_text("utf-8"))
SCHEMAS = DESCRIPTION["components"]["schemas"]


def a_web() -> Web:
    """The application over a ledger that has something of everything."""
    ledger = new_ledger()
    ledger.start_partition(ledger.state([]).id or "", PartitionStart(P0, "e1", 0, 0))
    ledger.follow("submitted", [Instance(f"i-{number}", "submitted", f"j-{number}", 10, 4) for number in range(3)])
    ledger.apply(batch(ledger, 0, 2, [(0, ObservationsInserted("i-1", 5)), (1, Undecodable("bad", b"\x00"))]))
    web = make_web(ledger)
    look(web)
    return web


WEB = a_web()
APP = WEB.app()

schema = schemathesis.openapi.from_dict(DESCRIPTION)
schema.app = APP


@schema.exclude(path="/live").parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_is_described(case: Any) -> None:
    """What a duration is no pattern tells: `since` of the history may be refused."""
    case.call_and_validate(excluded_checks=[positive_data_acceptance] if case.path == "/history" else [])


def test_the_description_has_every_route_and_no_other() -> None:
    routes = {
        (route.path.replace("{id:path}", "{id}"), method)
        for route in APP.routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    told = {(path, method.upper()) for path, methods in DESCRIPTION["paths"].items() for method in methods}
    assert {each for each in routes if each[1] != "HEAD"} == {each for each in told if each[1] != "HEAD"}


@pytest.mark.parametrize(
    "name, view, more",
    [("Instance", InstanceView, {"over"}), ("Intent", IntentView, set()), ("Job", JobView, set()), ("DeadLetter", DeadLetter, set())],
)
def test_the_description_has_every_field(name: str, view: Any, more: set[str]) -> None:
    assert set(SCHEMAS[name]["properties"]) == {field.name for field in fields(view)} | more
    assert set(SCHEMAS[name]["required"]) == set(SCHEMAS[name]["properties"])


def test_the_description_has_every_word_for_a_state() -> None:
    states = {path: DESCRIPTION["paths"][path]["get"]["parameters"][0]["schema"]["enum"] for path in ("/instances", "/jobs")}
    assert states == {"/instances": [*LISTS, *STATES], "/jobs": [*JOB_LISTS, *JOB_STATES]}
    assert SCHEMAS["Instance"]["properties"]["state"]["enum"] == list(STATES)


def test_the_stream_of_a_page_that_is_none_is_refused() -> None:
    """The one route that answers without end is left out above."""

    async def ask(of: str) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://tracker") as client:
            return (await client.get("/live", params={"of": of})).status_code

    for of in ("", "//", "/nothing", "/job/", "/?list=nothing", "\x00", "/" + "a" * 5000):
        assert asyncio.run(ask(of)) == 400, of
