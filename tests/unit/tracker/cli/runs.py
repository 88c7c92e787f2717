"""Running a command, and what a test reads of it."""

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


def one_line(result: Result) -> str:
    """The one line that a person reads of a failure."""
    (line,) = result.stderr.splitlines()
    assert line.startswith("tracker: ")
    return line.removeprefix("tracker: ")
