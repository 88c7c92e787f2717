"""Several of each process, and partitions that change hands in the middle of the stream: every observation counts once."""

import time
from collections.abc import Iterator

import pytest

from tests.conftest import Build, end
from tests.system import System


@pytest.fixture(scope="module")
def system(builder: Build) -> Iterator[System]:
    """Two bridges on four partitions, four workers, two Beats; what completes here is found by the periodic check alone."""
    system = builder(bridges=2, apply_workers=2, push_workers=2, beats=2, partitions=4, env={"COMPLETE_AT_ONCE": "false"})
    yield system
    end(system)


def assignments(system: System, name: str) -> int:
    """How often a bridge was given partitions, by its log."""
    return system.stack.logs(name).count('"partitions_assigned"')


def test_the_periodic_check_alone_completes_everything(system: System) -> None:
    """With the shortcut after the last push switched off."""
    job = first, second = system.new_job("by-the-check", 2)
    system.announce(*job)
    system.count(first, 1510)
    system.tell_totals(first)
    system.count(second, 100)
    system.wait_counted(job)
    system.tell_totals(second)
    system.wait_ended(job)


def test_bridges_that_come_and_go_while_records_flow(system: System) -> None:
    job = system.new_job("rebalanced", 8)
    system.announce(*job)

    def wait_assigned(name: str, before: int) -> None:
        system.stack.wait_until(lambda: assignments(system, name) > before, what=f"an assignment to {name}")

    with system.flowing(*job, every_s=0.005):
        time.sleep(0.5)
        first, second = (assignments(system, name) for name in ("bridge", "bridge-2"))
        system.stack.stop("bridge-2")  # in good order: its partitions are the other's at once
        wait_assigned("bridge", first)
        system.stack.start("bridge-2")
        wait_assigned("bridge-2", second)
        time.sleep(0.5)
        first, second = (assignments(system, name) for name in ("bridge", "bridge-2"))
        system.stack.kill("bridge")  # it is missed after the session time-out
        wait_assigned("bridge-2", second)
        system.stack.start("bridge")
        wait_assigned("bridge", first)
        time.sleep(0.5)
    system.wait_ended(job)


def test_a_bridge_that_is_suspended_past_its_session(system: System) -> None:
    """It wakes with the same assignment and its old position, while the other has read on."""
    job = system.new_job("suspended-bridge", 8)
    system.announce(*job)
    with system.flowing(*job):
        time.sleep(0.5)
        system.stack.pause("bridge-2")
        time.sleep(4.5)
        system.stack.resume("bridge-2")
        time.sleep(1.5)
    system.wait_ended(job)


def test_many_records_at_once_through_everything(system: System) -> None:
    job = system.new_job("many", 10)
    for name in job:
        system.count(name, 20_000, 10, flush=False)
    system.stack.flush()
    system.tell_totals(*job)
    system.wait_ended(job)
