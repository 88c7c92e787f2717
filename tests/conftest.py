"""
What the tests that see the tracker from outside share.

One broker, and one whole system of each generation of the APIs, started when a test first asks for them. Where a test breaks
more than a test may leave behind, `build` makes it a system of its own.
"""

import contextlib
import functools
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.kafka import Kafka
from sandbox.stack import Generation, Stack
from tests.postgres import PROGRAMS, Postgres
from tests.system import QUICK, System

Build = Callable[..., System]


@functools.cache
def docker_answers() -> bool:
    """Whether there is a Docker engine to run pytest-celery's nodes in."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    scheme, _, place = host.partition("://")
    path = place if scheme == "unix" else None
    if path:
        # httpx leaves a refused socket to the collector, whose warning would end some test.
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(path):
                return False
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=path), timeout=5) as client:
            return client.get(f"http://{'docker' if path else place}/_ping").is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def pytest_report_header() -> str:
    return f"celery nodes: {'Docker containers' if docker_answers() else 'processes of this machine, as no Docker engine answers'}"


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker for all systems that do not break theirs; their topics and groups are their own."""
    with Kafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One database server; whoever asks for it empties what it needs empty."""
    if not PROGRAMS:
        if os.environ.get("CI"):
            pytest.fail("postgresql is not installed")
        pytest.skip("needs Debian's postgresql")
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Build:
    """Makes systems whose logs pytest keeps; see `build` for one test's."""

    def build(*, env: dict[str, str] | None = None, own_kafka: bool = False, kafka: Kafka | None = None, **options: Any) -> System:
        folder: Path = tmp_path_factory.mktemp("system")
        kafka = kafka or (None if own_kafka else request.getfixturevalue("kafka"))
        return System(Stack(folder=folder, kafka=kafka, env=QUICK | (env or {}), **options).up())

    return build


@pytest.fixture
def build(builder: Build) -> Iterator[Build]:
    """Makes systems of a test's own, by the options of `Stack`; they are looked through and ended after it."""
    with contextlib.ExitStack() as made:

        def build(**options: Any) -> System:
            system = builder(**options)
            made.callback(end, system)
            return system

        yield build


def end(system: System) -> None:
    """Look through the book for the last time, if there is a web process to ask, and end the system."""
    try:
        if "web" in system.stack.names():
            system.audit()
    finally:
        system.close()
        system.stack.down()


def shared(builder: Build, generation: Generation) -> Iterator[System]:
    """A system that many tests use, one after the other."""
    system = builder(generation=generation)
    yield system
    end(system)


@pytest.fixture(scope="session")
def shared_today(builder: Build) -> Iterator[System]:
    yield from shared(builder, "today")


@pytest.fixture(scope="session")
def shared_2017(builder: Build) -> Iterator[System]:
    yield from shared(builder, "2017")


@pytest.fixture
def today(shared_today: System) -> Iterator[System]:
    """The shared system on today's APIs, whole again after the test."""
    yield shared_today
    shared_today.heal()


@pytest.fixture
def early(shared_2017: System) -> Iterator[System]:
    """The shared system on the APIs of 2017, whole again after the test."""
    yield shared_2017
    shared_2017.heal()


@pytest.fixture(params=["today", "2017"])
def system(request: pytest.FixtureRequest) -> System:
    """Each of the two in turn."""
    found = request.getfixturevalue("today" if request.param == "today" else "early")
    assert isinstance(found, System)
    return found
