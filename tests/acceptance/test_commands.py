"""What a person does by hand, as the README tells it: counts, registrations, checks, a look at how things are."""

import json
import subprocess
import sys
import time
from typing import Any

from sandbox.stack import ROOT
from tests.system import System


def run(system: System, *arguments: str, code: int = 0) -> str:
    """Run `tracker …`; returns what it wrote, to stderr where it failed."""
    done = system.stack.command(*arguments)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout if code == 0 else done.stderr


def read(system: System, *arguments: str) -> Any:
    return json.loads(run(system, *arguments, "--json"))


def celery_call(system: System, task: str, arguments: list[Any], **keywords: Any) -> None:
    command = ["-q", "-A", "tracker", "call", task, "--args", json.dumps(arguments), "--kwargs", json.dumps(keywords)]
    environment = system.stack.environment | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "celery", *command], env=environment, cwd=system.stack.folder, check=True, timeout=60)


def test_counts_by_hand(today: System) -> None:
    (instance,) = job = today.new_job("by-hand")
    assert "100 added" in run(today, "add", instance, "100", "--new")
    today.expected[instance] = 100
    today.wait_counted(job)
    for _ in range(2):
        run(today, "add", instance, "25", "--key", "by-hand-ticket-1")
    celery_call(today, "tracker.add_inserted_count", [instance, 500])
    for _ in range(2):
        celery_call(today, "tracker.add_inserted_count", [instance, 50], key="by-hand-ticket-2")
    today.expected[instance] = 675
    today.count(instance, 7)
    today.wait_counted(job)
    assert today.instance(instance)["by_hand"] == 675
    today.tell_totals(instance)
    today.wait_ended(job)


def test_a_key_is_for_one_count(today: System) -> None:
    (instance,) = job = today.new_job("one-key")
    run(today, "add", instance, "5", "--key", "one-key", "--new")
    assert "used already" in run(today, "add", instance, "6", "--key", "one-key", code=2)
    assert "before" in run(today, "add", instance, "5", "--key", "one-key")
    today.expected[instance] = 5
    today.wait_counted(job)


def test_what_cannot_be_counted_is_refused(today: System) -> None:
    run(today, "add", "refused-1", "-5", code=2)
    run(today, "add", "refused-1", "many", code=2)
    run(today, "add", "..", "5", code=2)
    assert "is not known here" in run(today, "add", "refused-1", "5", code=1)
    assert today.instance("refused-1") == {}


def test_a_count_that_no_worker_applies_in_time_is_said_so_and_applied_later(today: System) -> None:
    (instance,) = job = today.new_job("no-worker")
    today.stack.stop("apply")
    assert "not applied after 0.5 s" in run(today, "add", instance, "5", "--timeout", "500ms", "--new", code=1)
    today.stack.start("apply")
    today.expected[instance] = 5
    today.wait_counted(job)


def test_an_instance_registered_by_hand(today: System) -> None:
    (instance,) = job = today.new_job("registered", total=10, inserted=10, state="created")
    run(today, "register", instance, "--job", "registered")
    today.stack.wait_until(lambda: today.instance(instance).get("job_id") == "registered")
    today.stack.dataset_api.set_state(instance, "submitted")
    run(today, "check", instance)
    today.wait_ended(job)


def test_a_check_by_hand_passes_over_the_wait_for_a_later_try(today: System) -> None:
    """The API refused it as wrong, which parks it; when that is put right, nobody has to wait for days."""
    (instance,) = job = today.new_job("checked")
    fault = today.stack.dataset_api.fault("answer", status=400, body="bad\n", method="PUT", path=f"^/instances/{instance}/")
    today.count(instance, 10)
    today.stack.wait_until(lambda: today.instance(instance).get("parked_kind") == "refused")
    assert "bad" in today.instance(instance)["reason"]
    today.count(instance, 5)
    time.sleep(0.5)
    assert today.counts(job) == {instance: 0}
    today.stack.dataset_api.end_fault(fault)
    run(today, "check", instance)
    today.tell_totals(instance)
    today.wait_ended(job)


def test_status_and_show_tell_how_it_is(today: System) -> None:
    (instance,) = job = today.new_job("looked-at")
    today.announce(instance)
    today.count(instance, 700)
    today.wait_counted(job)
    status = read(today, "status")
    assert status["figures"]["ledger"]["ready"] is True
    assert status["figures"]["owed"] == 0
    assert {each["id"]: each["inserted"] for each in status["instances"]["items"]}[instance] == 700
    assert len(status["lag"]) == 2 * today.stack.partitions
    today.stack.wait_until(lambda: set(read(today, "status")["lag"].values()) == {0}, what="a lag of 0")
    assert instance in run(today, "status")
    view = read(today, "show", instance)
    assert (view["counted"], view["inserted"], view["total"], view["job_id"]) == (700, 700, None, "looked-at")
    assert "700" in run(today, "show", instance)
    assert "no such instance" in run(today, "show", "nobody-1", code=1)

    today.tell_totals(instance)
    today.wait_ended(job)
    assert instance not in [each["id"] for each in read(today, "status")["instances"]["items"]]
    assert read(today, "show", instance)["state"] == "completed"
    assert "datasetAPI" in run(today, "health")
