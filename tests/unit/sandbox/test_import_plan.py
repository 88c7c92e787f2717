"""What the demo imports and how it judges: a demo that cannot fail would show nothing."""

from dataclasses import replace

import pytest

from sandbox.import_plan import FAILING, INSTANCES_PER_JOB, Outcome, disagreements, job_end_state, plan


def as_planned(observations: int = 300_000) -> list[Outcome]:
    planned = plan(observations)
    return [Outcome(each, each.published, each.end_state, job_end_state(planned, each.job_id)) for each in planned]


@pytest.mark.parametrize("observations", [100, 1000, 300_000, 1_000_003])
def test_every_observation_belongs_to_an_instance(observations: int) -> None:
    planned = plan(observations)
    assert sum(each.total for each in planned) == observations
    assert all(each.total >= 2 for each in planned)


def test_there_are_five_jobs_of_one_to_four_instances_and_one_fails() -> None:
    planned = plan(300_000)
    assert [sum(each.job_id == f"job-{job}" for each in planned) for job in range(1, 6)] == list(INSTANCES_PER_JOB)
    assert [each.id for each in planned if each.fails] == [f"instance-{FAILING[0] + 1}-{FAILING[1] + 1}"]


def test_most_instances_leave_a_remainder() -> None:
    assert sum(each.total % 1000 > 0 for each in plan(300_000)) > 6


def test_a_failing_instance_is_announced_in_half() -> None:
    failing = next(each for each in plan(300_000) if each.fails)
    assert failing.published == failing.total // 2


def test_one_failed_instance_fails_its_job_and_no_other() -> None:
    planned = plan(300_000)
    assert [job_end_state(planned, f"job-{job}") for job in range(1, 6)] == ["completed", "failed", "completed", "completed", "completed"]


def test_an_outcome_as_planned_has_no_disagreements() -> None:
    assert disagreements(as_planned()) == []


@pytest.mark.parametrize("off_by", [-1, 1])
def test_a_count_that_is_off_by_one_is_named(off_by: int) -> None:
    now = as_planned()
    now[3] = replace(now[3], counted=now[3].counted + off_by)
    assert disagreements(now) == [f"{now[3].planned.id}: {now[3].planned.published:,} published, {now[3].counted:,} counted"]


def test_an_instance_in_the_wrong_state_is_named() -> None:
    now = as_planned()
    now[0] = replace(now[0], state="submitted")
    assert disagreements(now) == ["instance-1-1: submitted, expected completed"]


def test_a_failed_instance_that_was_completed_is_named() -> None:
    now = [replace(each, state="completed") for each in as_planned()]
    assert disagreements(now) == ["instance-2-3: completed, expected failed"]


def test_a_job_in_the_wrong_state_is_named() -> None:
    now = [replace(each, job_state="completed") for each in as_planned()]
    assert disagreements(now) == ["job-2: completed, expected failed"]
