"""What a person steers, on a whole system: pauses, ends by force, explanations."""

from tests.acceptance.test_commands import run
from tests.system import System


def test_paused_pushes_let_counts_gather_until_they_are_resumed(today: System) -> None:
    (instance,) = job = today.new_job("paused")
    run(today, "pause", "pushes", "--reason", "a test", "--yes")
    today.count(instance, 100)
    today.stack.wait_until(lambda: today.instance(instance).get("owed") == 100)
    assert "paused by" in run(today, "explain", instance)
    assert today.counts(job) == {instance: 0}
    run(today, "resume", "pushes", "--yes")
    today.wait_counted(job)
    assert "They agree." in run(today, "reconcile", instance)
    today.tell_totals(instance)
    today.wait_ended(job)


def test_a_paused_bridge_reads_nothing_until_it_is_resumed(today: System) -> None:
    (instance,) = job = today.new_job("unread")
    today.announce(instance)
    today.stack.wait_until(lambda: today.instance(instance))
    run(today, "pause", "bridge", "--reason", "a test", "--yes")
    today.stack.wait_until(lambda: "paused by" in run(today, "status"))
    run(today, "add", instance, "1")
    today.expected[instance] += 1
    today.wait_counted(job)
    today.count(instance, 100)
    assert today.counts(job) == {instance: 1}
    run(today, "resume", "bridge", "--yes")
    today.tell_totals(instance)
    today.wait_ended(job)


def test_an_instance_is_ended_by_force_and_its_job_follows(today: System) -> None:
    job = short, damaged = today.new_job("forced", 2, total=1000)
    for name in job:
        today.count(name, 10)
    today.wait_counted(job)
    run(today, "complete", short, "--force", "--reason", "the rest is empty", "--yes")
    run(today, "fail", damaged, "--reason", "a damaged file", "--yes")
    today.wait_ended(job, "failed", states={damaged: "failed"})
    assert "nothing, it has ended" in run(today, "explain", short)
