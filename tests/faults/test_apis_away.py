"""An API that is away, or does not let the tracker in: counting goes on, and everything follows when it is back."""

import functools
import time

import pytest

from tests.system import System


def says(system: System, instance_id: str, reason: str) -> bool:
    return reason in system.instance(instance_id)["reason"]


def test_an_api_that_turns_the_tracker_away_is_asked_again_until_it_accepts(system: System) -> None:
    """A token that was rotated, an auth service that is away, an overload: the reason is shown, nothing is lost."""
    apis = system.stack.dataset_api
    statuses = (401, 403, 429)
    away = {status: system.new_job(f"turned-away-{status}") for status in statuses}
    (other,) = beside = system.new_job("let-in")
    for status, (instance,) in away.items():
        apis.fault("answer", status=status, path=f"^/instances/{instance}/", method="PUT")
        system.count(instance, 1000, 100)
    system.count(other, 10)
    system.tell_totals(other)
    system.wait_ended(beside)
    for status, (instance,) in away.items():
        system.stack.wait_until(functools.partial(says, system, instance, str(status)))
        assert system.counts([instance]) == {instance: 0}
    apis.end_faults()
    for job in away.values():
        system.count(job[0], 510, 100)
        system.tell_totals(job[0])
    for job in away.values():
        system.wait_ended(job)


def test_records_that_come_while_the_dataset_api_is_away_are_counted_when_it_is_back(early: System) -> None:
    job = early.new_job("dataset-api-away", 8)
    early.announce(*job)
    for name in job:
        early.count(name, 505, 100)
    early.stack.dataset_api.be_away(3)
    away = time.monotonic() + 3
    with pytest.raises(AssertionError):
        early.wait_counted(job, timeout_s=0.1)
    while time.monotonic() < away:
        for name in job:
            early.count(name, 7)
        time.sleep(0.2)
    early.tell_totals(*job)
    early.wait_ended(job)


@pytest.mark.slow
def test_the_dataset_api_may_be_away_for_long(today: System) -> None:
    """Its retries come more and more seldom, but soon enough after it is back; no instance is dropped."""
    job = today.new_job("dataset-api-away-for-long", 8)
    today.stack.dataset_api.be_away(20)
    for _ in range(20):
        for name in job:
            today.count(name, 11)
        time.sleep(1)
    today.stack.wait_until(today.stack.dataset_api.answers)
    today.tell_totals(*job)
    today.wait_ended(job)


def test_a_job_is_completed_when_the_import_api_is_back(system: System) -> None:
    (instance,) = job = system.new_job("import-api-away")
    system.announce(instance)
    system.stack.wait_until(lambda: system.instance(instance).get("job_id"))
    system.stack.import_api.be_away(3)
    system.count(instance, 100)
    system.tell_totals(instance)
    system.stack.wait_until(lambda: system.stack.dataset_api.states()[instance] == "completed", timeout_s=3)
    system.wait_ended(job)


def test_a_job_that_the_import_api_cannot_set_is_set_later(system: System) -> None:
    (instance,) = job = system.new_job("job-not-set")
    system.stack.import_api.fault("answer", status=500, path="/jobs/job-not-set", method="PUT", times=2)
    system.count(instance, 100)
    system.tell_totals(instance)
    system.wait_ended(job)


def test_a_job_whose_put_was_applied_without_an_answer_is_completed(system: System) -> None:
    (instance,) = job = system.new_job("job-put-cut")
    system.stack.import_api.fault("cut", when="after", path="/jobs/job-put-cut", method="PUT", times=1)
    system.count(instance, 100)
    system.tell_totals(instance)
    system.wait_ended(job)
    system.stack.wait_until(lambda: not system.shown("/jobs/job-put-cut")["pending"])
