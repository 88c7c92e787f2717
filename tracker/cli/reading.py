"""Commands that only look: `status`, `show`, `health`, `settings`."""

import asyncio
import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from tracker.cli.opening import load_settings, open_overview
from tracker.errors import Transient

if TYPE_CHECKING:
    from tracker.settings import Settings

LIVEZ_TIMEOUT_S = 2.0


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

        tables.show_health(board.checks.values())
    if board.status == "CRITICAL":
        sys.exit(1)


def own_processes(settings: "Settings", kind: str) -> list[str]:
    """The names of this host's living processes of a kind. Raises Transient when there is none."""
    host = socket.gethostname()
    beats = open_overview(settings).heartbeats(kind)
    names = [name for name, info in beats.items() if is_of_host(name, info, host)]
    if not names:
        others = f"; alive elsewhere: {', '.join(sorted(beats))}" if beats else ""
        raise Transient(f"no {kind} of {host} is alive{others}")
    return sorted(names)


def is_of_host(name: str, info: Mapping[str, Any], host: str) -> bool:
    """Whether a process runs on a host: it says so itself, else by its name, which begins with it."""
    return info["host"] == host if "host" in info else name == host or name.startswith((f"{host}-", f"{host}:"))


def ask_livez(settings: "Settings") -> None:
    """Ask the web process at BIND_ADDR whether it lives. Raises Transient when it does not answer 200."""
    host, port = settings.bind
    url = f"http://{f'[{host}]' if ':' in host else host or '127.0.0.1'}:{port}/livez"
    try:
        with urllib.request.urlopen(url, timeout=LIVEZ_TIMEOUT_S) as answer:
            answer.read()
    except OSError as error:
        raise Transient(f"web at {url} does not answer: {getattr(error, 'reason', error)}") from error
