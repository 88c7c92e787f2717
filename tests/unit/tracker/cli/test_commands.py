"""What all commands have in common."""

import shlex
import subprocess
import sys

import click
import pytest

from tests.unit.tracker.cli.runs import one_line, run
from tracker.cli import COMMANDS, commands


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: tracker {name}")


def every_command() -> list[list[str]]:
    """All commands and their subcommands, as they are typed."""
    context = click.Context(commands)
    found: list[list[str]] = [[]]
    for name in COMMANDS:
        command = commands.get_command(context, name)
        found += [[name], *([name, each] for each in (command.commands if isinstance(command, click.Group) else ()))]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_shows_an_example(words: list[str]) -> None:
    text = " ".join(run(*words, "--help").stdout.split())
    assert f"tracker {' '.join(words)}" in text.partition("Example")[2]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_completion(shell: str) -> None:
    script = f"import os; os.environ['_TRACKER_COMPLETE'] = '{shell}_source'; from tracker.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "_TRACKER_COMPLETE" in result.stdout


def test_a_command_whose_output_is_closed_still_says_how_it_went() -> None:
    script = f"{shlex.quote(sys.executable)} -m tracker.cli settings >&-"
    result = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_help_lists_every_command() -> None:
    result = run("--help")
    assert all(f"  {name} " in result.stdout for name in COMMANDS)


def test_the_help_imports_nothing_heavy() -> None:
    """`tracker --help` and completion are typed by people: they must not wait for Celery or HTTP clients."""
    script = (
        "import sys; from tracker.cli import commands; commands(['--help'], standalone_mode=False); "
        "print(sorted({'celery', 'httpx', 'starlette', 'redis', 'rich', 'pydantic'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_version_is_shown() -> None:
    assert run("--version").stdout.startswith("import-tracker ")


def test_an_unknown_command_is_a_mistake() -> None:
    result = run("stats")
    assert result.exit_code == 2
    assert "No such command 'stats'" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("show", "i"), ("settings",), ("add", "i", "1"), ("sync",), ("health",), ("web",), ("up",), ("recover", "--yes")],
)
def test_a_wrong_setting_is_a_line_and_exit_code_2(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.setenv("SYNC_INTERVAL", "30")
    result = run(*arguments)
    assert result.exit_code == 2
    assert one_line(result).startswith("SYNC_INTERVAL='30': expected a duration")


@pytest.mark.usefixtures("no_redis")
@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("status", "--json"),
        ("show", "i-1"),
        ("add", "i-1", "5"),
        ("register", "i-1"),
        ("check",),
        ("sync",),
        ("recover", "--yes"),
        ("health", "--self", "worker"),
    ],
)
def test_without_redis_every_command_names_it_and_ends_with_1(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hush-hush@redis.example:6380/1")
    result = run(*arguments)
    assert result.exit_code == 1
    assert one_line(result).startswith("Redis at redis://:***@redis.example:6380/1 does not answer")
