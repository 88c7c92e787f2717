"""Whatever is typed: exit code 0, 1 or 2, and lines instead of a traceback."""

from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.tracker.cli.runs import follow
from tracker.cli import COMMANDS, acting, commands
from tracker.ledger import Ledger

NOT_HERE = {"web", "up", "health"}
"""Processes, and the one command that goes to Kafka and the APIs."""


def words(command: click.Command) -> list[str]:
    """The options of a command and of those below it, and their names; but for those that go on for ever."""
    found = [option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts) if option.startswith("-")]
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            found += [name, *words(below)]
    return [word for word in found if word not in {"--watch", "-w"}]


NAMES = [name for name in COMMANDS if name not in NOT_HERE]
LOADED = {name: command for name in NAMES if (command := commands.get_command(click.Context(commands), name)) is not None}
ARGUMENTS = st.sampled_from(NAMES).flatmap(
    lambda name: st.lists(
        st.one_of(
            st.sampled_from(words(LOADED[name]) or ["--help"]),
            st.sampled_from(["i-1", "j-1", "5", "-1", "0", "all", "parked", "1-0", "10s", "", "--", "-", "2h", "99999999999999999999"]),
            st.text(max_size=12),
        ),
        max_size=5,
    ).map(lambda rest: [name, *rest])
)


@pytest.mark.usefixtures("sent")
def test_any_arguments_end_in_a_code_and_lines(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "applied_in_time", lambda *_: False)
    follow(ledger, "i-1")

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ARGUMENTS)
    def tried(arguments: list[str]) -> None:
        result: Any = CliRunner().invoke(commands, [word.replace("\0", "") for word in arguments], prog_name="tracker")
        assert isinstance(result.exception, SystemExit | None), arguments
        assert result.exit_code in {0, 1, 2}, arguments
        assert "Traceback" not in result.output

    tried()
