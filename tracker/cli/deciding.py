"""What commands have in common that decide something for good: they say what they will do, ask, and note who and why."""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from tracker.cli.acting import login_name, read_duration
from tracker.errors import BadInput, Transient

Function = TypeVar("Function", bound=Callable[..., Any])


def deciding(function: Function) -> Function:
    """Add the options of every command that decides something: --by, --reason, --yes."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--reason", default="", help="Why; kept with the decision."),
        click.option("--by", default=login_name, show_default="the login name", help="Who decides; kept with the decision."),
    ):
        function = option(function)
    return function


def age(_ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Read an age as in the settings (10s, 1m30s, 36h) into seconds."""
    return None if value is None else read_duration(_ctx, param, value)


def ask(text: str, *, yes: bool, aside: bool = False) -> None:
    """
    Say what will be done and let a person stop it; ends the command with exit code 1 when they do. `aside`: on stderr.

    Raises Transient where nobody can be asked: the input is at its end, and no terminal.
    """
    click.echo(text, err=aside)
    if yes:
        return
    nobody = "there is nobody to ask here, so nothing was done; --yes goes on without asking"
    if sys.stdin is None:  # it was closed
        raise Transient(nobody)
    try:
        agreed = click.confirm("Go on?", err=aside)
    except click.Abort as error:
        if sys.stdin.isatty():
            raise
        click.echo(err=aside)  # the prompt has left its line open
        raise Transient(nobody) from error
    if not agreed:
        raise click.Abort


def exactly_one_way(ids: tuple[str, ...], filters: dict[str, object], *, everything: bool, such_as: str) -> None:
    """Refuse a command that acts on nothing named, or names it in two ways; `such_as` is one of its options. Raises BadInput."""
    ways = [bool(ids), any(value is not None for value in filters.values()), everything]
    if sum(ways) != 1:
        raise BadInput(f"name what is meant in one way: by ids, by options such as {such_as}, or all of it with --all")
