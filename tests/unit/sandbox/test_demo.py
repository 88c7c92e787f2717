"""What the demo that is kept tells a person to paste."""

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from sandbox.demo import main, paste
from sandbox.kafka import Kafka
from sandbox.stack import Generation, Stack
from sandbox.valkey import Valkey


def test_a_wrong_setting_is_said_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUCK_AFTER", "foo")
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2
    assert "STUCK_AFTER='foo': expected" in result.stderr
    assert "starting" not in result.stdout


@pytest.mark.parametrize(
    "generation, tokens, header",
    [
        ("today", {"SERVICE_AUTH_TOKEN"}, "Authorization: Bearer $SERVICE_AUTH_TOKEN"),
        ("2017", {"DATASET_API_AUTH_TOKEN", "IMPORT_API_AUTH_TOKEN"}, "Internal-token: $DATASET_API_AUTH_TOKEN"),
    ],
)
def test_the_export_line_sets_what_leads_to_the_stack(tmp_path: Path, generation: Generation, tokens: set[str], header: str) -> None:
    stack = Stack(generation=generation, folder=tmp_path, kafka=Kafka(tmp_path / "kafka"), valkey=Valkey(tmp_path / "valkey"))
    text = paste(stack)
    (line,) = [line for line in text.splitlines() if line.startswith("export ")]
    done = subprocess.run(["sh", "-c", f"{line}; env"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)
    found = dict(told.split("=", 1) for told in done.stdout.splitlines())
    wanted = {"REDIS_URL", "KAFKA_ADDR", "DATASET_API_ADDR", "IMPORT_API_ADDR", "BIND_ADDR"} | tokens
    assert {name: found[name] for name in wanted} == {name: stack.environment[name] for name in wanted}
    assert f'-H "{header}"' in text
