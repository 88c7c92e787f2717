"""The stack that the demo and the tests run on, without the tracker's own processes: it seeds, publishes, disturbs, and leaves nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from kafka import KafkaConsumer, TopicPartition

from sandbox.stack import Stack, StackFailed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(processes=(), partitions=2) as stack:
        yield stack


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def pids(stack: Stack) -> list[int]:
    return [pid for name in ("kafka", "valkey", "dataset-api", "import-api") if (pid := stack.pid(name)) is not None]


def test_records_reach_the_topics(stack: Stack) -> None:
    stack.publish_file("i-1", "j-1")
    assert stack.publish_inserted("i-1", 2510) == 3
    consumer = KafkaConsumer(bootstrap_servers=stack.kafka.address)
    ends = consumer.end_offsets([TopicPartition(topic, number) for topic in (stack.file_topic, stack.inserted_topic) for number in (0, 1)])
    consumer.close()
    assert sum(end for partition, end in ends.items() if partition.topic == stack.file_topic) == 1
    assert sum(end for partition, end in ends.items() if partition.topic == stack.inserted_topic) == 3


def test_jobs_and_instances_are_seeded_and_changed_by_the_neighbours(stack: Stack) -> None:
    stack.import_api.add_job("j-1", ["i-1", "i 2"])
    stack.dataset_api.add_instance("i-1", "j-1")
    stack.dataset_api.add_instance("i 2", "j-1", total=7, inserted=5)
    stack.dataset_api.set_total("i-1", 10)
    stack.dataset_api.set_state("i 2", "failed")
    assert stack.dataset_api.get("i-1")["total_observations"] == 10
    assert stack.dataset_api.counts() == {"i-1": 0, "i 2": 5}
    assert stack.dataset_api.states() == {"i-1": "submitted", "i 2": "failed"}
    assert [link["id"] for link in stack.import_api.get("j-1")["links"]["instances"]] == ["i-1", "i 2"]


def test_a_fault_is_met_until_it_ends(stack: Stack) -> None:
    stack.dataset_api.add_instance("i-3")
    fault = stack.dataset_api.fault("answer", status=500, method="GET", path="/instances/i-3")
    with pytest.raises(httpx.HTTPStatusError):
        stack.dataset_api.get("i-3")
    stack.dataset_api.end_fault(fault)
    assert stack.dataset_api.get("i-3")["id"] == "i-3"
    assert [call["status"] for call in stack.dataset_api.calls(path="/instances/i-3", method="GET", at_least=2)] == [500, 200]


@pytest.mark.parametrize("name", ["kafka", "valkey", "dataset-api", "import-api"])
def test_each_part_can_be_killed_and_started_again(stack: Stack, name: str) -> None:
    before = stack.pid(name)
    stack.kill(name)
    assert stack.pid(name) is None
    stack.start(name)
    assert stack.pid(name) not in {None, before}


def test_a_part_can_be_paused(stack: Stack) -> None:
    pid = stack.pid("valkey")
    assert pid is not None
    stack.pause("valkey")
    stack.wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 5)
    stack.resume("valkey")
    stack.wait_until(lambda: psutil.Process(pid).status() != psutil.STATUS_STOPPED, 5)


def test_waiting_in_vain_says_for_what_and_where_the_logs_are(stack: Stack) -> None:
    with pytest.raises(StackFailed, match=f"the moon did not come true within 0.1 s; the logs are in {stack.folder}"):
        stack.wait_until(lambda: False, 0.1, "the moon")


def test_nothing_is_left_after_an_exception() -> None:
    left: list[int] = []
    stack = Stack(processes=())

    def fail() -> None:
        with stack:
            left.extend(pids(stack))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(left) == 4
    assert alive(left) == []
    assert not stack.folder.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_after_a_signal(number: signal.Signals) -> None:
    program = (
        "import signal, time; from sandbox.stack import Stack\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job would ignore it
        "with Stack(processes=()) as stack:\n"
        "    print(stack.folder, *(stack.pid(name) for name in ('kafka', 'valkey', 'dataset-api', 'import-api')), flush=True)\n"
        "    while True: time.sleep(0.1)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    assert running.stdout is not None
    folder, *left = running.stdout.readline().split()

    deadline = time.monotonic() + 40
    while running.poll() is None and time.monotonic() < deadline:
        os.kill(running.pid, number)  # as a person does: again, when the first one is lost in some callback
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(timeout=10)
    ended = running.poll() is not None
    running.kill()
    running.communicate()
    assert ended

    assert len(left) == 4
    deadline = time.monotonic() + 10
    while alive([int(pid) for pid in left]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert Path(folder).exists() == (number == signal.SIGKILL)
    if number == signal.SIGKILL:
        subprocess.run(["/bin/rm", "-r", folder], check=True)
