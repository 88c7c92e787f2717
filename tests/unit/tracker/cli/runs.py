"""Running a command, and what a test reads of it."""

from typing import cast

from click.testing import CliRunner, Result

from tracker.cli import commands
from tracker.events import Partition
from tracker.instance import Instance
from tracker.ledger import Ledger

PREFIX = "import-tracker:"
P0 = Partition("counts", 0)


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(commands, arguments, input=answer, prog_name="tracker")


def follow(ledger: Ledger, *names: str, total: int = 10) -> None:
    ledger.follow("submitted", [Instance(name, "submitted", "job-1", total, 4) for name in names])


def history(ledger: Ledger, what: str) -> list[dict[str, str]]:
    """What has been written down of such happenings, read past the ledger."""
    entries = cast("list[tuple[str, dict[str, str]]]", ledger.client.xrange(f"{ledger.prefix}history"))
    return [raw for _, raw in entries if raw["w"] == what]


def one_line(result: Result) -> str:
    """The one line that a person reads of a failure."""
    (line,) = result.stderr.splitlines()
    assert line.startswith("tracker: ")
    return line.removeprefix("tracker: ")
