"""The command `history`: what has happened."""

import json
from typing import TYPE_CHECKING

import click

from tracker.cli.opening import load_settings, naming_redis, open_overview
from tracker.errors import BadInput

if TYPE_CHECKING:
    from tracker.history.reading import History
    from tracker.settings import Settings


@click.command(epilog="Examples: tracker history --instance 8a1c…; tracker history --since 2h --what pushed --json")
@click.option("--instance", "instance_id", metavar="INSTANCE", help="Only what happened to this instance.")
@click.option("--job", "job_id", metavar="JOB", help="Only what happened to this job and its instances.")
@click.option("--what", metavar="WORD", multiple=True, help="Only this kind, such as pushed; may be repeated; a wrong one lists them.")
@click.option("--since", metavar="DURATION", default="", help="Only the last 30m, 2h, 48h …")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1_000_000), help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, the newest first.")
def history(instance_id: str | None, job_id: str | None, what: tuple[str, ...], since: str, limit: int, as_json: bool) -> None:  # noqa: FBT001 -- a flag
    """Show what has happened, the newest last: registrations, pushes, completions, births, what people did."""
    from tracker.history import entries

    settings = load_settings()
    book = open_history(settings)
    with naming_redis(settings):
        try:
            told = book.ask(limit=limit, instance_id=instance_id, job_id=job_id, what=what, since=since)
        except BadInput as error:
            raise BadInput(f"--{error}") from error  # it names the parameter, which is the option's name
    if told.trouble:
        click.echo(f"tracker: {told.trouble}; this is what Redis holds", err=True)
    if as_json:
        click.echo(json.dumps({"source": told.source, "items": [entries.as_json(entry) for entry in told.entries]}, indent=2))
        return
    from tracker.cli import tables

    if told.entries:
        tables.console().print(tables.history_table(told.entries[::-1]))
    else:
        click.echo("nothing that is known")


def open_history(settings: "Settings") -> "History":
    """The history of a Redis that answers. Raises Transient when it does not."""
    from tracker.history.reading import History, make_database
    from tracker.history.stream import HistoryStream

    ledger = open_overview(settings).ledger
    return History(HistoryStream(ledger.client, ledger.prefix), make_database(settings.db_access))
