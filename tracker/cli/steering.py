"""Commands that steer: `explain`, `reconcile`, `complete`, `fail`, `pause`, `resume`, `recover`."""

import json
from typing import TYPE_CHECKING

import click

from tracker.cli.acting import checked_id
from tracker.cli.deciding import ask, deciding
from tracker.cli.opening import load_settings, naming_redis, open_overview, refuse_job
from tracker.errors import BadInput, LostTurn, TrackerError, Transient, TurnedAway, UnknownInstance

if TYPE_CHECKING:
    from tracker.explaining import Told
    from tracker.overview import Overview
    from tracker.settings import Settings
    from tracker.steering import Steering
    from tracker.views import InstanceView
    from tracker.wiring import Rooms

EFFECTS = {
    "pushes": "Nothing is pushed or completed until it is resumed. Records are read on, and counts gather.",
    "bridge": "No record is read from Kafka until it is resumed. What has been read is counted, pushed and completed.",
}


@click.command(epilog="Example: tracker explain 8a1c…")
@click.argument("instance")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def explain(instance: str, as_json: bool) -> None:  # noqa: FBT001 -- a flag of the command line
    """
    Say what is known of INSTANCE, what is awaited, and what to do next.

    Asks the Dataset API, too. Exit code 1 when that does not answer, or turns us away.
    """
    from tracker import explaining

    settings = load_settings()
    overview = open_overview(settings)
    told = gather(settings, overview, make_rooms(settings), checked_id(instance, "instance id"))
    if told.view is None and told.instance is None:
        refuse_job(overview, instance)
    sentences = explaining.explain(told)
    click.echo(json.dumps({"id": instance, "sentences": sentences}, indent=2) if as_json else "\n".join(sentences))
    if told.instance is None and not told.unknown:
        raise Transient(f"{instance}: the Dataset API has not told what it knows")


@click.command(epilog="Examples: tracker reconcile 8a1c…; tracker reconcile 8a1c… --fix")
@click.argument("instance")
@click.option("--fix", is_flag=True, help="Do what the rules allow.")
@click.option("--dry-run", is_flag=True, help="Only say what that would be (default).")
@deciding
def reconcile(instance: str, *, fix: bool, dry_run: bool, by: str, reason: str, yes: bool) -> None:
    """
    Compare what the ledger and the Dataset API say of INSTANCE.

    With --fix: read an open PUT back, settle, retry what is parked, push what is owed, follow what was forgotten. No count
    is ever guessed. Exit code 1 when they do not agree (afterwards).
    """
    from tracker import explaining, forcing

    if fix and dry_run:
        raise BadInput("--fix and --dry-run: expected one of them")
    settings = load_settings()
    checked_id(instance, "instance id")
    overview, rooms = open_overview(settings), make_rooms(settings)
    found = explaining.compare(told := gather(settings, overview, rooms, instance))
    click.echo("\n".join(found.sentences))
    if found.agree:
        return
    if told.instance is None:
        hint = out_of_the_way(told.view) if told.unknown and told.view is not None else ""
        raise Transient(f"{instance}: it cannot be told whether they agree{hint}")
    if not fix or not found.remedy:
        raise Transient(f"{instance}: they do not agree{f'; --fix would {found.remedy}' if found.remedy else ''}")
    ask(f"It will be tried to {found.remedy}.", yes=yes)
    with naming_redis(settings):
        if told.view is None:
            overview.ledger.register(instance, told.instance.job_id, by)
        if told.view is not None and told.view.parked_since_s is not None:
            rooms.steering.retry_parked(instance, who=by, why=reason)
        outcome = rooms.run(forcing.settle(rooms.advancing, instance, who=by))
    click.echo(f"done: {outcome}")
    after = explaining.compare(gather(settings, overview, rooms, instance))
    click.echo("\n".join(after.sentences))
    if not after.agree:
        raise Transient(f"{instance}: they do not agree yet: {after.remedy or 'nothing that the rules allow would mend it'}")


@click.command(epilog="Example: tracker complete 8a1c… --force --reason 'the last file was empty'")
@click.argument("instance")
@click.option("--force", is_flag=True, help="Though observations are missing; without it use tracker check.")
@deciding
def complete(instance: str, *, force: bool, by: str, reason: str, yes: bool) -> None:
    """
    Set INSTANCE to completed by force, whatever is missing.

    What it owes becomes a dead letter. Its job follows when all its instances are done. Needs --force and --reason.
    """
    if not force:
        raise BadInput("--force is needed: without it tracker check completes what is complete")
    end(instance, "completed", by, reason, yes=yes)


@click.command(epilog="Example: tracker fail 8a1c… --reason 'the file is damaged'")
@click.argument("instance")
@deciding
def fail(instance: str, *, by: str, reason: str, yes: bool) -> None:
    """
    Set INSTANCE to failed. Needs --reason.

    What it owes becomes a dead letter. Its job is set to failed when all its instances have ended.
    """
    end(instance, "failed", by, reason, yes=yes)


@click.command(epilog="Example: tracker pause pushes --reason 'the Dataset API is upgraded'")
@click.argument("what", type=click.Choice(list(EFFECTS)))
@deciding
def pause(what: str, *, by: str, reason: str, yes: bool) -> None:
    """
    Pause the pushes, or the bridge, until they are resumed. Needs --reason.

    pushes: nothing is pushed or completed, counts gather. bridge: nothing is read, records wait in Kafka. It lasts over
    restarts; tracker health says who paused, when and why.
    """
    needed(reason)
    settings = load_settings()
    overview = open_overview(settings)
    ask(EFFECTS[what], yes=yes)
    with naming_redis(settings):
        new = steering_of(overview).pause(what, who=by, why=reason)
    click.echo(f"{what}: {'paused' if new else 'paused already'}; to go on: tracker resume {what}")


@click.command(epilog="Example: tracker resume pushes")
@click.argument("what", type=click.Choice(list(EFFECTS)))
@deciding
def resume(what: str, *, by: str, reason: str, yes: bool) -> None:
    """Let the pushes, or the bridge, go on."""
    settings = load_settings()
    overview = open_overview(settings)
    ask(f"{what}: will go on.", yes=yes)
    with naming_redis(settings):
        new = steering_of(overview).resume(what, who=by, why=reason)
    click.echo(f"{what}: {'resumed' if new else 'not paused'}")


@click.command(epilog='Example: tracker recover --reason "restored Redis from a backup" --yes')
@deciding
def recover(*, by: str, reason: str, yes: bool) -> None:
    """
    Have the ledger born anew from Kafka and the two APIs.

    The way out when the counts cannot be trusted. Everything is read again and compared with what the Dataset API has;
    nothing is counted twice. Until that is done, nothing is pushed or completed. Without --reason it is "tracker recover".
    """
    settings = load_settings()
    reason = reason or "tracker recover"
    if not reason.strip() or not reason.isprintable():
        raise BadInput(f"reason {reason!r}: expected printable characters")
    overview = open_overview(settings)
    view = overview.ledger_view()
    if view.id is None:
        raise Transient("there is no ledger: a bridge gives birth to it as soon as it is connected to Kafka")
    if view.void:
        click.echo(f"ledger {view.id} is void already ({view.void}); the next one is born as soon as a bridge sees it: tracker status")
        return
    alive = len(overview.heartbeats("bridge"))
    bridges = f"{alive} alive" if alive else "NONE is alive, so everything stands still until one is"
    ask(
        f"Ledger {view.id} is given up. A bridge reads all counts again from Kafka ({bridges}).\n"
        "Imports that have ended may not be shown here any more; the history and the APIs keep them.",
        yes=yes,
    )
    try:
        with naming_redis(settings):
            void = overview.ledger.void(f"a person asked for it: {reason}", by, ledger=view.id)
    except LostTurn as error:
        raise Transient(f"nothing was done: {error}") from error
    click.echo(f"ledger {void} is void; the next one is born as soon as a bridge sees it: tracker status")


def end(instance: str, state: str, by: str, reason: str, *, yes: bool) -> None:
    """Set an instance's state by force, as a worker would."""
    from tracker import forcing
    from tracker.instance import DONE, FAILED

    needed(reason)
    settings = load_settings()
    checked_id(instance, "instance id")
    overview, rooms = open_overview(settings), make_rooms(settings)
    told = gather(settings, overview, rooms, instance)
    if told.view is None:
        raise Transient(f"{instance} is not followed: tracker register {instance} first")
    became = told.instance.state if told.instance else f"not known ({told.no_answer})"
    if became in DONE | FAILED and told.view.ended_s is not None:
        raise Transient(f"{instance} had ended already: it is {became} and stays so")
    if told.unknown:
        raise Transient(f"{instance}: the Dataset API knows no such instance, so there is no state to set{out_of_the_way(told.view)}")
    if became in DONE | FAILED:
        ask(f"{instance} is {became} at the Dataset API already; that will be noted here.", yes=yes)
    else:
        ask(f"{instance}, now {became}, will be set to {state}. {becomes_a_letter(told.view.owed + (told.view.aside or 0))}", yes=yes)
    with naming_redis(settings):
        ended = rooms.run(forcing.end(rooms.advancing, instance, state, rooms.steering, who=by, why=reason))
    click.echo(f"{instance}: {ended.outcome}")
    if ended.outcome != state:
        raise Transient(f"{instance} had ended already: it is {ended.outcome} and stays so")


def out_of_the_way(view: "InstanceView") -> str:
    """Say what can be done instead with an instance that the API does not know."""
    if view.ended_s is not None:
        return ""
    drop = f"tracker parked drop {view.id}"
    return f". To give it up: {drop}" if view.parked_since_s is not None else f". It is parked soon: {drop} gives it up then"


def becomes_a_letter(owed: int) -> str:
    """Say what becomes of what is owed."""
    from tracker.findings import in_number

    return f"The {in_number(owed, 'observation')} that it owes become a dead letter." if owed else "It owes nothing."


def needed(reason: str) -> None:
    """Refuse a decision without a reason. Raises BadInput."""
    if not reason:
        raise BadInput("--reason is needed: say why, for those who look at it later")


def gather(settings: "Settings", overview: "Overview", rooms: "Rooms", instance_id: str) -> "Told":
    """All that the ledger knows and the Dataset API says of an instance. Its silence is told, not raised."""
    from tracker.explaining import Told
    from tracker.letters import Letters, Wanted

    with naming_redis(settings):
        view, ledger, now_s = overview.instance(instance_id), overview.ledger_view(), overview.ledger.now_s()
        letters = tuple(Letters(overview.ledger.client, overview.ledger.prefix).find(Wanted(instance=instance_id), now_s))
    answer, no_answer, unknown = None, "", False
    try:
        answer = rooms.run(rooms.dataset_api.get_instance(instance_id))
    except UnknownInstance:
        no_answer, unknown = "The Dataset API knows no such instance.", True
    except TurnedAway as error:
        no_answer = f"The Dataset API turns us away, see SERVICE_AUTH_TOKEN and DATASET_API_AUTH_TOKEN: {error}."
    except TrackerError as error:
        no_answer = f"The Dataset API at {settings.dataset_api_addr} (DATASET_API_ADDR) could not be asked: {str(error).rstrip('.')}."
    return Told(instance_id, view, answer, no_answer, ledger, letters, now_s, unknown)


def steering_of(overview: "Overview") -> "Steering":
    """The decisions on the same Redis."""
    from tracker.steering import Steering

    return Steering(overview.ledger.client, overview.ledger.prefix)


def make_rooms(settings: "Settings") -> "Rooms":
    """A worker's rooms, for one command."""
    import logging

    import structlog

    from tracker.wiring import Rooms

    # What a worker logs is no part of a command's answer.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return Rooms(settings)
