"""
The whole system on one machine, in a folder of its own: real Kafka, real Valkey, the two stand-in APIs, and the tracker's processes.

    with Stack(push_workers=2, partitions=3, env={"CHECK_COMPLETE_INTERVAL": "200ms"}) as stack:
        stack.import_api.add_job("j-1", ["i-1"])
        stack.dataset_api.add_instance("i-1", "j-1", total=2500)
        stack.publish_inserted("i-1", 2500)
        stack.kill("push")
        stack.start("push")
        stack.wait_until(lambda: stack.import_api.states() == {"j-1": "completed"})

It speaks to the tracker only as its neighbours do, over Kafka, HTTP and the environment.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import psutil
from kafka import KafkaProducer

from sandbox import publishers
from sandbox.handles import DatasetApiHandle, ImportApiHandle
from sandbox.kafka import VERSION, Kafka
from sandbox.ports import free_port
from sandbox.valkey import Valkey
from tracker.supervisor import Child, Supervisor

ROOT = Path(__file__).resolve().parent.parent

TOKEN = "sandbox-token"  # noqa: S105 - of an API that guards nothing
"""What the stand-ins ask of the tracker unless told otherwise."""

READY_TIMEOUT_S = 30.0
"""For one process to answer; a second or two on an idle machine."""


@dataclass(frozen=True, slots=True)
class Process:
    """One kind of the tracker's processes: how it is started (`{name}` is the process' own, `{level}` LOG_LEVEL), its good exit codes."""

    argv: Sequence[str]
    env: Mapping[str, str]
    clean_exits: frozenset[int] = frozenset({0})


MEMORY = {"MALLOC_ARENA_MAX": "1"}
"""As in the image, and as `tracker up` has it."""


def _worker(queues: str) -> Process:
    argv = ("-m", "celery", "-q", "-A", "tracker", "worker", "-l", "{level}", "-Q", queues, "-n", "{name}@%h", "-c", "2")
    # A worker that SIGTERM makes hand back what it has begun exits with 1.
    return Process((*argv, "--without-mingle", "--without-gossip"), {"REMAP_SIGTERM": "SIGQUIT", **MEMORY}, frozenset({0, 1}))


PROCESSES: Mapping[str, Process] = {
    "bridge": Process(("-m", "bridge"), MEMORY),
    "apply": _worker("tracker.apply,tracker.control"),
    "push": _worker("tracker.push"),
    "beat": Process(("-m", "celery", "-q", "-A", "tracker", "beat", "-l", "{level}"), MEMORY),
    "web": Process(("-m", "tracker.cli", "web"), MEMORY),
}
"""The tracker's processes, each run by this Python interpreter."""

Generation = Literal["2017", "today"]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's identity for 127.0.0.1: a PEM file with certificate and key, and one with the authorities that vouch for it."""

    certificate: Path
    authorities: Path


class StackFailed(Exception):
    """Something did not start, or did not become true in time; the text names the folder with the logs."""


class _Publisher:
    """A producer that remembers what it has sent, so that `flush` can tell whether all of it arrived."""

    def __init__(self, address: str) -> None:
        self._producer = KafkaProducer(bootstrap_servers=address, acks="all", linger_ms=5)
        self._sent: list[Any] = []

    def send(self, topic: str, value: bytes | None, **where: Any) -> object:  # noqa: ANN401 - kafka-python's own arguments
        sent = self._producer.send(topic, value, **where)
        self._sent.append(sent)
        return sent

    def flush(self, timeout_s: float) -> None:
        self._producer.flush(timeout_s)
        sent, self._sent = self._sent, []
        for each in sent:
            each.get(timeout_s)

    def close(self) -> None:
        self._producer.close(timeout=2)


class Stack:
    """
    Everything that an import needs, up and running inside a `with` block, ended and removed after it.

    `processes` names the kinds there are (keys of `PROCESSES`; default: all); of bridges, apply and push workers and
    beats there may be several: the first is called `bridge`, the second `bridge-2`, and so on. Those of the kinds in
    `held_back` wait for `start(name)`. `env` is added to each process' environment. `token` None: the stand-ins check none.
    `env_of` adds to that of one kind's processes alone. `folder` is kept; the default one is removed in the end. A `kafka` or
    `valkey` that runs already is used as it is and left running; topics, group and key prefix are then this stack's own, unless
    `suffix` says what is put behind their names. `tls` makes the stand-ins answer by HTTPS.
    """

    def __init__(  # noqa: PLR0913 - each is one choice about the system, and all have defaults
        self,
        *,
        generation: Generation = "today",
        processes: Iterable[str] = tuple(PROCESSES),
        held_back: Iterable[str] = (),
        bridges: int = 1,
        apply_workers: int = 1,
        push_workers: int = 1,
        beats: int = 1,
        partitions: int = 4,
        env: Mapping[str, str] | None = None,
        token: str | None = TOKEN,
        folder: Path | None = None,
        kafka: Kafka | None = None,
        valkey: Valkey | None = None,
        kafka_version: str = VERSION,
        env_of: Mapping[str, Mapping[str, str]] | None = None,
        suffix: str | None = None,
        tls: Certificate | None = None,
    ) -> None:
        self.generation = generation
        self.partitions = partitions
        self._remove_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="import-tracker-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._own_kafka, self._own_valkey = kafka is None, valkey is None
        self.kafka = kafka or Kafka(self.folder / "kafka", version=kafka_version)
        self.valkey = valkey or Valkey(self.folder / "valkey")
        own_names = "" if self._own_kafka and self._own_valkey else f"-{uuid.uuid4().hex[:8]}"
        self.id = own_names if suffix is None else suffix
        self.inserted_topic = f"{publishers.OBSERVATIONS_INSERTED}{self.id}"
        self.file_topic = f"{publishers.INPUT_FILE_AVAILABLE}{self.id}"
        self.group = f"dp-import-tracker{self.id}"
        self.web_url = f"http://127.0.0.1:{free_port()}"
        self._tls = tls
        scheme, authorities = ("https", tls.authorities) if tls else ("http", None)
        self.dataset_api = DatasetApiHandle(f"{scheme}://127.0.0.1:{free_port()}", token, authorities)
        self.import_api = ImportApiHandle(f"{scheme}://127.0.0.1:{free_port()}", token, authorities)
        self.environment = {**bare_environment(), **self._settings(token), **(env or {})}
        self._env_of = env_of or {}
        self._publisher: _Publisher | None = None
        self._neighbours = Supervisor(report=self._note).add(*self._stand_ins(token))
        copies = {"bridge": bridges, "apply": apply_workers, "push": push_workers, "beat": beats}
        self._kinds = {
            kind if number == 1 else f"{kind}-{number}": kind for kind in processes for number in range(1, copies.get(kind, 1) + 1)
        }
        self._held_back = frozenset(held_back)
        self._tracker = Supervisor(report=self._note).add(*(self._process(kind, name) for name, kind in self._kinds.items()))

    # Up and down

    def up(self) -> Self:
        """
        Start everything and wait until it works: services and APIs answer, workers listen, the bridge commits.

        Raises StackFailed, KafkaFailed or ValkeyFailed; what had started is ended then.
        """
        try:
            self._neighbours.start()
            self.valkey.start()
            self.kafka.start()
            for topic in (self.file_topic, self.inserted_topic):
                self.kafka.create_topic(topic, self.partitions)
            self._wait_ready(self._neighbours, "dataset-api", "import-api")
            names = [name for name, kind in self._kinds.items() if kind not in self._held_back]
            if names:
                self._tracker.start(*names)
            self._wait_ready(self._tracker, *names)
        except BaseException:
            self.down()
            raise
        return self

    def down(self) -> bool:
        """
        End everything and remove the folder if it is ours.

        Returns whether the tracker's processes ended cleanly and in time.
        """
        with contextlib.ExitStack() as last:
            if self._remove_folder:
                last.callback(shutil.rmtree, self.folder, ignore_errors=True)
            for service, ours in ((self.valkey, self._own_valkey), (self.kafka, self._own_kafka)):
                if ours:
                    last.callback(service.kill)
            last.callback(self._neighbours.stop, 3)
            last.callback(self.dataset_api.close)
            last.callback(self.import_api.close)
            if self._publisher is not None:
                last.callback(self._publisher.close)
            return self._tracker.stop(15)

    def __enter__(self) -> Self:
        return self.up()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.down()

    # One process. The names: kafka, valkey, dataset-api, import-api, and the tracker's (see `names`).

    def names(self) -> tuple[str, ...]:
        """The names of the tracker's processes."""
        return tuple(self._kinds)

    def start(self, name: str) -> None:
        """Start what was stopped or killed. A stand-in comes back empty; Kafka and Valkey with all that they had acknowledged."""
        service = self._service(name)
        if service is not None:
            service.start()
            return
        supervisor = self._supervisor(name)
        supervisor.start(name)
        if supervisor is self._neighbours:
            self._wait_ready(supervisor, name)

    def stop(self, name: str, timeout_s: float = 15.0) -> bool:
        """End it as an operator would (SIGTERM); it stays down until `start`. Returns whether it ended cleanly and in time."""
        service = self._service(name)
        return service.stop(timeout_s) if service is not None else self._supervisor(name).end(name, timeout_s)

    def kill(self, name: str) -> None:
        """SIGKILL it and all that it has started; it stays down until `start`."""
        service = self._service(name)
        if service is not None:
            service.kill()
        else:
            self._supervisor(name).end(name, number=signal.SIGKILL)

    def crash(self, name: str) -> None:
        """SIGKILL one of the tracker's processes; its supervisor sees to the rest, and starts it again."""
        self._tracker.kill(name)

    def crash_child(self, name: str) -> None:
        """SIGKILL one of the processes that a worker has started: those that run its tasks. The worker itself starts another."""
        children = psutil.Process(self.pid(name)).children()
        random.choice(children).kill()

    def pause(self, name: str) -> None:
        """SIGSTOP it and all that it has started, as a suspended machine would."""
        self._signal_group(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let it go on after `pause`."""
        self._signal_group(name, signal.SIGCONT)

    def pid(self, name: str) -> int | None:
        """Its process id; None while it does not run."""
        service = self._service(name)
        return service.pid if service is not None else self._supervisor(name).pid(name)

    def starts(self, name: str) -> int:
        """How often one of the tracker's processes or a stand-in was started."""
        return self._supervisor(name).starts(name)

    def exit_code(self, name: str) -> int | None:
        """How one of the tracker's processes or a stand-in last ended: its code, or a signal's number, negative; None if it never did."""
        return self._supervisor(name).exit_code(name)

    def log(self, name: str) -> Path:
        """The file with everything it has printed, over all its lives."""
        service = self._service(name)
        return service.output if service is not None else self.folder / f"{name}.log"

    def logs(self, name: str) -> str:
        """What it has printed."""
        path = self.log(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def command(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run `tracker …` as a person would, in the environment of the kind `command`. Returns its output and exit code."""
        argv = [sys.executable, "-m", "tracker.cli", *arguments]
        env = {**self.environment, **self._env_of.get("command", {}), "PYTHONPATH": str(ROOT)}
        return subprocess.run(argv, env=env, cwd=self.folder, capture_output=True, text=True, timeout=timeout_s, check=False)

    # Kafka records

    def publish_inserted(self, instance_id: str, total: int, batch_size: int = 1000, *, flush: bool = True) -> int:
        """As the observation importer: `total` observations in records of `batch_size` and a remainder. Returns the number of records."""
        records = publishers.publish_inserted(self._producer(), self.inserted_topic, instance_id, total, batch_size)
        if flush:
            self.flush()
        return records

    def publish_file(self, instance_id: str, job_id: str | None = None, url: str = "s3://sandbox/observations.csv") -> None:
        """As the Import API: a file is available; without a job in the schema used before 2018."""
        publishers.publish_file(self._producer(), self.file_topic, instance_id, job_id, url)
        self.flush()

    def publish(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, partition: int | None = None, flush: bool = True
    ) -> None:
        """Publish any bytes, to a partition if one is named. The client takes no record with neither value nor key."""
        self._producer().send(topic, value, key=key, partition=partition)
        if flush:
            self.flush()

    def renew_publisher(self) -> None:
        """Publish through a new client from now on: one that knows a topic made anew, as the old one's sequence numbers do not."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until the broker has acknowledged everything published. Raises KafkaError of kafka-python when it does not."""
        self._producer().flush(timeout_s)

    # Waiting

    def wait_until(self, holds: Callable[[], object], timeout_s: float = 30.0, what: str = "it", *, poll_s: float = 0.05) -> None:
        """
        Ask `holds` every `poll_s` until it says something true. A stand-in that is away counts as no.

        Raises StackFailed after `timeout_s`; its text says `what` did not come true and where the logs are.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            with contextlib.suppress(httpx.TransportError):
                if holds():
                    return
            if time.monotonic() > deadline:
                raise StackFailed(f"{what} did not come true within {timeout_s:g} s; the logs are in {self.folder}")
            time.sleep(poll_s)

    # How it is put together

    def _settings(self, token: str | None) -> dict[str, str]:
        settings = {
            "BIND_ADDR": self.web_url.removeprefix("http://"),
            "KAFKA_ADDR": self.kafka.address,
            "INPUT_FILE_AVAILABLE_TOPIC": self.file_topic,
            "IMPORT_OBSERVATIONS_INSERTED_TOPIC": self.inserted_topic,
            "INPUT_FILE_AVAILABLE_CONSUMER_GROUP": self.group,
            "IMPORT_OBSERVATIONS_INSERTED_CONSUMER_GROUP": self.group,
            "DATASET_API_ADDR": self.dataset_api.url,
            "IMPORT_API_ADDR": self.import_api.url,
            "REDIS_URL": self.valkey.url,
            "REDIS_KEY_PREFIX": f"import-tracker{self.id}:",
        }
        if token is not None and self.generation == "today":
            settings["SERVICE_AUTH_TOKEN"] = token
        elif token is not None:
            settings |= {"DATASET_API_AUTH_TOKEN": token, "IMPORT_API_AUTH_TOKEN": token}
        return settings

    def _stand_ins(self, token: str | None) -> Iterable[Child]:
        handles = {"dataset-api": self.dataset_api, "import-api": self.import_api}
        for name, handle in handles.items():
            module = f"sandbox.{name.replace('-', '_')}"
            argv = [sys.executable, "-m", module, "--port", handle.url.rpartition(":")[2], "--generation", self.generation]
            argv += ["--token", token] if token is not None else []
            argv += ["--certificate", str(self._tls.certificate)] if self._tls else []
            if name == "import-api" and not self._tls:  # it trusts no authority of ours
                argv += ["--dataset-api", self.dataset_api.url, *(["--dataset-api-token", token] if token is not None else [])]
            yield self._child(name, argv, bare_environment(), restart=False, ready=handle.answers)

    def _process(self, kind: str, name: str) -> Child:
        process = PROCESSES[kind]
        level = self.environment.get("LOG_LEVEL", "INFO")
        argv = [sys.executable, *(word.replace("{name}", name).replace("{level}", level) for word in process.argv)]

        def listens() -> bool:
            return f"{name}@" in self.logs(name) and " ready." in self.logs(name)  # Celery's own words

        ready = {"bridge": self._bridge_commits, "apply": listens, "push": listens, "web": self._web_answers}.get(kind)
        return self._child(
            name, argv, {**self.environment, **process.env, **self._env_of.get(kind, {})}, ready=ready, clean_exits=process.clean_exits
        )

    def _child(self, name: str, argv: list[str], env: Mapping[str, str], **options: Any) -> Child:  # noqa: ANN401 - Child's own
        return Child(
            name,
            argv,
            {**env, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            cwd=self.folder,
            output=self.folder / f"{name}.log",
            **options,
        )

    def _bridge_commits(self) -> bool:
        """Whether there is a ledger whose position is committed: what is published from now on is counted at once."""
        return any(partition.topic == self.inserted_topic for partition in self.kafka.committed(self.group))

    def _web_answers(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{self.web_url}/", timeout=5, trust_env=False)
            return True
        return False

    def _wait_ready(self, supervisor: Supervisor, *names: str) -> None:
        for name in names:
            try:
                supervisor.wait_ready(name, READY_TIMEOUT_S)
            except TimeoutError as error:
                tail = "\n".join(self.logs(name).splitlines()[-20:])
                raise StackFailed(f"{error}; the end of {self.log(name)}:\n{tail}") from None

    def _producer(self) -> _Publisher:
        if self._publisher is None:
            self._publisher = _Publisher(self.kafka.address)
        return self._publisher

    def _service(self, name: str) -> Kafka | Valkey | None:
        services: dict[str, Kafka | Valkey] = {"kafka": self.kafka, "valkey": self.valkey}
        return services.get(name)

    def _supervisor(self, name: str) -> Supervisor:
        return self._tracker if name in self._kinds else self._neighbours

    def _signal_group(self, name: str, number: int) -> None:
        pid = self.pid(name)
        if pid is None:
            raise ProcessLookupError(f"{name} does not run")
        os.killpg(pid, number)

    def _note(self, line: str) -> None:
        with (self.folder / "supervisor.log").open("a") as file:
            file.write(f"{line}\n")


def bare_environment() -> dict[str, str]:
    """Our own environment without what would set the tracker or Celery up otherwise than the stack does."""
    ours = ("SSL_CERT_", "KAFKA_", "REDIS_", "CELERY_", "DATASET_API_", "IMPORT_", "INPUT_FILE_", "SERVICE_AUTH_", "REMAP_SIGTERM")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
