"""A Dataset API whose answers tell nothing, or the wrong thing, of what became of a call: every observation counts once all the same."""

import json
import time
from typing import Any

from tests.system import QUARANTINE_S, System

Fault = dict[str, Any]

LATE_S = QUARANTINE_S - 0.5
"""Longer than the client waits (1 s), and within what `API_MAX_REQUEST_AGE` (1 s) allows besides."""

ONE_BY_ONE: dict[str, Fault] = {
    "500-applied": {"do": "answer", "when": "after", "status": 500, "body": "internal error\n"},
    "500-not-applied": {"do": "answer", "status": 500, "body": "internal error\n"},
    "404-not-applied": {"do": "answer", "status": 404, "body": "instance not found\n"},
    "404-applied": {"do": "answer", "when": "after", "status": 404, "body": "404 page not found\n"},
    "409-applied": {"do": "answer", "when": "after", "status": 409, "body": "instance does not match the expected eTag\n"},
    "204-applied": {"do": "answer", "when": "after", "status": 204},
    "302-not-applied": {"do": "answer", "status": 302},
    "cut-applied": {"do": "cut", "when": "after"},
    "cut-not-applied": {"do": "cut"},
    "reset-applied": {"do": "cut", "when": "after", "reset": True},
    "late": {"do": "delay", "seconds": LATE_S},
    "answer-late": {"do": "delay", "when": "after", "seconds": LATE_S},
}


def test_each_kind_of_lie_once(system: System) -> None:
    """One instance each, whose first increment meets the fault; all at the same time."""
    jobs = {}
    for kind, fault in ONE_BY_ONE.items():
        jobs[kind] = system.new_job(f"once-{kind}")
        (instance,) = jobs[kind]
        system.stack.dataset_api.fault(**fault, method="PUT", path=f"^/instances/{instance}/inserted", times=1)
    for (instance,) in jobs.values():
        system.count(instance, 1510, 100)
        system.tell_totals(instance)
    for job in jobs.values():
        system.wait_ended(job)


def test_all_kinds_of_lies_while_records_flow(system: System) -> None:
    """A third of the increments meet one, until there have been 25."""
    apis = system.stack.dataset_api
    job = system.new_job("lies", 12)
    system.announce(*job)
    kinds = [fault for kind, fault in ONE_BY_ONE.items() if kind != "302-not-applied"]
    before = apis.stats()["faults_hit"]
    for fault in kinds:
        apis.fault(**fault, method="PUT", path="^/instances/lies-", probability=0.33 / len(kinds))
    with system.flowing(*job, every_s=0.01):
        time.sleep(2)
        system.stack.wait_until(lambda: apis.stats()["faults_hit"] - before >= 25)
        apis.end_faults()
    system.wait_ended(job)


def test_lies_about_states(system: System) -> None:
    """The PUT of `completed`: applied and not told, or told and not applied, or late."""
    jobs = {}
    for kind, fault in ONE_BY_ONE.items():
        jobs[kind] = system.new_job(f"state-{kind}")
        (instance,) = jobs[kind]
        system.count(instance, 10)
        system.wait_counted(jobs[kind])
        system.stack.dataset_api.set_total(instance, 20)
        system.stack.dataset_api.fault(**fault, method="PUT", path=f"^/instances/{instance}$", times=1)
    for (instance,) in jobs.values():
        system.count(instance, 10)
    for job in jobs.values():
        system.wait_ended(job)


def test_another_instance_in_the_answer_is_no_answer(system: System) -> None:
    (instance,) = job = system.new_job("mixed-up")
    (other,) = system.new_job("mixed-up-with", inserted=1000, total=1000, state="completed")
    lie = json.dumps({"id": other, "state": "completed", "total_observations": 1000, "total_inserted_observations": 1000})
    fault = system.stack.dataset_api.fault("answer", status=200, body=lie, method="GET", path=f"^/instances/{instance}$")
    system.count(instance, 100)
    system.stack.wait_until(lambda: "another id" in system.instance(instance).get("reason", ""))
    system.stack.dataset_api.end_fault(fault)
    system.tell_totals(instance)
    system.wait_ended(job)
