"""
The command line: `tracker`.

Commands that read ask Redis and the APIs; commands that act send the very tasks that the bridge and Beat send. Exit
code 0: done; 1: it did not work, though the command was right; 2: the command or a setting is wrong.
"""

import importlib
import os
import sys
from typing import Any

import click

from tracker.errors import BadInput, TrackerError

COMMANDS = {
    "status": "reading",
    "show": "reading",
    "history": "history",
    "health": "reading",
    "settings": "reading",
    "register": "acting",
    "add": "acting",
    "check": "acting",
    "sync": "acting",
    "explain": "steering",
    "reconcile": "steering",
    "complete": "steering",
    "fail": "steering",
    "pause": "steering",
    "resume": "steering",
    "dead-letters": "letters",
    "parked": "parked",
    "recover": "steering",
    "web": "running",
    "up": "running",
}
"""Each command and the file it lives in, in the order of the help. A file is imported when one of its commands is used."""


class Failed(click.ClickException):
    """It did not work. Each line of the text goes to the person, no traceback."""

    def show(self, file: Any = None) -> None:  # noqa: ANN401 -- click's signature
        """Write the lines to stderr."""
        for line in self.message.splitlines():
            click.echo(f"tracker: {line}", file=file, err=file is None)


class Mistaken(Failed):
    """The command or a setting is wrong."""

    exit_code = 2


class Commands(click.Group):
    """The commands, imported on first use; whatever the tracker says went wrong becomes a line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Name all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"tracker.cli.{COMMANDS[cmd_name]}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101 -- a test looks at each
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 -- click's signature
        """Run the command."""
        try:
            return super().invoke(ctx)
        except TrackerError as error:
            raise (Mistaken if isinstance(error, BadInput) else Failed)(str(error)) from error


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings come from the environment: `tracker settings` lists them. Completion for bash (zsh, fish likewise): "
    'eval "$(_TRACKER_COMPLETE=bash_source tracker)". Examples: tracker status; tracker health; tracker explain INSTANCE',
)
@click.version_option(package_name="import-tracker", message="import-tracker %(version)s")
def commands() -> None:
    """
    Count inserted observations, and complete import instances and jobs.

    Exit code 0: done; 1: it did not work, though the command was right; 2: the command or a setting is wrong.
    """


def main() -> None:
    """Run the command that the arguments name."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 -- for as long as the process lives
    commands(prog_name="tracker")
