"""
Commands that act: `register`, `add`, `check`, `sync`.

They send the very tasks that the bridge and Beat send, by name; a worker does the work.
"""

import getpass
import time
import uuid
from typing import TYPE_CHECKING, Any

import click

from tracker.cli.opening import load_settings, naming_redis, open_overview
from tracker.errors import BadInput, LedgerUnavailable, Transient

if TYPE_CHECKING:
    from tracker.overview import Overview
    from tracker.settings import Settings

POLL_S = 0.05
"""How often it is looked whether a count is applied."""


def read_duration(_ctx: click.Context, _param: click.Parameter, value: str) -> float:
    """Read a duration as in the settings (10s, 1m30s, 500ms) into seconds."""
    from tracker.setting_values import duration

    try:
        return duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: expected {error}") from error


@click.command(epilog="Example: tracker register 8a1c… --job 42")
@click.argument("instance")
@click.option("--job", metavar="JOB", help="The import job it belongs to; the Dataset API tells it otherwise.")
def register(instance: str, job: str | None) -> None:
    """
    Follow INSTANCE, as its input-file-available record would.

    To say it again changes nothing. One that the Dataset API does not know is parked until it does.
    """
    settings = load_settings()
    arguments = [checked_id(instance, "instance id"), checked_id(job, "job id") if job is not None else None]
    refuse_unusable(settings, open_overview(settings), f"{instance} is not registered")
    send(settings, "tracker.register_instance", arguments)
    click.echo(f"{instance}: will be followed")


@click.command(epilog="Examples: tracker add 8a1c… 500; tracker add 8a1c… 500 --key ticket-17 --timeout 30s")
@click.argument("instance")
@click.argument("count", type=int)
@click.option("--new", is_flag=True, help="Also when the tracker does not know INSTANCE: not yet, or not any more.")
@click.option("--key", metavar="KEY", help="Counts once, however often it is sent with this key (remembered for a week).")
@click.option("--wait/--no-wait", default=True, help="Wait until the ledger has it (default), or only send it.")
@click.option(
    "--timeout", "timeout_s", callback=read_duration, metavar="DURATION", default="10s", show_default=True, help="How long to wait."
)
def add(instance: str, count: int, *, new: bool, key: str | None, wait: bool, timeout_s: float) -> None:
    """
    Add COUNT inserted observations to INSTANCE by hand.

    Beside what Kafka brings: for records that are known to be lost. Exit code 1, and nothing is sent, when the tracker
    does not know INSTANCE and --new is not given. Exit code 1 as well when it is not applied in time; to send it again
    with the same key is then safe.
    """
    from tracker.findings import unusable

    settings = load_settings()
    checked_id(instance, "instance id")
    checked_count(count)
    if key is not None and not (key and key.isprintable()):
        raise BadInput(f"key {key!r}: expected printable characters")
    given, key = key is not None, key or uuid.uuid4().hex
    overview = open_overview(settings)
    with naming_redis(settings):
        if (known := overview.key_applied(key)) is not None:
            if known != f"{instance} {count}":
                raise BadInput(f"key {key!r}: has been used already, to add {known.rpartition(' ')[2]} to {known.rpartition(' ')[0]}")
            click.echo(f"{instance}: these {count} were added before, nothing is added")
            return
        # A count for a mistyped id is parked, and nothing can have it counted for another instance from there.
        view = overview.instance(instance)
        if view is None and not new:
            raise Transient(f"{instance} is not known here, nothing is added: is the id right? If it is meant all the same, say --new")
    if view is not None and view.ended_s is not None:
        click.echo(f"{instance} has ended already, it is {view.state}: these {count} come on top", err=True)
    again = f"to say it again is safe with --key {key}{' --new' if new else ''}"
    if not given:  # before anything can go wrong: said again without it, the count would be added twice
        click.echo(f"{instance}: {count} are sent; {again}", err=True)
    send(settings, "tracker.add_inserted_count", [instance, count, key])
    if not wait:
        click.echo(f"{instance}: {count} sent with key {key}")
        return
    with naming_redis(settings):
        if not applied_in_time(overview, key, timeout_s):
            found = unusable(overview.ledger_view())
            why = f"{found.message}." if found is not None else "does a worker serve tracker.control?"
            raise Transient(f"{instance}: {count} sent, not applied after {timeout_s:g} s: {why} It may still be applied; {again}")
    click.echo(f"{instance}: {count} added")


def applied_in_time(overview: "Overview", key: str, timeout_s: float) -> bool:
    """Wait until the ledger shows the key. A Redis that is away for a moment is waited for."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if overview.key_applied(key) is not None:
                return True
        except LedgerUnavailable:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)


@click.command(epilog="Examples: tracker check; tracker check 8a1c… 77d0…")
@click.argument("instances", nargs=-1, metavar="[INSTANCE]...")
def check(instances: tuple[str, ...]) -> None:
    """
    See now what can be completed: what is due, or the named instances.

    Named instances are looked at whether they wait for a later try or are parked. Exit code 1, and nothing is sent, when
    one of them is not followed.
    """
    settings = load_settings()
    ids = [checked_id(instance, "instance id") for instance in instances]
    overview = open_overview(settings)
    refuse_unusable(settings, overview, "nothing is checked")
    with naming_redis(settings):
        strangers = [instance for instance in ids if overview.instance(instance) is None]
    if strangers:
        raise Transient("\n".join(f"{instance} is not followed: tracker register {instance} first" for instance in strangers))
    send(settings, "tracker.check_completion", [ids or None])
    click.echo("the check is sent" if not ids else f"the check of {', '.join(ids)} is sent")


@click.command(epilog="Example: tracker sync")
def sync() -> None:
    """
    Read the full listing of submitted instances now.

    It finds instances that no record has named, and totals. A worker does it; it happens every SYNC_INTERVAL anyway.
    """
    settings = load_settings()
    refuse_unusable(settings, open_overview(settings), "the listing is not read")
    send(settings, "tracker.sync_active_instances", [])
    click.echo("the listing is sent for")


def refuse_unusable(settings: "Settings", overview: "Overview", not_done: str) -> None:
    """Refuse what no worker could do now. Raises Transient."""
    from tracker.findings import unusable

    with naming_redis(settings):
        if (found := unusable(overview.ledger_view())) is not None:
            raise Transient(f"{not_done}: {found.message}")


def checked_id(value: str, name: str) -> str:
    """An id that a task takes. Raises BadInput."""
    from tracker.counting import check_id

    return check_id(value, name)


def checked_count(value: int) -> int:
    """A count that a task takes. Raises BadInput."""
    from tracker.events import MAX_COUNT

    if not 0 <= value <= MAX_COUNT:
        raise BadInput(f"count {value}: expected a whole number from 0 to {MAX_COUNT}")
    return value


def login_name() -> str:
    """Who is logged in, and so gives the command; "unknown" where the system does not tell."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def send(settings: "Settings", task: str, arguments: list[Any]) -> None:
    """Send a task by name. Raises Transient when the broker does not take it."""
    from kombu.exceptions import OperationalError

    from tracker.celery import app
    from tracker.setting_values import mask_url

    try:
        app.send_task(task, args=arguments, headers={"by": login_name()})
    except OperationalError as error:
        raise Transient(f"the broker at {mask_url(settings.broker_url)} does not take the task: {error}") from error
