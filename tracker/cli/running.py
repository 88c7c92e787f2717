"""Commands that run until they are told to stop: `web` and `up`."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from tracker.cli.opening import load_settings
from tracker.errors import BadInput

if TYPE_CHECKING:
    from tracker.settings import Settings
    from tracker.supervisor import Child, Supervisor

POLL_S = 0.1
"""How often it is looked whether there is a signal, or a child that cannot be kept running."""

STOP_MARGIN_S = 5.0
"""What the children get beyond `GRACEFUL_SHUTDOWN_TIMEOUT`, which each of them keeps by itself, before they are killed."""


@click.command(epilog="Example: BIND_ADDR=:8080 tracker web")
def web() -> None:
    """
    Show the status page and answer for health, metrics, instances and jobs at BIND_ADDR, until stopped.

    It only reads. It asks for no password: put a proxy in front of it where others can reach it.
    """
    settings = load_settings()
    configure_logs(settings)
    need_web()
    from tracker.web import server

    server.run(settings)


@click.command(epilog="Example: HUMAN_LOG=1 tracker up --workers 2 --bridges 2")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Workers of each of the two kinds.")
@click.option("--bridges", default=1, show_default=True, type=click.IntRange(1, 64), help="Bridges, which share the partitions.")
def up(workers: int, bridges: int) -> None:
    """
    Run everything: bridge, workers, Beat and web, until stopped.

    What dies is restarted. One Ctrl-C or SIGTERM ends all of it within GRACEFUL_SHUTDOWN_TIMEOUT.
    """
    from tracker.supervisor import Supervisor

    settings = load_settings()
    if settings.kafka_group_instance_id and bridges > 1:
        raise BadInput(
            f"KAFKA_GROUP_INSTANCE_ID={settings.kafka_group_instance_id!r}: expected none, since {bridges} bridges cannot share it"
        )
    configure_logs(settings)
    need_web()
    from tracker.web.server import listen

    listen(settings).close()  # a port that is taken is said now, not by a child that is restarted in vain

    import structlog

    log = structlog.get_logger(__name__)
    # Without names in front, each line stays the one JSON object that programs read.
    supervisor = Supervisor(prefix=settings.human_log, report=lambda line: log.warning("child_ended", reason=line))
    supervisor.add(*children(settings, os.environ, workers=workers, bridges=bridges))
    log.info("starting", workers=workers, bridges=bridges, bind_addr=settings.bind_addr)
    code = run_until_signalled(supervisor, bridges, settings.graceful_shutdown_timeout_s)
    for name, why in supervisor.failures().items():
        click.echo(f"tracker: {name} {why}", err=True)
    log.info("stopped", exit_code=code)
    sys.exit(code)


def run_until_signalled(supervisor: "Supervisor", bridges: int, timeout_s: float) -> int:
    """
    Run all children until SIGTERM or SIGINT, or until one cannot be kept running; returns the exit code.

    The bridges are ended first, while workers still apply what these have published. All are given `timeout_s`, and
    `STOP_MARGIN_S` for what they end themselves; a second signal kills what is left at once.
    """
    signals = 0

    def stop(*_: object) -> None:
        nonlocal signals
        signals += 1
        supervisor.request_stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    supervisor.start()
    while not signals and not supervisor.failures():
        pause(POLL_S)
    deadline = time.monotonic() + timeout_s + STOP_MARGIN_S
    names = [_numbered("bridge", number) for number in range(1, bridges + 1)]
    with ThreadPoolExecutor(len(names)) as pool:
        clean = all(list(pool.map(lambda name: supervisor.end(name, timeout_s), names)))
    clean &= supervisor.stop(max(1.0, deadline - time.monotonic()))
    return 0 if clean and not supervisor.failures() else 1


def children(settings: "Settings", environ: Mapping[str, str], *, workers: int, bridges: int) -> "list[Child]":
    """The processes of `up`, each with its command line."""
    from tracker.supervisor import Child

    # One arena of glibc's memory: Kafka's client frees in one thread what another has allocated, so more of them only fragment.
    environ = {"MALLOC_ARENA_MAX": "1", **environ, "PYTHONUNBUFFERED": "1"}
    # Celery then hands back unfinished tasks at once instead of waiting for them; it heeds this only in the environment.
    of_workers = {**environ, "REMAP_SIGTERM": "SIGQUIT"}
    celery = [sys.executable, "-m", "celery", "-q", "-A", "tracker"]
    level = ["-l", settings.log_level]
    found = [Child(_numbered("bridge", n), [sys.executable, "-m", "bridge"], environ) for n in range(1, bridges + 1)]
    for kind, queues in (("apply", "tracker.apply,tracker.control"), ("push", "tracker.push")):
        for n in range(1, workers + 1):
            name = _numbered(kind, n)
            arguments = ["-Q", queues, "-n", f"{name}@%h", "-c", "2", "--without-mingle", "--without-gossip"]
            found.append(Child(name, [*celery, "worker", *arguments, *level], of_workers, clean_exits=CELERY_EXITS))
    found.append(Child("beat", [*celery, "beat", *level], environ))
    found.append(Child("web", [sys.executable, "-m", "tracker.cli", "web"], environ))
    return found


pause = time.sleep
"""How it is waited, for tests to do something meanwhile."""

CELERY_EXITS = frozenset({0, 1})
"""How a worker ends that was told to stop: 1 when it has handed back what it had begun."""


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}{number}"


def configure_logs(settings: "Settings") -> None:
    """Set up the logs of this process, and log all settings once."""
    import structlog

    from tracker import logs
    from tracker.settings import secrets, to_event

    logs.configure(human=settings.human_log, level=settings.log_level, secrets=secrets(settings))
    structlog.get_logger(__name__).info("settings", **to_event(settings))


def need_web() -> None:
    """Raise BadInput when the packages that answer HTTP are not installed."""
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise BadInput(f"{error.name} is not installed: pip install 'import-tracker[web]'") from error
    del starlette, uvicorn
