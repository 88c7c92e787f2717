"""Whatever a run writes, and wherever, no secret is in it: also when things go wrong, at DEBUG, in both forms of logs."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import cast

import httpx
import pytest
import redis

from sandbox.ports import free_port
from sandbox.stack import ROOT
from tests.security.conftest import SECRETS
from tests.security.neighbours import KINDS
from tests.system import System

PAGES = ("/", "/health", "/figures", "/instances", "/jobs", "/dead-letters", "/livez", "/readyz", "/no-such-page")
FLOWER_PAGES = ("/", "/workers", "/tasks", "/broker", "/api/workers?refresh=1", "/api/tasks", "/api/queues/length")


@pytest.fixture(scope="module")
def secrets(secured: System) -> dict[str, str]:
    """Every secret by what it is, as it would be found anywhere."""
    env = secured.stack._env_of
    key = env["bridge"]["KAFKA_SEC_CLIENT_KEY"].split("\\n")[1:-2]
    found = {name: value for name, value in SECRETS.items() if name != "DB_ACCESS"} | {"DB_ACCESS": "password-of-nothing"}
    found |= {f"Redis' password of {kind}": f"password-of-{kind}" for kind in KINDS}
    return found | {f"line {number} of the bridge's key": line for number, line in enumerate(key) if line}


def found_in(secrets: Mapping[str, str], text: str) -> list[str]:
    """Which secrets are in a text, each with what stands around it."""
    found = []
    for name, secret in secrets.items():
        for match in list(re.finditer(re.escape(secret), text))[:2]:
            around = text[max(0, match.start() - 150) : match.end() + 50]
            found.append(f"{name}: {around.replace(secret, '<HERE>')!r}")
    return found


@pytest.fixture(scope="module")
def wire(secured: System) -> Iterator[list[str]]:
    """All that is said to Redis from now on, as MONITOR tells it: messages of Celery, too, that live for milliseconds."""
    lines: list[str] = []
    client = redis.Redis.from_url(secured.stack.valkey.url)
    with client.monitor() as monitor:

        def listen() -> None:
            with suppress(redis.RedisError, OSError, ValueError):
                lines.extend(told["command"] for told in monitor.listen())

        threading.Thread(target=listen, daemon=True).start()
        yield lines


@pytest.fixture(scope="module")
def flower(secured: System) -> Iterator[str]:
    """Flower with its own account; its URL."""
    port = free_port()
    env = {**secured.stack.environment, **secured.stack._env_of["flower"], "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "celery", "-A", "tracker", "flower", "--address=127.0.0.1", f"--port={port}"]
    with secured.stack.log("flower").open("w") as log:
        running = subprocess.Popen(argv, env=env, cwd=secured.stack.folder, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        secured.stack.wait_until(lambda: httpx.get(f"{url}/healthcheck", trust_env=False).is_success, what="Flower")
        yield url
        running.terminate()
        running.wait(10)


@pytest.fixture(scope="module")
def run(secured: System, wire: list[str], flower: str, secrets: dict[str, str]) -> dict[str, str]:
    """An import on which an API repeats our token to us, and what everybody may look at then: text by where it was found."""
    stack = secured.stack
    said = f"401 for {SECRETS['SERVICE_AUTH_TOKEN']}, {SECRETS['DATASET_API_AUTH_TOKEN']}\n"
    refused = stack.dataset_api.fault("answer", status=401, body=said)
    stack.import_api.fault("answer", status=500, body=f"500 for {SECRETS['IMPORT_API_AUTH_TOKEN']}\n", times=3)
    (instance,) = job = secured.new_job("secret")
    secured.announce(instance)
    secured.count(instance, 1510)
    stack.publish(stack.inserted_topic, b"\xff\xff\xff")
    stack.wait_until(lambda: "401" in str(secured.instance(instance)), what="a reason to be shown")
    texts = {f"web {path}": stack_get(stack.web_url, path) for path in (*PAGES, f"/instances/{instance}", "/jobs/secret")}
    texts |= {
        f"tracker {' '.join(words)}": output(stack.command(*words)) for words in (["status", "--all"], ["show", instance], ["health"])
    }
    stack.dataset_api.end_fault(refused)
    stack.import_api.end_faults()
    secured.tell_totals(instance)
    assert stack.command("check", instance).returncode == 0, "what is turned away waits for up to half a minute"
    secured.wait_ended(job)
    workers = [f"{kind}@{socket.gethostname()}" for kind in ("apply", "push")]
    paths = [*FLOWER_PAGES, *(f"/worker/{worker}" for worker in workers)]
    assert all(worker in stack_get(flower, "/workers") for worker in workers)
    texts |= {f"flower {path}": stack_get(flower, path) for path in paths}
    texts |= {f"log of {name}": stack.logs(name) for name in (*stack.names(), "flower")}
    texts["the wire to Redis"] = "\n".join(wire)
    texts["what Redis keeps"] = kept(stack.valkey.url)
    return texts


def stack_get(url: str, path: str) -> str:
    return httpx.get(url + path, trust_env=False, timeout=20, follow_redirects=True).text


def output(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def kept(url: str) -> str:
    """All that Redis has, as it would be written to its file."""
    client = redis.Redis.from_url(url, decode_responses=False)
    read: dict[bytes, Callable[[bytes], object]] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    keys = cast("list[bytes]", client.keys("*"))
    kinds = {key: cast("bytes", client.type(key)) for key in keys}
    everything = str({key: read[kind](key) for key, kind in kinds.items() if kind in read})  # some have expired meanwhile
    client.close()
    return everything


def test_a_run_with_refusals_writes_no_secret_anywhere(run: dict[str, str], secrets: dict[str, str]) -> None:
    for where in ("web /figures", "log of bridge", "log of apply", "log of push", "the wire to Redis", "what Redis keeps"):
        assert len(run[where]) > 500, where
    assert "401 for ***" in run["tracker status --all"] + run["log of push"] + run["web /instances/secret-1"], "the refusal was shown"
    assert "secret-1" in run["the wire to Redis"]
    assert {where: found for where, text in run.items() if (found := found_in(secrets, text))} == {}


def test_the_settings_are_shown_without_secrets(secured: System, secrets: dict[str, str]) -> None:
    env = secured.stack._env_of["bridge"]
    argv = [sys.executable, "-m", "tracker.cli", "settings"]
    done = subprocess.run(argv, env=environment(secured, **env), capture_output=True, text=True, timeout=60, check=True)
    assert "***" in done.stdout
    assert found_in(secrets, output(done)) == []


def environment(secured: System, **changes: str) -> dict[str, str]:
    return {**secured.stack.environment, "PYTHONPATH": str(ROOT), "COLUMNS": "400", **changes}


@pytest.mark.parametrize("argv", ["-m tracker.cli status", "-m bridge", "-m celery -q -A tracker call tracker.check_completion"])
@pytest.mark.parametrize("kind", ["malformed", "unreachable"])
def test_an_error_tells_no_secret(secured: System, secrets: dict[str, str], argv: str, kind: str) -> None:
    password = secrets["Redis' password of command"]
    changes = {
        "malformed": {
            "SERVICE_AUTH_TOKEN": f" {SECRETS['SERVICE_AUTH_TOKEN']}\n",
            "REDIS_URL": f"redis://tracker-command:{password}@localhost:x",
            "KAFKA_SEC_CLIENT_KEY": "".join(text for name, text in secrets.items() if name.startswith("line")),
        },
        "unreachable": {
            "REDIS_URL": f"redis://tracker-command:{password}@127.0.0.1:{free_port()}/0",
            "KAFKA_ADDR": f"127.0.0.1:{free_port()}",
        },
    }[kind]
    log = secured.stack.folder / "error.log"
    with log.open("w") as file:
        running = subprocess.Popen([sys.executable, *argv.split()], env=environment(secured, **changes), stdout=file, stderr=file)
    try:  # the bridge says it and tries on for ever
        secured.stack.wait_until(lambda: running.poll() is not None or "neighbour_away" in log.read_text(), 30, "an error")
    finally:
        running.kill()
    assert running.wait(10) != 0
    text = log.read_text()
    assert text.strip()
    assert found_in(secrets, text) == []
    assert kind == "unreachable" or text.count("\n") == 3, "one line for each mistake"
