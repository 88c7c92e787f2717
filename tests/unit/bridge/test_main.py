"""The process around the loop: settings, groups, signals, exit codes."""

import os
import signal
from collections.abc import Iterator

import pytest

from bridge import __main__ as process
from bridge.consumer import Fenced
from tracker.settings import Settings


class Looping:
    """Stands for the bridge."""

    def __init__(self, *, ends: BaseException | None = None, applied: bool = True) -> None:
        self.closing = False
        self.closed_within: float | None = None
        self.ends, self.applied = ends, applied

    def run(self) -> None:
        if self.ends:
            raise self.ends
        os.kill(os.getpid(), signal.SIGTERM)
        assert self.closing

    def close(self, timeout_s: float) -> bool:
        self.closed_within = timeout_s
        return self.applied


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tracker-bridge"])


def run(monkeypatch: pytest.MonkeyPatch, bridge: Looping) -> int:
    monkeypatch.setattr(process, "build", lambda _settings: bridge)
    return process.run(Settings(graceful_shutdown_timeout_s="3s"))


def test_topics_of_one_group_share_a_member_and_others_have_their_own() -> None:
    (one,) = process.consumers(Settings())
    assert one.topics == {"import-observations-inserted", "input-file-available"}
    two = process.consumers(Settings(input_file_available_consumer_group="another"))
    assert [(member.group, member.topics) for member in two] == [
        ("dp-import-tracker", frozenset({"import-observations-inserted"})),
        ("another", frozenset({"input-file-available"})),
    ]


def test_a_signal_ends_the_loop_in_good_order(monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = Looping()
    assert run(monkeypatch, bridge) == 0
    assert bridge.closed_within == 3.0


def test_a_second_signal_ends_it_at_once_with_an_error() -> None:
    bridge = Looping()
    process._stop_on_signals(bridge)  # type: ignore[arg-type]
    os.kill(os.getpid(), signal.SIGINT)
    assert bridge.closing
    with pytest.raises(SystemExit) as ended:
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 1


def test_an_end_that_was_cut_short_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, Looping(applied=False)) == 1


@pytest.mark.parametrize("error", [Fenced("the same id twice"), ZeroDivisionError()])
def test_a_failure_of_the_loop_is_an_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    assert run(monkeypatch, Looping(ends=error)) == 1


def test_bad_settings_are_said_in_one_line_each_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_SESSION_TIMEOUT", "ten")
    with pytest.raises(SystemExit) as ended:
        process.main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert "KAFKA_SESSION_TIMEOUT" in line
    assert "ten" in line


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (["--help"], 0, "Everything is set by the environment"),
        (["--version"], 0, "tracker-bridge "),
        (["status"], 2, "unrecognized arguments: status"),
    ],
)
def test_who_asks_for_help_or_mistypes_joins_no_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    monkeypatch.setattr("sys.argv", ["tracker-bridge", *arguments])
    monkeypatch.setattr(process, "run", lambda _: pytest.fail("a bridge was started"))
    with pytest.raises(SystemExit) as ended:
        process.main()
    assert ended.value.code == code
    assert said in "".join(capsys.readouterr())


def test_every_wrong_setting_is_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SYNC_INTERVAL", "soon")
    monkeypatch.setenv("BRIDGE_POLL_RECORDS", "many")
    with pytest.raises(SystemExit) as ended:
        process.main()
    assert ended.value.code == process.BAD_SETTINGS
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("tracker-bridge: ") for line in lines)
