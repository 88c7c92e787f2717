"""How things are shown in a terminal."""

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracker.health import Check

COLOURS = {"OK": "green", "WARNING": "yellow", "CRITICAL": "red"}

WIDTH_OF_A_PIPE = 160
"""Characters of a line where no terminal says how wide it is."""


def console() -> Console:
    """Where tables go: stdout, as wide as the terminal."""
    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE, highlight=False)


def show_health(checks: Iterable[Check]) -> None:
    """Print the checks as a table."""
    table = Table(box=None, pad_edge=False)
    for title in ("check", "status", "message"):
        table.add_column(title, no_wrap=title != "message")
    for check in checks:
        if check.finding:
            table.add_row(check.name, Text(check.finding.status, COLOURS[check.finding.status]), Text(check.finding.message))
    console().print(table)
