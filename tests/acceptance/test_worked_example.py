"""The import of two instances in 2017, and of one today, call by call: what the two APIs are asked, in which order, by which headers."""

import json
import re
from typing import Any

from sandbox.stack import TOKEN
from tests.system import System

Call = dict[str, Any]


def increments(system: System, instance_id: str, at_least: int = 0) -> list[Call]:
    pattern = f"^/instances/{instance_id}/inserted_observations/"
    return system.stack.dataset_api.calls(method="PUT", path=pattern, at_least=at_least)


def delta(call: Call) -> int:
    return int(call["path"].rpartition("/")[2])


def completions(system: System, instance_id: str) -> list[Call]:
    """The PUTs of a state; a dimension extractor's PUT of a total goes to the same path."""
    made = system.stack.dataset_api.calls(method="PUT", path=f"^/instances/{instance_id}$")
    return [call for call in made if "state" in json.loads(call["body"])]


def job_puts(system: System, job_id: str) -> list[Call]:
    return system.stack.import_api.calls(method="PUT", path=f"^/jobs/{job_id}$")


def test_two_instances_of_one_job_in_2017(early: System) -> None:
    apis = early.stack.dataset_api
    job = a, b = early.new_job("example-2017", 2)
    job_id = "example-2017"

    # The file messages name no job; the instances tell it.
    early.announce(a, b)
    early.stack.wait_until(lambda: early.instance(a).get("job_id") == early.instance(b).get("job_id") == job_id)
    assert early.instance(a)["total"] is None
    apis.set_total(a, 1510)
    apis.set_total(b, 900)

    early.count(a, 1000)
    (first,) = increments(early, a, at_least=1)
    assert (first["path"], first["query"], first["body"], first["status"]) == (f"/instances/{a}/inserted_observations/1000", "", "", 200)
    assert first["headers"]["internal-token"] == TOKEN
    assert not {"authorization", "if-match"} & first["headers"].keys()

    early.count(b, 490)
    early.count(a, 510)
    early.stack.wait_until(lambda: apis.states()[a] == "completed")
    assert [delta(call) for call in increments(early, a)] == [1000, 510]
    assert [delta(call) for call in increments(early, b)] == [490]
    (completed,) = completions(early, a)
    assert json.loads(completed["body"]) == {"state": "completed"}
    assert completed["headers"]["content-type"] == "application/json"
    assert completed["headers"]["internal-token"] == TOKEN
    reads = apis.calls(method="GET", path=f"^/instances/{a}$", since=increments(early, a)[-1]["seq"])
    assert reads[0]["seq"] < completed["seq"], "it is read afresh before it is completed"

    # The job and the other instance are looked at, and left alone.
    early.stack.import_api.calls(method="GET", path=f"^/jobs/{job_id}$", at_least=1)
    apis.calls(method="GET", path=f"^/instances/{b}$", since=completed["seq"], at_least=1)
    assert early.stack.import_api.states()[job_id] == "submitted"

    early.count(b, 410)
    early.wait_ended(job)
    assert [delta(call) for call in increments(early, b)] == [490, 410]
    assert len(completions(early, b)) == 1
    (job_put,) = job_puts(early, job_id)
    assert json.loads(job_put["body"]) == {"state": "completed"}
    assert job_put["headers"]["internal-token"] == TOKEN
    assert job_put["headers"]["content-type"] == "application/json"
    assert job_put["at"] > completions(early, b)[0]["at"]
    assert early.shown(f"/jobs/{job_id}")["state"] == "completed"


def test_one_instance_without_hierarchies_today(today: System) -> None:
    apis = today.stack.dataset_api
    job = (instance,) = today.new_job("example-today")
    today.announce(instance)
    today.stack.wait_until(lambda: today.instance(instance).get("job_id") == "example-today")

    today.count(instance, 1010, batch_size=100)
    today.wait_counted(job)
    apis.set_total(instance, 1510)
    today.count(instance, 500, batch_size=100)
    today.wait_ended(job)

    # The extractor changes the ETag, so one increment may be turned away (409) and sent again with the new one.
    made = increments(today, instance)
    assert {call["status"] for call in made} <= {200, 409}
    applied = [call for call in made if call["status"] == 200]
    assert sum(delta(call) for call in applied) == 1510
    assert len(applied) <= 16, "no more calls than records"
    (state_put,) = completions(today, instance)
    (job_put,) = job_puts(today, "example-today")
    for call in (*made, state_put, job_put):
        assert call["headers"]["authorization"] == f"Bearer {TOKEN}"
        assert "internal-token" not in call["headers"]
        assert call["headers"]["x-request-id"]
    matched = [call["headers"]["if-match"] for call in (*applied, state_put)]
    assert all(re.fullmatch("[0-9a-f]{40}", etag) for etag in matched), "unquoted, as it came"
    assert len(set(matched)) == len(matched)
    assert "if-match" not in job_put["headers"]
    assert json.loads(state_put["body"]) == {"state": "completed"}
    assert json.loads(job_put["body"]) == {"state": "completed"}
