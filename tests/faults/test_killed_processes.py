"""Processes that are killed while records flow, again and again, at any moment: every observation counts once, without anybody's help."""

import time

import pytest

from tests.system import QUARANTINE_S, System


def test_each_process_killed_again_and_again_and_then_all_at_once(system: System) -> None:
    """All at once: as if their machine had lost its power; Redis and Kafka live elsewhere."""
    job = system.new_job("killed", 6)
    system.announce(*job)
    with system.flowing(*job):
        for name in ("push", "apply", "bridge", "beat", "bridge", "push", "apply"):
            time.sleep(0.7)
            system.stack.kill(name)
            time.sleep(0.1)
            system.stack.start(name)
        time.sleep(2)
        for name in system.stack.names():
            system.stack.kill(name)
        for name in system.stack.names():
            system.stack.start(name)
        time.sleep(1)
    system.wait_ended(job)


def test_workers_whose_children_are_killed(today: System) -> None:
    job = today.new_job("childless", 6)
    today.announce(*job)
    with today.flowing(*job):
        for name in ("push", "apply") * 3:
            time.sleep(0.3)
            today.stack.crash_child(name)
    today.wait_ended(job)


def test_a_worker_killed_after_the_put_left(system: System) -> None:
    """
    One instance's call is held on its way, another's answer on its way back, and let go when the worker is dead.

    Today that is when its successor has sent the same again, so that the first call comes much too late. Without an ETag
    (2017) a call can only be as old as `API_MAX_REQUEST_AGE` allows, so it is let go in time.
    """
    job = call, answer = system.new_job("put-left", 2)
    apis = system.stack.dataset_api
    for name in job:
        system.count(name, 5)
    system.wait_counted(job)
    apis.hold(method="PUT", path=f"^/instances/{call}/inserted", times=1)
    apis.hold(method="PUT", path=f"^/instances/{answer}/inserted", times=1, when="after")
    sent = time.monotonic()
    for name in job:
        system.count(name, 7)
    apis.held(at_least=2)
    system.stack.kill("push")
    system.stack.start("push")
    for name in job:
        system.count(name, 11)
    if system.stack.generation == "today":
        system.wait_counted(job)
    assert apis.release() == 2
    assert system.stack.generation == "today" or time.monotonic() - sent < QUARANTINE_S
    system.tell_totals(*job)
    system.wait_ended(job)
    late = [call for call in apis.calls(method="PUT", path="^/instances/put-left-1/inserted") if call["took_s"] > 3]
    assert [call["status"] for call in late] == ([409] if system.stack.generation == "today" else [])


@pytest.mark.slow
def test_a_worker_killed_between_instances_and_their_jobs(today: System) -> None:
    """One has been told that its instance is completed, of another nothing has been asked yet. A job's lock lives on for 21 s."""
    told, asked = (today.new_job(f"job-not-{name}") for name in ("told", "asked"))
    today.stack.import_api.hold(method="PUT", path="^/jobs/job-not-told$", times=1)
    today.stack.import_api.hold(method="GET", path="^/jobs/job-not-asked$", times=1)
    for (instance,) in (told, asked):
        today.count(instance, 12)
        today.tell_totals(instance)
    today.stack.import_api.held(at_least=2)
    today.stack.kill("push")
    today.stack.start("push")
    for job in (told, asked):
        today.wait_ended(job)


def test_a_worker_killed_after_the_put_of_completed_left(system: System) -> None:
    (instance,) = job = system.new_job("completed-put-left")
    apis = system.stack.dataset_api
    apis.set_total(instance, 12)
    apis.hold(when="after", method="PUT", path=f"^/instances/{instance}$")
    system.count(instance, 12)
    apis.held(at_least=1)
    system.stack.kill("push")
    apis.release()
    system.stack.start("push")
    system.wait_ended(job)


def test_a_suspended_worker_does_not_send_what_another_has_sent_meanwhile(today: System) -> None:
    """It sleeps past its lock, wakes, and must not believe that it still holds the instance."""
    (instance,) = job = today.new_job("suspended")
    apis = today.stack.dataset_api
    today.count(instance, 5)
    today.wait_counted(job)
    apis.hold(when="after", method="PUT", path=f"^/instances/{instance}/inserted")
    today.count(instance, 7)
    apis.held(at_least=1)
    today.stack.pause("push")
    apis.release()
    time.sleep(8)
    today.count(instance, 11)
    today.stack.resume("push")
    today.tell_totals(instance)
    today.wait_ended(job)
