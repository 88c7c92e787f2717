"""From the original to this tracker, back, and here again: no count is lost or repeated. `docs/migrating.md` tells the same in words."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from sandbox.stack import TOKEN
from tests.conftest import Build
from tests.system import System
from tracker.supervisor import end, spawn

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def go_service(system: System, dies_after: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The stand-in of the original, ended as an operator would."""
    stack = system.stack
    where = [stack.kafka.address, stack.inserted_topic, stack.group, stack.dataset_api.url, TOKEN]
    argv = [sys.executable, "-W", "ignore", "-m", "tests.faults.go_service", *where, *([str(dies_after)] if dies_after else [])]
    with (stack.folder / "go-service.log").open("ab") as output:
        process = spawn(argv, output=output, cwd=ROOT)
    try:
        yield process
    finally:
        end(process)


def start(system: System) -> None:
    for name in system.stack.names():
        system.stack.start(name)


def stop(system: System) -> None:
    """As docs/migrating.md says: the bridge first, the rest once nothing is owed; the web process is asked until then."""
    assert system.stack.stop("bridge"), "all that was on its way is applied and committed"
    system.stack.wait_until(lambda: system.shown("/figures")["owed"] == 0, what="nothing is owed")
    for name in ("beat", "apply", "push", "web"):
        system.stack.stop(name)


def everything_is_in(system: System, job: list[str]) -> None:
    system.stack.wait_until(lambda: system.counts(job) == {name: system.expected[name] for name in job}, what="all is counted")


def test_there_and_back_and_there_again(build: Build) -> None:
    system = build(held_back=("bridge", "apply", "push", "beat", "web"))
    job = list(system.new_job("handed-over", 3))

    for name in job:
        system.count(name, 1010, 100)
    with go_service(system, dies_after=17) as original:
        assert original.wait(30) == 9
    assert 0 < sum(system.counts(job).values()) < 3030

    start(system)
    for name in job:
        system.count(name, 2020, 100)
    system.wait_counted(job)
    first = system.ledger()
    for name in job:
        system.count(name, 303, 10)
    stop(system)
    commits = system.stack.kafka.committed(system.stack.group)
    assert all(
        metadata.startswith("import-tracker:") for each, (_, metadata) in commits.items() if each.topic == system.stack.inserted_topic
    )

    with go_service(system):
        for name in job:
            system.count(name, 404, 10)
        everything_is_in(system, job)

    start(system)
    for name in job:
        system.count(name, 505, 10)
    system.tell_totals(*job)
    system.wait_ended(job)
    assert system.ledger() != first
