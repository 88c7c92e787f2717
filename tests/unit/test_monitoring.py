"""The alert rules and the dashboard name metrics that there are, and the rules do what they say."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.test_readme import ROOT, anchors, rows_of_the_table
from tracker import health

FOLDER = ROOT / "docs" / "monitoring"
PROMTOOL = shutil.which("promtool")

ASKED_FOR = (
    "ImportTrackerStuckImport",
    "ImportTrackerParked",
    "ImportTrackerDeadLetters",
    "ImportTrackerRecordsLost",
    "ImportTrackerBirth",
    "ImportTrackerLag",
    "ImportTrackerNoTick",
    "ImportTrackerCritical",
    "ImportTrackerHistoryNotDraining",
)


def known() -> set[str]:
    """The names of all samples. That the table is a real scrape's is tested beside the metrics."""
    names = set()
    for name, kind, _ in rows_of_the_table("What there is", (FOLDER / "README.md").read_text("utf-8")):
        parts = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        names |= {f"{name.strip('`')}{part}" for part in parts}
    return names


def expressions_of_the_dashboard() -> list[str]:
    panels: list[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("expression", [*expressions_of_the_dashboard(), *(rule["expr"] for rule in rules())])
def test_every_metric_named_is_there(expression: str) -> None:
    named = re.findall(r"\bimport_tracker_\w+", expression)
    assert named
    assert set(named) <= known()


def test_every_alert_says_what_to_do_and_the_asked_for_are_there() -> None:
    assert all({"summary", "action", "runbook"} == rule["annotations"].keys() and rule["labels"].keys() == {"severity"} for rule in rules())
    assert set(ASKED_FOR) <= {rule["alert"] for rule in rules()}


def test_every_command_that_an_alert_names_is_one() -> None:
    text = (FOLDER / "alerts.yml").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    for command in re.findall(r"`(tracker [a-z-]+)", text):
        assert f"`{command}" in readme, command


def test_every_alert_leads_to_its_heading_in_the_runbook() -> None:
    headings = anchors(ROOT / "docs" / "operating.md")
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/operating.md#{rule['alert'].lower()}"
        assert rule["alert"].lower() in headings, rule["alert"]


def test_every_health_check_has_a_heading_in_the_runbook() -> None:
    text = (ROOT / "docs" / "operating.md").read_text("utf-8")
    told = re.findall(r"^### (.+)$", text.partition("\n## Health checks\n")[2].partition("\n## ")[0], re.MULTILINE)
    assert told == list(health.CHECKS)


def test_panels_have_a_place_each() -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))["panels"]
    cells = [(x, y) for panel in panels for x in columns(panel) for y in lines(panel)]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


def columns(panel: dict[str, Any]) -> range:
    return range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])


def lines(panel: dict[str, Any]) -> range:
    return range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])


@pytest.mark.parametrize("command", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")], ids=["check", "test"])
def test_promtool_accepts_the_rules_and_their_tests(command: tuple[str, ...]) -> None:
    if PROMTOOL is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is not installed")
        pytest.skip("needs Debian's prometheus")
    done = subprocess.run([Path(PROMTOOL), *command], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
