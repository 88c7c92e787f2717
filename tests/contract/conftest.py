"""The three servers of the ledger's suite (in memory, Valkey from its wheel, Debian's redis-server where it is), and members of groups."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fakeredis
import pytest
import redis

from bridge.consumer import Cluster, GroupConsumer
from sandbox.early_kafka import EarlyKafka
from sandbox.kafka import EARLY_VERSION, OLD_VERSION, VERSION, Kafka
from sandbox.valkey import Valkey
from tests.contract.batches import P0
from tests.contract.members import answers, until
from tracker.ledger import Ledger
from tracker.ledger_scripts import connect
from tracker.ledger_state import PartitionStart

REDIS_SERVER = shutil.which("redis-server")
IN_CI = bool(os.environ.get("CI"))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The URLs of the real servers by name, started once."""
    running: dict[str, Valkey] = {"valkey": Valkey(tmp_path_factory.mktemp("valkey"))}
    if REDIS_SERVER:
        running["redis-server"] = Valkey(tmp_path_factory.mktemp("redis"), binary=Path(REDIS_SERVER))
    for server in running.values():
        server.start()
    yield {name: server.url for name, server in running.items()}
    for server in running.values():
        server.stop()


@pytest.fixture(params=["fakeredis", "valkey", "redis-server"])
def client(request: pytest.FixtureRequest) -> Iterator["redis.Redis"]:
    """A client of each server in turn."""
    if request.param == "fakeredis":
        yield fakeredis.FakeRedis(decode_responses=True)
        return
    urls: dict[str, str] = request.getfixturevalue("servers")
    if request.param not in urls:
        if IN_CI:
            pytest.fail("redis-server is not installed")
        pytest.skip("needs Debian's redis-server")
    client = connect(urls[request.param])
    yield client
    client.close()


@pytest.fixture
def prefix() -> str:
    """A key prefix of the test's own, so that tests share a server and nothing else."""
    return f"{uuid.uuid4().hex[:8]}:"


@pytest.fixture
def ledger(client: "redis.Redis", prefix: str) -> Ledger:
    """A ledger just born, with one empty partition."""
    ledger = Ledger(client, prefix)
    ledger.birth(None, 1, [PartitionStart(P0, "e1", 0, 0)], settle_s=0, reason="first start")
    return ledger


@pytest.fixture(scope="session")
def older_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Kafka]]:
    """Brokers of the older lines by version, each started when a test first asks for it."""
    running: dict[str, Kafka] = {}

    def of(version: str) -> Kafka:
        if version not in running:
            data = tmp_path_factory.mktemp("older-kafka")
            running[version] = EarlyKafka(data) if version == EARLY_VERSION else Kafka(data, version=version)
            running[version].start()
        return running[version]

    yield of
    for each in running.values():
        each.stop()


@pytest.fixture(params=[VERSION, OLD_VERSION, EARLY_VERSION])
def broker(request: pytest.FixtureRequest) -> Kafka:
    """
    A broker of each line that the original's neighbours may speak to, in turn.

    A test that needs what the early ones lack, or would show the same on each, names its own (`tests/contract/members.py`).
    """
    found = request.getfixturevalue("kafka") if request.param == VERSION else request.getfixturevalue("older_brokers")(request.param)
    assert isinstance(found, Kafka)
    return found


@pytest.fixture
def topic(broker: Kafka) -> str:
    """Make a topic of the test's own, with two partitions."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    broker.create_topic(name, 2)
    return name


@pytest.fixture
def cluster(broker: Kafka) -> Iterator[Cluster]:
    cluster = Cluster([broker.address])
    until(lambda: answers(lambda: cluster.commits("any", [])), "the coordinator is up")
    yield cluster
    cluster.close()


@pytest.fixture
def join(broker: Kafka) -> Iterator[Callable[..., GroupConsumer]]:
    """Make members of groups, which leave at the end of the test."""
    made = []

    def join(group: str, *topics: str, session_s: float = 6.0, poll_records: int = 500, instance_id: str | None = None) -> GroupConsumer:
        member = GroupConsumer(
            [broker.address], group, topics, session_timeout_s=session_s, poll_records=poll_records, instance_id=instance_id
        )
        made.append(member)
        return member

    yield join
    for member in made:
        member.close(2.0)
