"""The commands that run until they are told to stop."""

import pytest

from tests.unit.tracker.cli.runs import one_line, run
from tracker.cli import running
from tracker.settings import Settings


def test_up_runs_bridge_workers_beat_and_web() -> None:
    children = {child.name: child for child in running.children(Settings(log_level="DEBUG"), {"PATH": "/bin"}, workers=1, bridges=1)}
    assert list(children) == ["bridge", "apply", "push", "beat", "web"]
    apply = " ".join(map(str, children["apply"].argv))
    assert "-Q tracker.apply,tracker.control -n apply@%h" in apply
    assert apply.endswith("-l DEBUG")
    assert "-Q tracker.push -n push@%h" in " ".join(map(str, children["push"].argv))
    for name, child in children.items():
        assert child.env is not None
        assert child.env["PATH"] == "/bin"
        assert ("REMAP_SIGTERM" in child.env) == (name in {"apply", "push"})
        assert child.env["MALLOC_ARENA_MAX"] == "1"


def test_up_leaves_to_a_person_how_memory_is_kept() -> None:
    [bridge, *_] = running.children(Settings(), {"MALLOC_ARENA_MAX": "4"}, workers=1, bridges=1)
    assert bridge.env is not None
    assert bridge.env["MALLOC_ARENA_MAX"] == "4"


def test_up_can_run_several_of_a_kind_under_names_of_their_own() -> None:
    children = running.children(Settings(), {}, workers=2, bridges=3)
    assert [child.name for child in children] == ["bridge", "bridge2", "bridge3", "apply", "apply2", "push", "push2", "beat", "web"]
    assert "push2@%h" in children[6].argv


def test_several_bridges_cannot_share_one_static_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_GROUP_INSTANCE_ID", "left")
    result = run("up", "--bridges", "2")
    assert result.exit_code == 2
    assert one_line(result).startswith("KAFKA_GROUP_INSTANCE_ID='left': ")


@pytest.mark.parametrize("command", ["web", "up"])
def test_an_address_in_use_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    import socket  # noqa: PLC0415 -- only here

    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("BIND_ADDR", f"127.0.0.1:{taken.getsockname()[1]}")
        result = run(command)
    assert result.exit_code == 1
    assert one_line(result).endswith("cannot listen there: Address already in use")
