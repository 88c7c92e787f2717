"""The documents say what is so: settings, tasks, commands, make targets, paths, links and tests that they name."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tracker import health, tasks
from tracker.celery import app
from tracker.cli import COMMANDS, commands
from tracker.settings import Settings, describe

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


THE_ORIGINALS = [
    "BIND_ADDR",
    "INPUT_FILE_AVAILABLE_TOPIC",
    "IMPORT_OBSERVATIONS_INSERTED_TOPIC",
    "KAFKA_ADDR",
    "KAFKA_VERSION",
    "KAFKA_OFFSET_OLDEST",
    "INPUT_FILE_AVAILABLE_CONSUMER_GROUP",
    "IMPORT_OBSERVATIONS_INSERTED_CONSUMER_GROUP",
    "HIERARCHY_BUILT_CONSUMER_GROUP",
    "SEARCH_BUILT_CONSUMER_GROUP",
    "HIERARCHY_BUILT_TOPIC",
    "SEARCH_BUILT_TOPIC",
    "DATA_IMPORT_COMPLETE_TOPIC",
    "KAFKA_SEC_PROTO",
    "KAFKA_SEC_CLIENT_CERT",
    "KAFKA_SEC_CLIENT_KEY",
    "KAFKA_SEC_CA_CERTS",
    "KAFKA_SEC_SKIP_VERIFY",
    "IMPORT_API_ADDR",
    "DATASET_API_ADDR",
    "IMPORT_API_AUTH_TOKEN",
    "DATASET_API_AUTH_TOKEN",
    "SERVICE_AUTH_TOKEN",
    "CHECK_COMPLETE_INTERVAL",
    "INITIALISE_LIST_INTERVAL",
    "INITIALISE_LIST_ATTEMPTS",
    "DATASET_API_MAX_WORKERS",
    "DATASET_API_BATCH_SIZE",
    "HEALTHCHECK_INTERVAL",
    "HEALTHCHECK_CRITICAL_TIMEOUT",
    "GRACEFUL_SHUTDOWN_TIMEOUT",
    "HUMAN_LOG",
    "DB_ACCESS",
    "DATABASE_ADDRESS",
    "DATABASE_POOL_SIZE",
    "GRAPH_DRIVER_TYPE",
    "GRAPH_ADDR",
    "NEPTUNE_TLS_SKIP_VERIFY",
    "ZEBEDEE_URL",
]
"""The settings of the Go service, of both its generations."""


def rows_of_the_table(heading: str, text: str = README) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = re.split(rf"^#+ {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    lines = re.findall(r"^\|.*\|$", re.split(r"^## ", section, maxsplit=1, flags=re.MULTILINE)[0], re.MULTILINE)
    return [[cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str]]:
    """Every link in a document that does not leave the project."""
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
            if not re.match(r"[a-z]+:", target):
                yield document, target


def named_tests() -> Iterator[tuple[Path, str, str]]:
    """Every test that a document names, as file::name."""
    for document in DOCUMENTS:
        for file, name in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", document.read_text("utf-8")):
            yield document, file, name


def test_the_settings_table_is_the_settings():
    wanted = [[f"`{row.name}`", f"`{row.default}`", row.sentence] for row in describe(Settings())]
    missing = "\n".join(f"| {' | '.join(row)} |" for row in wanted)
    assert rows_of_the_table("Settings") == wanted, f"the table should be:\n{missing}"


def test_the_task_table_names_every_task_its_arguments_and_its_queue():
    table = {row[0].strip("`"): row for row in rows_of_the_table("Tasks")}
    ours = {name for name in app.tasks if name.startswith("tracker.")}
    assert table.keys() == ours
    for name, row in table.items():
        route = app.conf.task_routes.get(name, {"queue": app.conf.task_default_queue})
        assert row[2] == f"`{route['queue']}`", name
        parameters = [
            each.name if each.default is each.empty else f"{each.name}={each.default!r}"
            for each in inspect.signature(app.tasks[name].run).parameters.values()
            if each.kind is not each.VAR_KEYWORD
        ]
        if parameters:
            assert row[1] == ", ".join(f"`{each}`" for each in parameters), name


def test_the_tasks_module_names_every_task():
    assert tasks.__doc__ is not None
    assert set(re.findall(r"tracker\.\w+(?= {2})", tasks.__doc__)) == {name for name in app.tasks if name.startswith("tracker.")}


def test_the_command_table_names_every_command_and_only_options_that_there_are():
    table = {row[0].strip("`").split()[1]: row for row in rows_of_the_table("Triggering by hand")}
    assert table.keys() == COMMANDS.keys()
    for name, row in table.items():
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        every = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
        options = {option for each in every for parameter in each.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert set(re.findall(r"--[\w-]+", row[1])) <= options, name


def test_every_make_target_named_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", document.read_text("utf-8"), re.MULTILINE))
        assert named <= targets, document


def test_every_setting_named_is_one():
    """Names in capitals with an underscore, between backquotes, are settings, or Celery's."""
    known = (
        {row.name for row in describe(Settings())}
        | set(THE_ORIGINALS)
        | {"REMAP_SIGTERM", "MALLOC_ARENA_MAX", "SSL_CERT_FILE", "BATCH_SIZE", "BATCH_WAIT_TIME"}
    )
    for document in DOCUMENTS:
        for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=[^`]*)?`", document.read_text("utf-8")):
            assert name in known, f"{name} in {document}"


def test_every_setting_of_the_original_is_set_beside_ours():
    told = [row[0] for row in rows_of_the_table("Settings", (ROOT / "docs" / "migrating.md").read_text("utf-8"))]
    assert sorted(re.findall(r"`(\w+)`", " ".join(told))) == sorted(THE_ORIGINALS)


@pytest.mark.parametrize("document, target", [pytest.param(*link, id=f"{link[0].name}: {link[1]}") for link in links()])
def test_every_link_inside_the_project_leads_somewhere(document, target):
    path, _, anchor = target.partition("#")
    found = (document.parent / path).resolve() if path else document
    assert found.exists()
    assert not anchor or anchor in anchors(found)


@pytest.mark.parametrize("document, file, name", sorted(set(named_tests())))
def test_every_test_that_is_named_exists(document, file, name):
    text = (ROOT / file).read_text("utf-8")
    assert not name or re.search(rf"^\s*(?:async )?def {name}\(", text, re.MULTILINE), document


def test_every_check_of_health_is_described():
    told = [row[0].strip("`") for row in rows_of_the_table("Checks", (ROOT / "docs" / "interface.md").read_text("utf-8"))]
    assert told == list(health.CHECKS)


def test_every_log_event_is_described():
    events = set()
    for source in [*(ROOT / "tracker").rglob("*.py"), *(ROOT / "bridge").rglob("*.py")]:
        text = source.read_text("utf-8")
        events |= set(
            re.findall(r"(?:log|bound|said|get_logger\(__name__\))\.?(?:info|warning|error|exception)?\(\s*\"([a-z_]+)\"[,)]", text)
        )
    told = {
        name
        for row in rows_of_the_table("Log events", (ROOT / "docs" / "interface.md").read_text("utf-8"))
        for name in re.findall(r"`([a-z_]+)`", row[0])
    }
    assert events <= told, f"not described: {sorted(events - told)}"


def test_the_decisions_are_numbered_without_a_gap_and_say_what_was_rejected():
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    for file in files:
        assert "\n## Rejected" in file.read_text("utf-8"), file.name
