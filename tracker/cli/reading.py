"""Commands that only look: `status`, `show`, `health`, `settings`."""

import asyncio
import json
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tracker.cli.opening import load_settings, naming_redis, open_overview, refuse_job
from tracker.errors import LedgerUnavailable, Transient

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tracker.overview import Overview
    from tracker.settings import Settings

LIVEZ_TIMEOUT_S = 2.0

WATCH_S = 1.0
"""Seconds between two looks of `status --watch`."""


@click.command(
    epilog="Examples: tracker status; tracker status --watch; tracker status --all --limit 500; tracker status --json | jq .figures"
)
@click.option("--all", "everything", is_flag=True, help="Finished instances and jobs, too.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="Instances and jobs to show.")
@click.option("--watch", is_flag=True, help="Look again each second, until Ctrl-C; JSON is then a line each.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def status(everything: bool, limit: int, watch: bool, as_json: bool) -> None:  # noqa: FBT001 -- flags of the command line
    """Show how far everything is: instances, jobs, what is owed, what is not well."""
    settings = load_settings()
    overview = open_overview(settings)
    from tracker.cli import tables

    def show() -> None:
        if as_json:
            shown = status_json(overview, settings, everything=everything, limit=limit)
            click.echo(json.dumps(shown, indent=None if watch else 2))
        else:
            tables.console().print(status_table(overview, settings, everything=everything, limit=limit))

    if not watch:
        with naming_redis(settings):
            show()
        return
    with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        if sys.stdout.isatty() and not as_json:
            watch_in_place(lambda: status_table(overview, settings, everything=everything, limit=limit))
        while True:
            try:
                show()
            except LedgerUnavailable as error:
                click.echo(str(error), err=True)
            sys.stdout.flush()
            time.sleep(WATCH_S)


def watch_in_place(look: Callable[[], "RenderableType"]) -> NoReturn:
    """Show what `look` gives on the whole terminal, each second."""
    from rich.live import Live
    from rich.text import Text

    from tracker.cli import tables

    with Live(console=tables.console(), auto_refresh=False, screen=True) as live:
        while True:
            try:
                live.update(look(), refresh=True)
            except LedgerUnavailable as error:
                live.update(Text(str(error), "red"), refresh=True)
            time.sleep(WATCH_S)


def status_table(overview: "Overview", settings: "Settings", *, everything: bool, limit: int) -> "RenderableType":
    """What `status` shows."""
    from tracker import findings, health
    from tracker.cli import tables

    seen = health.look(overview, settings)
    held = findings.lags(seen)
    behind = sum(records or 0 for records in held.values())
    lag = f"{findings.in_number(len(seen.bridges), 'bridge')}, {findings.in_number(len(held), 'partition')}, {behind:,} records behind"
    instances = overview.instances("all" if everything else "unfinished", limit=limit)
    jobs = overview.jobs("all" if everything else "unfinished", limit=limit)
    return tables.status_view(seen.figures, instances, jobs, health.judge(seen, settings), lag)


def status_json(overview: "Overview", settings: "Settings", *, everything: bool, limit: int) -> dict[str, Any]:
    """What `status --json` writes."""
    from tracker import findings, health
    from tracker.views import as_json

    seen = health.look(overview, settings)
    which = "all" if everything else "unfinished"
    return {
        "figures": as_json(seen.figures),
        "lag": findings.lags(seen),
        "checks": {name: {"status": found.status, "message": found.message} for name, found in health.judge(seen, settings).items()},
        "instances": as_json(overview.instances(which, limit=limit)),
        "jobs": as_json(overview.jobs(which, limit=limit)),
    }


@click.command(epilog="Example: tracker show 8a1c… --json")
@click.argument("instance")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(instance: str, as_json: bool) -> None:  # noqa: FBT001 -- a flag of the command line
    """
    Show all that the ledger knows of INSTANCE: its figures, state, and why it waits.

    Asks Redis alone; tracker explain asks the Dataset API, too, and says what to do.
    """
    from tracker import views

    settings = load_settings()
    overview = open_overview(settings)
    view = overview.instance(instance)
    if view is None:
        refuse_job(overview, instance)
        raise Transient(f"{instance}: no such instance is known here; tracker status --all lists those that are")
    if as_json:
        click.echo(json.dumps(views.as_json(view), indent=2))
        return
    from tracker.cli import tables

    tables.console().print(tables.instance_view(view, overview.ledger.now_s()))


@click.command(epilog="Example: SYNC_INTERVAL=1m tracker settings")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def settings(as_json: bool) -> None:  # noqa: FBT001 -- a flag of the command line
    """Show every setting: its value (secrets masked), where it comes from, its default, its meaning."""
    import dataclasses

    from tracker.settings import describe

    rows = describe(load_settings())
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(row) for row in rows], indent=2))
        return
    from tracker.cli import tables

    tables.console().print(tables.settings_table(rows))


@click.command(epilog="Examples: tracker health; tracker health --self worker")
@click.option("--self", "kind", type=click.Choice(["bridge", "worker", "beat", "web"]), help="Only this host's own process of that kind.")
@click.option("--json", "as_json", is_flag=True, help="Write what /health would answer.")
def health(kind: str | None, as_json: bool) -> None:  # noqa: FBT001 -- a flag of the command line
    """
    Look at every part once. Exit code 1 when one is critical.

    With --self: whether this host's own bridge, worker, Beat or web is alive, for a container's health check.
    """
    settings = load_settings()
    if kind == "web":
        ask_livez(settings)
        click.echo("web: alive")
    elif kind:
        click.echo(f"{kind}: alive ({', '.join(own_processes(settings, kind))})")
    else:
        look(settings, as_json=as_json)


def look(settings: "Settings", *, as_json: bool) -> None:
    """Run all checks once and show them; ends with exit code 1 when one is critical."""
    from tracker.health import Board, make_examiner
    from tracker.overview import make_overview

    board = Board(critical_timeout_s=0)
    asyncio.run(make_examiner(settings, make_overview(settings)).examine(board.record))
    if as_json:
        click.echo(json.dumps(board.as_json(), indent=2))
    else:
        from tracker.cli import tables

        tables.console().print(tables.health_table(board.checks.values()))
    if board.status == "CRITICAL":
        sys.exit(1)


def own_processes(settings: "Settings", kind: str) -> list[str]:
    """The names of this host's living processes of a kind. Raises Transient when there is none."""
    host = socket.gethostname()
    beats = open_overview(settings).heartbeats(kind)
    named = settings.kafka_group_instance_id if kind == "bridge" else None  # a bridge with an id of its own is called by it
    names = [name for name, info in beats.items() if name == named or is_of_host(name, info, host)]
    if not names:
        others = f"; alive elsewhere: {', '.join(sorted(beats))}" if beats else ""
        raise Transient(f"no {kind} of {host} is alive{others}")
    return sorted(names)


def is_of_host(name: str, info: Mapping[str, Any], host: str) -> bool:
    """Whether a process runs on a host: it says so itself, else by its name, which begins with it."""
    return info["host"] == host if "host" in info else name == host or name.startswith(f"{host}-")


def ask_livez(settings: "Settings") -> None:
    """Ask the web process at BIND_ADDR whether it lives. Raises Transient when it does not answer 200."""
    url = livez_url(settings)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy of the environment is not for this host
    try:
        with direct.open(url, timeout=LIVEZ_TIMEOUT_S) as answer:
            answer.read()
    except OSError as error:
        raise Transient(f"web at {url} does not answer: {getattr(error, 'reason', error)}") from error


def livez_url(settings: "Settings") -> str:
    """Where this host's own web process answers: one that listens everywhere is asked at the loopback address."""
    host, port = settings.bind
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- compared with, not bound to
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/livez"
