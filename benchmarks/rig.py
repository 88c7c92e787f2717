"""The system under measurement: real Kafka and Valkey, all of the tracker's processes, and the lean APIs in place of the stand-ins."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil
from kafka import KafkaConsumer, TopicPartition

from benchmarks.writer import EACH, instance_name
from sandbox.ports import free_port
from sandbox.stack import ROOT, Stack


class WrongCount(Exception):
    """The API does not say what was published: the benchmark has failed, whatever its speed."""


class Rig:
    """
    One running system. `expected` holds by instance what the API must say.

    `env` is added to the tracker's environment, the rest of `options` goes to `Stack`.
    """

    def __init__(self, *, partitions: int = 4, env: Mapping[str, str] | None = None, **options: Any) -> None:  # noqa: ANN401
        self.partitions = partitions
        self.expected: dict[str, int] = {}
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        settings = {"DATASET_API_ADDR": self.url, "IMPORT_API_ADDR": self.url, **(env or {})}
        self.stack = Stack(partitions=partitions, env=settings, token=None, **options)
        self._apis: subprocess.Popen[bytes] | None = None
        self._client = httpx.Client(base_url=self.url, timeout=600, trust_env=False)
        self._seed = 0

    def __enter__(self) -> Self:
        argv = [sys.executable, "-m", "benchmarks.lean_apis", str(self._port)]
        self._apis = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._apis.stdout is not None
        self._apis.stdout.readline()
        try:
            self.stack.up()
        except BaseException:
            self._apis.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.stack.down()
        finally:
            self._client.close()
            if self._apis is not None:
                self._apis.kill()
                self._apis.wait()

    # -- the APIs -------------------------------------------------------------------------------------------------

    def ask(self, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever JSON it answers
        """Call the lean APIs' own surface."""
        if body is None:
            return self._client.get(f"/bench/{path}").json()
        return self._client.post(f"/bench/{path}", content=json.dumps(body)).json()

    def seed(self, first: int, instances: int, *, jobs: bool = True, total: int | None = None) -> list[str]:
        """Store instances `first`, `first + 1`, …, each in a job of its own; returns their ids."""
        names = [instance_name(number) for number in range(first, first + instances)]
        self.ask("seed", {"instances": [[name, f"job-{name}" if jobs else "", total] for name in names]})
        self.expected |= dict.fromkeys(names, 0)
        return names

    def calls(self) -> int:
        """All calls the APIs have answered."""
        return int(self.ask("stats")["calls"])

    def wait_counted(self) -> float:
        """Wait until the inserted counts add up; returns when. Raises WrongCount unless each is then exact."""
        at = float(self.ask("watch", {"sum": sum(self.expected.values())})["at"])
        self.check()
        return at

    def check(self) -> None:
        """Compare every count with what was published."""
        counts = self.ask("counts")
        wrong = [f"{name}: {counts.get(name)}, not {count}" for name, count in self.expected.items() if counts.get(name) != count]
        if wrong:
            raise WrongCount(f"{len(wrong)} counts are wrong: {'; '.join(wrong[:5])}")

    # -- Kafka ----------------------------------------------------------------------------------------------------

    def publish(self, records: int, instances: int, first: int = 0) -> None:
        """Publish so many counts for instances drawn at random. Nothing is waited for but Kafka's acknowledgement."""
        self.note(self.write(records, instances, first).communicate()[0])

    def write(self, records: int, instances: int, first: int = 0, rate: int = 0) -> subprocess.Popen[bytes]:
        """Begin to publish, at `rate` records a second if that is not 0. What it prints is for `note`."""
        self._seed += 1
        given = (self.stack.kafka.address, self.stack.inserted_topic, self.partitions, records, instances, self._seed, first, rate)
        return subprocess.Popen([sys.executable, "-m", "benchmarks.writer", *map(str, given)], cwd=ROOT, stdout=subprocess.PIPE)

    def note(self, printed: bytes) -> dict[str, Any]:
        """Expect the counts that a writer says it has published."""
        published: dict[str, Any] = json.loads(printed)
        for name, count in published["counts"].items():
            self.expected[name] += count
        return published

    def ends(self) -> list[int]:
        """The ends of the counts topic's partitions."""
        consumer = KafkaConsumer(bootstrap_servers=self.stack.kafka.address)
        try:
            wanted = [TopicPartition(self.stack.inserted_topic, number) for number in range(self.partitions)]
            found = consumer.end_offsets(wanted)
            return [found[each] for each in wanted]
        finally:
            consumer.close()

    def read_bare(self, starts: list[int], records: int) -> dict[str, Any]:
        """Run the bare loop over the records that were just published."""
        given = (self.stack.kafka.address, self.stack.inserted_topic, *map(str, starts), str(records))
        argv = [sys.executable, "-m", "benchmarks.reader", *given]
        read: dict[str, Any] = json.loads(subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
        if (read["records"], read["observations"]) != (records, records * EACH):
            raise WrongCount(f"the bare loop read {read}")
        return read

    # -- the processes --------------------------------------------------------------------------------------------

    def assigned_at(self, since: float) -> float:
        """When the bridge got its partitions after `since`, by its own log."""
        for line in reversed(self.stack.logs("bridge").splitlines()):
            with contextlib.suppress(ValueError, KeyError):
                event = json.loads(line)
                if event["event"] == "partitions_assigned":
                    at = datetime.fromisoformat(event["created_at"]).timestamp()
                    if at >= since:
                        return at
        raise RuntimeError("the bridge did not say that it has partitions")

    def wait_followed(self, instances: int, timeout_s: float = 120.0) -> None:
        """Wait until the tracker follows so many."""
        followed = f"{self.stack.environment['REDIS_KEY_PREFIX']}followed"
        self.stack.wait_until(lambda: self.redis().zcard(followed) >= instances, timeout_s, f"that {instances} are followed", poll_s=0.5)

    def processes(self) -> dict[str, psutil.Process]:
        """What runs, by name."""
        pids = {name: self.stack.pid(name) for name in (*self.stack.names(), "kafka", "valkey")}
        if self._apis is not None:
            pids["apis"] = self._apis.pid
        return {name: psutil.Process(pid) for name, pid in pids.items() if pid}

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds of each, those of its children included."""
        found = {}
        for name, process in self.processes().items():
            times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
            found[name] = sum(each.user + each.system for each in times)
        return found

    def resident(self, name: str) -> int:
        """Bytes resident of a process and its children."""
        process = self.processes()[name]
        return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))

    def redis(self) -> Any:  # noqa: ANN401 - redis-py's client
        """A client of the ledger's server."""
        import redis  # noqa: PLC0415

        return redis.Redis.from_url(self.stack.valkey.url, decode_responses=True)

    @contextlib.contextmanager
    def outage(self, *names: str) -> Iterator[None]:
        """Stop these processes, and start them again."""
        for name in names:
            if not self.stack.stop(name):
                raise RuntimeError(f"{name} did not stop in good order; see {Path(self.stack.folder) / name}.log")
        yield
        for name in names:
            self.stack.start(name)
