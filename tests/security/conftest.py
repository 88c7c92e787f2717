"""One system on TLS under the rules of `docs/acl`, shared by all tests of this folder."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.stack import Stack
from tests.conftest import end
from tests.security import neighbours
from tests.security.neighbours import RULES, Authority, Identity
from tests.system import QUICK, System

SECRETS = {
    "DATASET_API_AUTH_TOKEN": "token-of-the-dataset-api",
    "IMPORT_API_AUTH_TOKEN": "token-of-the-import-api",
    "SERVICE_AUTH_TOKEN": "token-of-this-service",
    "DB_ACCESS": "host=127.0.0.1 port=1 dbname=none user=dp password=password-of-nothing",
}
"""What must be seen nowhere, beside the passwords of Redis and the bridge's key; today's APIs look at the service's alone."""

REDIS_SERVER = shutil.which("redis-server")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server(authority: Authority) -> Identity:
    """What all neighbours show: it is good for 127.0.0.1, and not for localhost."""
    return authority.identity("neighbour", "127.0.0.1")


@pytest.fixture(scope="session")
def redis_server() -> Path:
    """Debian's: the one from the wheel is built without TLS."""
    if REDIS_SERVER is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed")
        pytest.skip("needs Debian's redis-server")
    return Path(REDIS_SERVER)


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory, authority: Authority, server: Identity, redis_server: Path) -> Iterator[System]:
    """The whole system: each process with its own account, and no rule but those of `docs/acl`."""
    folder = tmp_path_factory.mktemp("secured")
    kafka = neighbours.secured_kafka(folder / "kafka", authority, server)
    redis = neighbours.secured_redis(folder / "redis", redis_server, authority, server, (RULES / "redis.acl").read_text())
    with kafka, redis:
        neighbours.allow(kafka, (RULES / "kafka.acl").read_text().splitlines())
        system = System(
            Stack(
                folder=folder,
                kafka=kafka,
                valkey=redis,
                suffix="",
                env=QUICK | SECRETS | {"LOG_LEVEL": "DEBUG"},
                env_of=neighbours.environments(authority, kafka, redis),
                tls=neighbours.certificate(authority, server),
                token=SECRETS["SERVICE_AUTH_TOKEN"],
            ).up()
        )
        yield system
        end(system)
