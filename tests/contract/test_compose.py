"""docker-compose.yml and the Dockerfile: what they say is so, and their commands work as plain processes. No Docker engine is needed."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.kafka import Kafka
from sandbox.ports import free_port
from sandbox.stack import Stack
from tests.system import QUICK
from tracker.celery import app
from tracker.cli import running
from tracker.cli.reading import health
from tracker.settings import Settings, env_name

ROOT = Path(__file__).resolve().parents[2]
IN_CI = bool(os.environ.get("CI"))
SCRIPTS = Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "import-tracker"}
SETTINGS = {env_name(field) for field in Settings.model_fields}

NOT_HANDED_ON = {
    *("CELERY_BROKER_URL", "KAFKA_GROUP_INSTANCE_ID"),
    *(name for name in SETTINGS if name.startswith("KAFKA_SEC_")),
}
"""
The Redis of the file carries the tasks, and the id must differ for each bridge, which one file cannot do. Its Kafka is
reached inside its own network, without TLS.
"""


def with_defaults(text: str) -> str:
    """A text of the file as it is where the environment sets nothing."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def command_of(service: dict[str, Any]) -> list[str]:
    command = service["command"]
    return shlex.split(with_defaults(command)) if isinstance(command, str) else [with_defaults(word) for word in command]


def stages() -> dict[str, tuple[str, list[str]]]:
    """The Dockerfile's stages in order: name → what it begins from, its instructions with continued lines joined."""
    found: dict[str, tuple[str, list[str]]] = {}
    for line in re.sub(r"\\\n", " ", DOCKERFILE).splitlines():
        if begin := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            instructions: list[str] = []
            found[begin[2]] = (begin[1], instructions)
        elif line and not line.startswith("#"):
            found[list(found)[-1]][1].append(line)
    return found


def instructions_of(stage: str) -> list[str]:
    """All instructions that a stage is made by, those of the stages it begins from included."""
    begins_from, own = stages()[stage]
    return [*(instructions_of(begins_from) if begins_from in stages() else []), *own]


# -- what the file says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["", "sandbox"])
def test_debians_docker_compose_accepts_the_file(profile: str) -> None:
    program = shutil.which("docker-compose")
    if program is None:
        if IN_CI:
            pytest.fail("docker-compose is not installed")
        pytest.skip("needs Debian's docker-compose")
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    argv = [program, "-f", str(ROOT / "docker-compose.yml"), *(["--profile", profile] if profile else []), "config", "-q"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_services_are_the_processes_of_up_and_flower() -> None:
    """Each with the very command of `tracker up`, by its console script."""
    scripts = {"bridge": "tracker-bridge", "celery": "celery", "tracker.cli": "tracker"}
    children = running.children(Settings(), {}, workers=1, bridges=1)
    wanted = {child.name: [scripts[str(child.argv[2])], *child.argv[3:]] for child in children}
    assert {name: command_of(service) for name, service in OURS.items() if name != "flower"} == wanted


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_command_is_a_script_that_is_installed(name: str) -> None:
    assert (SCRIPTS / command_of(OURS[name])[0]).exists()


def test_the_workers_serve_every_queue() -> None:
    commands = [command_of(OURS[name]) for name in ("apply", "push")]
    served = [queue for command in commands for queue in command[command.index("-Q") + 1].split(",")]
    assert sorted(served) == sorted(queue.name for queue in app.conf.task_queues)


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_setting_is_handed_on_and_nothing_else(name: str) -> None:
    assert set(OURS[name]["environment"]) - {"REMAP_SIGTERM"} == SETTINGS - NOT_HANDED_ON


@pytest.mark.parametrize("name", ["apply", "push"])
def test_workers_hand_back_what_they_have_begun_when_told_to_stop(name: str) -> None:
    assert OURS[name]["environment"]["REMAP_SIGTERM"] == "SIGQUIT"
    assert any("REMAP_SIGTERM=SIGQUIT" in line for line in instructions_of("production") if line.startswith("ENV "))


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_process_is_started_again_and_has_time_to_stop(name: str) -> None:
    assert OURS[name]["restart"] == "unless-stopped"
    seconds = re.fullmatch(r"(\d+)s", OURS[name]["stop_grace_period"])
    assert seconds
    assert int(seconds[1]) > Settings().graceful_shutdown_timeout_s + running.STOP_MARGIN_S


def test_every_port_is_published_on_this_machine_only_and_once() -> None:
    ports = [with_defaults(port) for service in SERVICES.values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports)
    assert not any("network_mode" in service or "privileged" in service for service in SERVICES.values())


def test_no_secret_stands_in_the_files() -> None:
    for name, service in OURS.items():
        secret = {key: value for key, value in service["environment"].items() if re.search("TOKEN|SECRET|PASSWORD", key)}
        assert not any(secret.values()), name
    assert "@" not in SERVICES["web"]["environment"]["REDIS_URL"]
    assert not re.search(r"TOKEN|SECRET|PASSWORD|^ARG", DOCKERFILE, re.MULTILINE)


def test_every_service_but_the_one_that_ends_says_whether_it_is_well() -> None:
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"topics"}
    kinds = next(option.type.choices for option in health.params if option.name == "kind")  # type: ignore[attr-defined]
    expected = {"bridge": "bridge", "apply": "worker", "push": "worker", "beat": "beat", "web": "web"}
    for name, kind in expected.items():
        assert OURS[name]["healthcheck"]["test"] == ["CMD", "tracker", "health", "--self", kind]
        assert kind in kinds


def test_redis_is_set_up_to_keep_what_it_acknowledged() -> None:
    assert SERVICES["redis"]["command"][1:] == ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
    assert SERVICES["redis"]["volumes"] == ["redis:/data"]


def test_the_topics_that_are_made_are_those_that_are_read() -> None:
    made, read = SERVICES["topics"]["environment"], SERVICES["bridge"]["environment"]
    assert made["COUNTS"] == read["IMPORT_OBSERVATIONS_INSERTED_TOPIC"]
    assert made["FILES"] == read["INPUT_FILE_AVAILABLE_TOPIC"]
    assert with_defaults(made["COUNTS"]) == Settings().import_observations_inserted_topic
    assert with_defaults(made["FILES"]) == Settings().input_file_available_topic
    assert re.findall(r"\$\$(\w+)", SERVICES["topics"]["command"][-1]) == ["COUNTS", "FILES", "topic", "PARTITIONS"]


# -- the image ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["production", "sandbox"])
def test_nothing_runs_as_root(stage: str) -> None:
    users = [line.split()[1] for line in instructions_of(stage) if line.startswith("USER ")]
    assert users == ["10001"]
    assert not any("user" in service for service in SERVICES.values())


def test_the_last_stage_is_for_production_and_holds_neither_sandbox_nor_tests() -> None:
    assert list(stages())[-1] == "production"
    copied = [line for stage in ("build", "production") for line in instructions_of(stage) if line.startswith(("COPY ", "ADD "))]
    assert not any(re.search(r"sandbox|tests|COPY \. |ADD ", line) for line in copied)


def test_only_what_the_dockerfile_copies_goes_to_the_builder() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    needed = {
        word.partition("/")[0]
        for stage in stages()
        for line in stages()[stage][1]
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
        if not word.startswith("--")
    }
    assert {line[1:] for line in lines if line.startswith("!")} == needed
    assert all((ROOT / name).exists() for name in needed)


@pytest.mark.slow
@pytest.mark.skipif(not IN_CI, reason="fetches all packages anew; runs in CI")
def test_the_steps_that_build_the_image_work_and_leave_a_whole_tracker(tmp_path: Path) -> None:
    """The Dockerfile's own COPY and RUN lines of its first stage, in a folder instead of an image."""
    source = tmp_path / "src"
    source.mkdir()
    for line in stages()["build"][1]:
        if line.startswith("COPY "):
            *names, target = line.split()[1:]
            for name in names:
                to = source / target / Path(name).name if target.endswith("/") else source / target
                to.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, to)
        elif line.startswith("RUN "):
            command = line.removeprefix("RUN ").replace("/opt/", f"{tmp_path}/opt/")
            command = re.sub(r"^python ", f"{sys.executable} ", command)
            done = subprocess.run(command, shell=True, cwd=source, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    scripts = tmp_path / "opt" / "tracker" / "bin"
    environment = {"PATH": f"{scripts}:/usr/bin:/bin"}
    ours = "import importlib.resources as r, bridge.loop, tracker.tasks; print(*(r.files('tracker') / 'scripts').iterdir())"
    others = "import importlib.util as u; print([u.find_spec(name) for name in ('sandbox', 'tests')])"
    for argv, wanted in {
        ("tracker", "--version"): "import-tracker",
        ("celery", "-A", "tracker", "report"): "tracker.apply",
        ("python", "-c", ours): "apply.lua",
        ("python", "-c", others): "[None, None]",
    }.items():
        done = subprocess.run([scripts / argv[0], *argv[1:]], env=environment, cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert wanted in done.stdout


# -- the commands, run -------------------------------------------------------------------------------------------------


@pytest.fixture
def neighbours(kafka: Kafka, tmp_path: Path) -> Iterator[Stack]:
    """Kafka, a Redis and the two APIs, and none of our processes."""
    with Stack(processes=(), kafka=kafka, folder=tmp_path / "stack", env=QUICK) as stack:
        yield stack


@contextlib.contextmanager
def running_services(environments: dict[str, dict[str, str]], port: int, folder: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Every service of ours by its own command, its addresses changed to loopback ones; what is left in the end is killed."""
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, service in OURS.items():
            argv = [to_loopback(word, port) for word in command_of(service)]
            with (folder / f"{name}.log").open("wb") as output:
                processes[name] = subprocess.Popen(argv, env=environments[name], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def to_loopback(word: str, port: int) -> str:
    return word.replace("0.0.0.0", "127.0.0.1").replace("5555", str(port))


def test_every_service_starts_is_found_well_by_its_own_health_check_and_ends_in_time(neighbours: Stack, tmp_path: Path) -> None:
    port = free_port()
    environments = {
        name: {
            **{key: with_defaults(str(value)) for key, value in service["environment"].items() if value is not None},
            **neighbours.environment,
            "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
        }
        for name, service in OURS.items()
    }
    with running_services(environments, port, tmp_path) as processes:
        for name, service in OURS.items():
            check = [to_loopback(word, port) for word in service["healthcheck"]["test"][1:]]
            wanted = f"{name}@" if check[-1] == "worker" else ""  # both workers run on this one host
            deadline = time.monotonic() + 40
            while True:
                done = subprocess.run(check, env=environments[name], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
                if done.returncode == 0 and wanted in done.stdout:
                    break
                assert processes[name].poll() is None, (tmp_path / f"{name}.log").read_text()
                assert time.monotonic() < deadline, f"{name}: {done.stdout}{done.stderr}"
                time.sleep(0.2)
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        exits = {name: process.wait(20) for name, process in processes.items()}
    for name, code in exits.items():
        assert code in (running.CELERY_EXITS if name in {"apply", "push"} else {0}), f"{name}: {code}"
