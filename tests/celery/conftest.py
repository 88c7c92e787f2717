"""
pytest-celery's fixtures for the tracker: its nodes are containers where a Docker engine answers, else processes of this machine.

The header of a test run says which. The tests are the same for both.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from pytest_celery import (
    CELERY_REDIS_BACKEND,
    CELERY_REDIS_BROKER,
    CeleryTestBackend,
    CeleryTestBroker,
    CeleryTestSetup,
    CeleryTestWorker,
    CeleryWorkerCluster,
    CeleryWorkerContainer,
    RedisContainer,
)
from pytest_docker_tools import build, container, fxtr

from tests.celery.nodes import ROOT, ProcessContainer, ProcessRedis, ProcessWorker, TrackerSetup, TrackerWorker
from tests.conftest import docker_answers
from tests.contract.batches import P0
from tracker.ledger import Ledger
from tracker.ledger_scripts import connect
from tracker.ledger_state import PartitionStart

IN_DOCKER = docker_answers()

# -- what pytest-celery is told of the tracker, wherever the nodes run --


@pytest.fixture
def celery_setup_cls() -> type[CeleryTestSetup]:
    return TrackerSetup


@pytest.fixture
def default_worker_container_cls() -> type[CeleryWorkerContainer]:
    return TrackerWorker


@pytest.fixture
def worker_options() -> list[str]:
    """What stands behind `celery -A tracker worker`: nothing that changes what it does, only how soon it is up."""
    return ["--without-mingle", "--without-gossip"]


@pytest.fixture
def default_worker_command(worker_options: list[str]) -> list[str]:
    return TrackerWorker.command(*worker_options)


@pytest.fixture(params=[CELERY_REDIS_BROKER])
def celery_broker(request: pytest.FixtureRequest) -> CeleryTestBroker:
    """Redis alone carries our tasks."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=[CELERY_REDIS_BACKEND])
def celery_backend(request: pytest.FixtureRequest) -> CeleryTestBackend:
    """The second Redis: it keeps the ledger, so that a test can hold the ledger up and the tasks not."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def celery_worker_cluster(request: pytest.FixtureRequest, celery_worker: CeleryTestWorker) -> CeleryWorkerCluster:
    """One worker; two for a test that is marked so."""
    nodes = [celery_worker]
    if request.node.get_closest_marker("two_workers"):
        nodes.append(request.getfixturevalue("second_worker"))
    return CeleryWorkerCluster(*nodes)


@pytest.fixture
def second_worker(second_worker_container: CeleryWorkerContainer, default_worker_app: Celery) -> CeleryTestWorker:
    return CeleryTestWorker(second_worker_container, default_worker_app)


@pytest.fixture
def ledger(celery_setup: CeleryTestSetup) -> Ledger:
    """The ledger of the setup's workers, just born, with one empty partition."""
    ledger = Ledger(connect(celery_setup.backend.container.host_url), "import-tracker:")
    ledger.birth(None, 1, [PartitionStart(P0, "e1", 0, 0)], settle_s=0, reason="first start")
    return ledger


# -- the nodes themselves --

if IN_DOCKER:
    tracker_image = build(path=str(ROOT), target="production", tag="import-tracker:test")

    def worker_container() -> Any:
        return container(
            image="{tracker_image.id}",
            environment=fxtr("default_worker_env"),
            network="{default_pytest_celery_network.name}",
            wrapper_class=TrackerWorker,
            timeout=60,
            command=fxtr("default_worker_command"),
        )

    default_worker_container = worker_container()
    second_worker_container = worker_container()

else:

    @pytest.fixture
    def launch(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., ProcessContainer]:
        """Start a node's process, and end it with the test."""

        def launch(kind: Callable[..., ProcessContainer], *arguments: Any, name: str) -> ProcessContainer:
            folder = tmp_path / name
            folder.mkdir()
            started = kind(*arguments, folder)
            request.addfinalizer(started.teardown)
            started.wait_ready()
            return started

        return launch

    @pytest.fixture
    def default_redis_broker(launch: Callable[..., Any], default_redis_broker_command: list[str]) -> RedisContainer:
        return launch(ProcessRedis, default_redis_broker_command, name="broker")

    @pytest.fixture
    def default_redis_backend(launch: Callable[..., Any], default_redis_backend_command: list[str]) -> RedisContainer:
        return launch(ProcessRedis, default_redis_backend_command, name="ledger")

    @pytest.fixture
    def default_worker_container(
        launch: Callable[..., Any], default_worker_command: list[str], default_worker_env: dict[str, str]
    ) -> CeleryWorkerContainer:
        return launch(ProcessWorker, default_worker_command, default_worker_env, name="worker")

    @pytest.fixture
    def second_worker_container(
        launch: Callable[..., Any], default_worker_command: list[str], default_worker_env: dict[str, str]
    ) -> CeleryWorkerContainer:
        return launch(ProcessWorker, default_worker_command, default_worker_env, name="second-worker")
