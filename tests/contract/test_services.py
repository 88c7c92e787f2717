"""The real services that demo and tests run on: they start, keep what they were given through stops and kills, and say why not."""

import concurrent.futures
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from sandbox.kafka import OLD_VERSION, VERSION, Kafka, KafkaFailed, jars
from sandbox.ports import free_port
from sandbox.valkey import Valkey, ValkeyFailed

PARTITION = TopicPartition("topic", 0)


def publish(kafka: Kafka, *values: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.address, acks="all")
    for value in values:
        producer.send(PARTITION.topic, value, partition=0).get(10)
    producer.close()


def last_record(kafka: Kafka) -> bytes | None:
    consumer = KafkaConsumer(bootstrap_servers=kafka.address, enable_auto_commit=False)
    try:
        consumer.assign([PARTITION])
        consumer.seek(PARTITION, consumer.end_offsets([PARTITION])[PARTITION] - 1)
        return next((record.value for record in consumer.poll(10_000).get(PARTITION, [])), None)
    finally:
        consumer.close()


@pytest.fixture(scope="module", params=[VERSION, OLD_VERSION])
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("kafka"), version=request.param) as kafka:
        kafka.create_topic(PARTITION.topic)
        yield kafka


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path) as valkey:
        yield valkey


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_kafka_keeps_its_records_and_its_port_across_a_restart(kafka: Kafka, how: str) -> None:
    publish(kafka, how.encode())
    address, pid = kafka.address, kafka.pid

    getattr(kafka, how)()
    assert kafka.pid is None
    kafka.start()

    assert kafka.address == address
    assert kafka.pid != pid
    assert last_record(kafka) == how.encode()


def test_kafka_deletes_records_as_retention_would(kafka: Kafka) -> None:
    kafka.create_topic("shortened")
    producer = KafkaProducer(bootstrap_servers=kafka.address)
    for value in (b"1", b"2", b"3"):
        producer.send("shortened", value).get(10)
    producer.close()

    kafka.delete_records("shortened", 0, 2)

    consumer = KafkaConsumer(bootstrap_servers=kafka.address)
    assert consumer.beginning_offsets([TopicPartition("shortened", 0)]) == {TopicPartition("shortened", 0): 2}
    consumer.close()


def test_what_was_deleted_a_moment_ago_is_not_back_after_a_kill(kafka: Kafka) -> None:
    """The start of a log is written down every so often: by default once a minute."""
    partition = TopicPartition("shortened-and-killed", 0)
    kafka.create_topic(partition.topic)
    producer = KafkaProducer(bootstrap_servers=kafka.address, acks="all")
    for value in (b"1", b"2", b"3"):
        producer.send(partition.topic, value).get(10)
    producer.close()
    kafka.delete_records(partition.topic, 0, 2)
    time.sleep(1.0)

    kafka.kill()
    kafka.start()

    consumer = KafkaConsumer(bootstrap_servers=kafka.address)
    assert consumer.beginning_offsets([partition]) == {partition: 2}
    consumer.close()


def test_kafka_can_create_a_topic_again_after_deleting_it(kafka: Kafka) -> None:
    kafka.create_topic("again", 2)
    kafka.delete_topic("again")
    kafka.create_topic("again", 3, {"retention.ms": "1000"})
    consumer = KafkaConsumer(bootstrap_servers=kafka.address)
    assert consumer.partitions_for_topic("again") == {0, 1, 2}
    consumer.close()


def test_kafka_creates_no_topic_by_its_mere_name(kafka: Kafka) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.address, max_block_ms=1000)
    with pytest.raises(KafkaError):
        producer.send("unnamed-so-far", b"1").get(5)
    producer.close()
    consumer = KafkaConsumer(bootstrap_servers=kafka.address)
    assert "unnamed-so-far" not in consumer.topics()
    consumer.close()


def test_kafka_says_why_it_did_not_start(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        kafka = Kafka(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(KafkaFailed, match=r"(?s)ended while it started.*Address already in use"):
            kafka.start()
    assert kafka.pid is None


def test_kafka_needs_neither_java_nor_maven_nor_a_home(tmp_path: Path) -> None:
    """Only the interpreter's own path is given: nothing on the machine can be found by name."""
    root = Path(__file__).parents[2]
    program = f"import pathlib, sandbox.kafka as it; kafka = it.Kafka(pathlib.Path({str(tmp_path)!r})); kafka.start(); kafka.stop()"
    environment = {"HOME": str(tmp_path), "PATH": "/nowhere", "XDG_CACHE_HOME": str(jars().parents[1]), "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_two_who_want_kafka_at_once_get_the_same_jars() -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(jars, [VERSION, VERSION])
    assert first == second
    assert list(first.glob("kafka_2.13-*.jar"))


def test_a_version_of_kafka_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(KafkaFailed, match=r"Apache Kafka 0\.0\.0 could not be fetched"):
        jars("0.0.0")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_valkey_keeps_what_it_acknowledged_and_its_port_across_a_restart(valkey: Valkey, how: str) -> None:
    url, pid = valkey.url, valkey.pid
    with redis.Redis.from_url(url) as client:
        client.set("key", how)

    getattr(valkey, how)()
    assert valkey.pid is None
    valkey.start()

    assert valkey.url == url
    assert valkey.pid != pid
    with redis.Redis.from_url(url, decode_responses=True) as client:
        assert client.get("key") == how


def test_valkey_is_as_durable_as_the_ledger_asks(valkey: Valkey) -> None:
    with redis.Redis.from_url(valkey.url, decode_responses=True) as client:
        assert client.config_get("append*").items() >= {"appendonly": "yes", "appendfsync": "always"}.items()
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_valkey_says_why_it_did_not_start(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ValkeyFailed, match=r"(?s)ended while it started.*Address already in use"):
            Valkey(tmp_path, taken.getsockname()[1]).start()


def test_neither_survives_the_death_of_who_started_it(tmp_path: Path) -> None:
    """A test run that is killed leaves no server behind."""
    root = Path(__file__).parents[2]
    program = (
        "import time; from pathlib import Path; from sandbox.valkey import Valkey; from sandbox.kafka import Kafka\n"
        f"servers = Valkey(Path({str(tmp_path / 'valkey')!r})), Kafka(Path({str(tmp_path / 'kafka')!r}))\n"
        "[server.start() for server in servers]; print(*(server.pid for server in servers), flush=True); time.sleep(90)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ})
    assert starter.stdout is not None
    pids = [int(word) for word in starter.stdout.readline().split()]

    starter.kill()
    starter.communicate()

    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_free_port_can_be_listened_on() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
