"""Redis that dies, forgets everything, or comes back with what it was some time ago: the counts stay exact, without anybody's help."""

import shutil
import time
from collections.abc import Iterator

import pytest

from sandbox.stack import Generation
from tests.conftest import Build, end
from tests.system import System


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest, builder: Build) -> Iterator[System]:
    """A system of this file's own: what happens here concerns all that was ever published on it."""
    generation: Generation = request.param
    system = builder(generation=generation)
    yield system
    end(system)


both = pytest.mark.parametrize("system", ["today", "2017"], indirect=True)
today = pytest.mark.parametrize("system", ["today"], indirect=True)


def committed(system: System) -> dict[object, tuple[int, str]]:
    return {**system.stack.kafka.committed(system.stack.group)}


def wait_committed(system: System) -> None:
    """Until nothing new has been committed for a moment: whatever is applied now stands in a commit."""
    last: list[object] = []

    def same() -> bool:
        last.append(committed(system))
        return len(last) > 3 and last[-1] == last[-3]

    system.stack.wait_until(same, poll_s=0.3)


@today
def test_redis_killed_and_started_again_with_its_data(system: System) -> None:
    job = system.new_job("redis-killed", 6)
    system.announce(*job)
    ledger = system.ledger()
    with system.flowing(*job):
        for away_s in (0.1, 0.1, 1.5):
            time.sleep(0.7)
            system.stack.kill("valkey")
            time.sleep(away_s)
            system.stack.start("valkey")
        time.sleep(1)
    system.wait_ended(job)
    assert system.ledger() == ledger


@both
def test_redis_with_all_its_data_lost(system: System) -> None:
    """The import that was under way, those that had ended, and those that begin while it is gone."""
    job = running, waiting = system.new_job("redis-lost", 2)
    system.announce(running)
    ledger = system.ledger()
    system.count(running, 1500, 100)
    system.wait_counted([running])
    system.count(running, 200, 100)
    system.stack.kill("valkey")
    shutil.rmtree(system.stack.valkey.data)
    system.count(waiting, 300, 100)
    time.sleep(1)
    system.stack.start("valkey")
    system.count(running, 77)
    system.tell_totals(*job)
    system.wait_ended(job)
    assert int(system.ledger().partition("-")[0]) > int(ledger.partition("-")[0])


@both
def test_redis_lost_while_records_flow(system: System) -> None:
    job = system.new_job("redis-lost-flowing", 6)
    system.announce(*job)
    with system.flowing(*job):
        time.sleep(1.5)
        system.stack.kill("valkey")
        shutil.rmtree(system.stack.valkey.data)
        system.stack.start("valkey")
        time.sleep(2)
    system.wait_ended(job)


@today
@pytest.mark.parametrize("bridge", ["runs", "stopped"])
def test_an_older_copy_of_redis_put_back(system: System, bridge: str) -> None:
    """The commits tell it, also to a bridge that has seen nothing of it itself."""
    job = before, after = system.new_job(f"redis-put-back-bridge-{bridge}", 2)
    data, copy = system.stack.valkey.data, system.stack.folder / "valkey-copy"
    system.announce(*job)
    system.count(before, 1000, 100)
    system.wait_counted([before])
    ledger = system.ledger()
    system.stack.stop("valkey")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(data, copy)
    system.stack.start("valkey")

    system.count(before, 500, 100)
    system.count(after, 700, 100)
    system.wait_counted(job)
    wait_committed(system)
    if bridge == "stopped":
        system.stack.stop("bridge")
    system.stack.stop("valkey")
    shutil.rmtree(data)
    shutil.copytree(copy, data)
    system.stack.start("valkey")
    system.stack.start("bridge")

    system.count(after, 10)
    system.tell_totals(*job)
    system.wait_ended(job)
    assert system.ledger() != ledger


@today
def test_a_ledger_born_anew_because_a_person_asks(system: System) -> None:
    """Counts by hand are in no topic, and carried over; what is owed at that moment is sent once."""
    job = counted, by_hand, waiting = system.new_job("recovered", 3)
    system.count(counted, 2510, 100)
    assert system.stack.command("add", by_hand, "300", "--new").returncode == 0
    system.expected[by_hand] = 300
    system.count(by_hand, 20)
    system.wait_counted(job)
    ledger = system.ledger()
    fault = system.stack.dataset_api.fault("answer", status=401, method="PUT", path=f"^/instances/{waiting}/")
    system.count(waiting, 40)
    system.stack.wait_until(lambda: "401" in system.instance(waiting).get("reason", ""))
    assert system.stack.command("recover", "--reason", "a test", "--yes").returncode == 0
    system.count(counted, 11)
    system.stack.wait_until(lambda: system.ledger() != ledger)
    system.stack.dataset_api.end_fault(fault)
    system.tell_totals(*job)
    system.wait_ended(job)


@today
def test_redis_that_stands_still_for_a_while(system: System) -> None:
    """As one that is paused for a backup: it is there, takes what is sent, and answers when its time-out is long past."""
    job = system.new_job("redis-paused", 4)
    with system.flowing(*job):
        time.sleep(0.5)
        system.stack.pause("valkey")
        time.sleep(6)
        system.stack.resume("valkey")
        time.sleep(0.5)
    system.wait_ended(job)
