"""`tracker parked`: instances and jobs that wait for a person, to be looked at again or given up."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tracker.cli.deciding import age, ask, deciding, exactly_one_way
from tracker.cli.opening import load_settings, naming_redis, open_overview
from tracker.errors import BadInput, Transient

if TYPE_CHECKING:
    from tracker.overview import Overview
    from tracker.settings import Settings
    from tracker.steering import Steering
    from tracker.views import InstanceView, JobView

Function = TypeVar("Function", bound=Callable[..., Any])

MOST = 100_000
"""Parked instances and jobs that are looked through."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The parked instances and jobs that a command means."""

    instances: "tuple[InstanceView, ...]"
    jobs: "tuple[JobView, ...]"

    @property
    def owed(self) -> int:
        """What the instances owe, and what is set aside for them."""
        return sum(view.owed + (view.aside or 0) for view in self.instances)

    @property
    def in_words(self) -> str:
        """How many."""
        counted = [(self.instances, "instance"), (self.jobs, "job")]
        return " and ".join(f"{len(some):,} {noun}{'' if len(some) == 1 else 's'}" for some, noun in counted if some) or "nothing"


def filters(function: Function) -> Function:
    """Add the options that say which are meant."""
    for option in (
        click.option("--older-than", "older_than_s", callback=age, metavar="DURATION", help="Parked for longer than this (10m, 36h)."),
        click.option("--saying", metavar="TEXT", help="Those whose reason contains this."),
        click.option("--kind", type=click.Choice(["unknown", "refused", "foreign"]), help="Instances parked for this."),
        click.option("--job", metavar="JOB", help="This job, and its instances."),
        click.option("--instance", metavar="INSTANCE", help="This instance."),
    ):
        function = option(function)
    return function


@click.group(
    "parked",
    context_settings={"max_content_width": 100},
    epilog="Examples: tracker parked list; tracker parked show INSTANCE; tracker parked retry INSTANCE",
)
def parked() -> None:
    """
    Look at instances and jobs that wait for a person; retry them, or give them up.

    The kinds: unknown (the Dataset API does not know it), refused (it refuses the count), foreign (somebody else counts).
    Parked instances gather counts all the same.
    """


@parked.command("list", epilog="Example: tracker parked list --kind unknown --older-than 1h")
@filters
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def list_(as_json: bool, **wanted: Any) -> None:  # noqa: ANN401, FBT001 -- a flag of the command line; the filters as options
    """List what is parked, longest first."""
    from tracker import views
    from tracker.cli import tables

    settings, overview = opened()
    with naming_redis(settings):
        found, now_s = selected(overview, (), wanted), overview.ledger.now_s()
    if as_json:
        click.echo(json.dumps({"instances": views.as_json(found.instances), "jobs": views.as_json(found.jobs)}, indent=2))
    elif not found.instances and not found.jobs:
        click.echo("nothing is parked" + (" like that" if any(value is not None for value in wanted.values()) else ""))
    if as_json:
        return
    if found.instances:
        tables.console().print(tables.instances_table(views.Page(found.instances, len(found.instances), MOST, 0), now_s))
    if found.jobs:
        tables.console().print(tables.jobs_table(views.Page(found.jobs, len(found.jobs), MOST, 0), now_s))


@parked.command("show", epilog="Example: tracker parked show 8a1c…")
@click.argument("name", metavar="INSTANCE|JOB")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(name: str, as_json: bool) -> None:  # noqa: FBT001 -- a flag of the command line
    """Show one parked instance or job."""
    from tracker import views
    from tracker.cli import tables

    settings, overview = opened()
    with naming_redis(settings):
        found, now_s = selected(overview, (name,), {}), overview.ledger.now_s()
    if as_json:
        click.echo(json.dumps(views.as_json((*found.instances, *found.jobs)[0]), indent=2))
        return
    for view in found.instances:
        tables.console().print(tables.instance_view(view, now_s))
    if found.jobs:
        tables.console().print(tables.jobs_table(views.Page(found.jobs, len(found.jobs), 1, 0), now_s))


@parked.command("retry", epilog="Examples: tracker parked retry 8a1c…; tracker parked retry --kind refused --yes")
@click.argument("names", nargs=-1, metavar="[INSTANCE|JOB]...")
@filters
@click.option("--all", "everything", is_flag=True, help="All that is parked.")
@deciding
def retry(names: tuple[str, ...], *, everything: bool, by: str, reason: str, yes: bool, **wanted: Any) -> None:  # noqa: ANN401 -- filters
    """
    Have parked instances and jobs looked at by the next check.

    For when the cause is mended. What cannot go on all the same is parked again.
    """
    from tracker.findings import in_number

    exactly_one_way(names, wanted, everything=everything, such_as="--kind")
    settings, overview = opened()
    steering = steering_of(overview)
    with naming_redis(settings):
        found = selected(overview, names, wanted)
        if not found.instances and not found.jobs:
            click.echo("nothing is parked like that")
            return
        ask(f"{found.in_words} will be looked at again, {in_number(found.owed, 'observation')} not confirmed.", yes=yes)
        done = sum(steering.retry_parked(view.id, who=by, why=reason) for view in found.instances)
        done += sum(steering.retry_job(job.id, who=by, why=reason) for job in found.jobs)
    click.echo(f"{done:,} will be looked at by the next check: tracker status")


@parked.command("drop", epilog="Example: tracker parked drop 8a1c… --reason 'a typo'")
@click.argument("names", nargs=-1, metavar="[INSTANCE|JOB]...")
@filters
@click.option("--all", "everything", is_flag=True, help="All that is parked.")
@deciding
def drop(names: tuple[str, ...], *, everything: bool, by: str, reason: str, yes: bool, **wanted: Any) -> None:  # noqa: ANN401 -- filters
    """
    Give parked instances and jobs up.

    What an instance owes becomes a dead letter, which can be replayed. Exit code 1 when one is no longer parked, or held.
    """
    exactly_one_way(names, wanted, everything=everything, such_as="--kind")
    settings, overview = opened()
    steering = steering_of(overview)
    remember_s, most = settings.finished_instance_ttl_s, settings.dead_letters_max
    left = []
    with naming_redis(settings):
        found = selected(overview, names, wanted)
        if not found.instances and not found.jobs:
            click.echo("nothing is parked like that")
            return
        ask(f"{found.in_words} will be given up.{become_letters(found.owed)}", yes=yes)
        for view in found.instances:
            count = steering.give_up(view.id, who=by, why=reason, remember_s=remember_s, dead_letters_max=most)
            if count is None:
                left.append(f"{view.id}: not given up, it is no longer parked or a worker holds it")
            else:
                click.echo(f"{view.id}: given up{f', {count:,} observations are a dead letter' if count else ''}")
        for job in found.jobs:
            if steering.drop_job(job.id, who=by, why=reason):
                click.echo(f"{job.id}: given up")
            else:
                left.append(f"{job.id}: not given up, it is no longer parked")
    if left:
        raise Transient("\n".join(left))


def become_letters(owed: int) -> str:
    """Say what becomes of what is owed or set aside; nothing where nothing is."""
    if not owed:
        return ""
    what = (
        "observations that are not confirmed become dead letters" if owed > 1 else "observation that is not confirmed becomes a dead letter"
    )
    return f" The {owed:,} {what}."


def opened() -> "tuple[Settings, Overview]":
    """The settings, and the view of a Redis that answers."""
    settings = load_settings()
    return settings, open_overview(settings)


def steering_of(overview: "Overview") -> "Steering":
    """The decisions on the same Redis."""
    from tracker.steering import Steering

    return Steering(overview.ledger.client, overview.ledger.prefix)


def selected(overview: "Overview", names: Sequence[str], wanted: dict[str, Any]) -> Waiting:
    """What is parked and meant. Raises Transient for a name that is not parked."""
    if wanted.get("instance") and wanted.get("job"):
        raise BadInput("name what is meant by --instance or by --job, not by both")
    now_s = overview.ledger.now_s()
    if names:
        instances = tuple(view for name in dict.fromkeys(names) if (view := overview.instance(name)) and view.parked_since_s is not None)
        strangers = [name for name in dict.fromkeys(names) if name not in {view.id for view in instances}]
        jobs = tuple(job for job in overview.jobs("parked", limit=MOST).items if job.id in strangers) if strangers else ()
        missing = [name for name in strangers if name not in {job.id for job in jobs}]
        if missing:
            raise Transient("\n".join(f"{name}: is not parked" for name in missing) + "; tracker parked list shows what is")
        return Waiting(instances, jobs)

    def takes(reason: str, since_s: float | None) -> bool:
        saying, older = wanted.get("saying"), wanted.get("older_than_s")
        return (saying is None or saying.casefold() in reason.casefold()) and (older is None or now_s - (since_s or now_s) > older)

    instances = tuple(
        view
        for view in overview.instances("parked", limit=MOST).items
        if takes(view.reason, view.parked_since_s)
        and wanted.get("instance") in {None, view.id}
        and wanted.get("job") in {None, view.job_id}
        and wanted.get("kind") in {None, view.parked_kind}
    )
    of_instances_only = wanted.get("instance") is not None or wanted.get("kind") is not None
    jobs = tuple(
        job
        for job in (() if of_instances_only else overview.jobs("parked", limit=MOST).items)
        if takes(job.reason, job.parked_since_s) and wanted.get("job") in {None, job.id}
    )
    return Waiting(instances, jobs)
