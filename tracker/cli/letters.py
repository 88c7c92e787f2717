"""`tracker dead-letters`: look at what could not be counted, have it counted after all, or give it up."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tracker.cli.acting import checked_count, checked_id
from tracker.cli.deciding import age, ask, deciding, exactly_one_way
from tracker.cli.opening import load_settings, naming_redis, open_overview
from tracker.errors import BadInput, Transient

if TYPE_CHECKING:
    from tracker.events import Kind
    from tracker.letters import Letters, Meaning, Replayed, Wanted
    from tracker.settings import Settings
    from tracker.views import DeadLetter

Function = TypeVar("Function", bound=Callable[..., Any])

NONE = "no dead letter is like that"

TOLD_ONE_BY_ONE = 20
"""Letters that an act tells of by name; of more it tells only those that went another way than the rest."""


def filters(function: Function) -> Function:
    """Add the options that say which letters are meant."""
    for option in (
        click.option("--older-than", "older_than_s", callback=age, metavar="DURATION", help="Those older than this (10m, 36h)."),
        click.option("--saying", metavar="TEXT", help="Those whose reason contains this."),
        click.option("--what", type=click.Choice(["undecodable", "counts"]), help="Undecodable records, or counts of an instance."),
        click.option("--job", metavar="JOB", help="Those of this job."),
        click.option("--instance", metavar="INSTANCE", help="Those of this instance."),
        click.option("--topic", metavar="TOPIC", help="Those from this topic."),
    ):
        function = option(function)
    return function


@click.group(
    "dead-letters",
    context_settings={"max_content_width": 100},
    epilog="Examples: tracker dead-letters list; tracker dead-letters show LETTER; tracker dead-letters replay LETTER",
)
def dead_letters() -> None:
    """
    Look at what could not be counted; replay or drop it.

    A dead letter is a record that cannot be decoded, or counts that the Dataset API took no more. It is kept until
    somebody decides about it.
    """


@dead_letters.command("list", epilog="Examples: tracker dead-letters list; tracker dead-letters list --what undecodable --older-than 1h")
@filters
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1_000_000), help="Letters to show, the oldest first.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def list_(limit: int, as_json: bool, **wanted: Any) -> None:  # noqa: ANN401, FBT001 -- a flag of the command line; the filters as options
    """List the dead letters, the oldest first."""
    from tracker import views
    from tracker.cli import letter_tables, tables

    settings, letters, now_s = opened()
    with naming_redis(settings):
        found = list(letters.find(meant(wanted), now_s))
    if as_json:
        click.echo(json.dumps({"items": views.as_json(found[:limit]), "total": len(found)}, indent=2))
        return
    if not found:
        click.echo("no dead letter" + (" is like that" if any(value is not None for value in wanted.values()) else ""))
        return
    tables.console().print(letter_tables.letters_table(found[:limit], len(found), now_s))


@dead_letters.command("show", epilog="Example: tracker dead-letters show 1795537990400-0 --raw record.bin")
@click.argument("letter")
@click.option("--raw", "file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write its bytes to this file.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
def show(letter: str, file: Path | None, as_json: bool) -> None:  # noqa: FBT001 -- a flag of the command line
    """Show one dead letter, with the bytes of its record and what this release makes of them."""
    from tracker import views
    from tracker.cli import letter_tables, tables
    from tracker.letters import raw_bytes

    settings, letters, now_s = opened()
    found = one(letters, letter, settings)
    if file is not None:
        if found.raw is None:
            raise BadInput(f"{letter}: has no bytes, it holds counts")
        try:
            file.write_bytes(raw_bytes(found))
        except OSError as error:
            raise Transient(f"{file}: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps(views.as_json(found), indent=2))
        return
    tables.console().print(letter_tables.letter_view(found, raw_bytes(found), meaning_in_words(found, settings), now_s))
    if file is not None:
        click.echo(f"{len(raw_bytes(found)):,} bytes written to {file}")


@dead_letters.command(
    "replay",
    epilog="Examples: tracker dead-letters replay 1795537990400-0; tracker dead-letters replay --all --what undecodable --yes; "
    "tracker dead-letters replay 1795537990400-0 --as 8a1c… 500 --reason 'told by the importer'",
)
@click.argument("ids", nargs=-1, metavar="[LETTER]...")
@filters
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--as", "meaning", nargs=2, type=(str, int), metavar="INSTANCE COUNT", help="What the one undecodable record means.")
@click.option("--perhaps-counted", is_flag=True, help="Those too that have perhaps been counted already.")
@deciding
@click.option("--json", "as_json", is_flag=True, help="Write what became of each as JSON.")
def replay(
    ids: tuple[str, ...],
    *,
    everything: bool,
    meaning: tuple[str, int] | None,
    perhaps_counted: bool,
    by: str,
    reason: str,
    yes: bool,
    as_json: bool,
    **wanted: Any,  # noqa: ANN401 -- the filters as options
) -> None:
    """
    Have dead letters counted after all, each once.

    Counts become owed again and are pushed. An undecodable record is counted as what this release makes of its bytes, or
    as --as says. One that has perhaps been counted is left alone unless --perhaps-counted is given. Of a published instance
    the Dataset API takes no counts: they come back as a dead letter. Exit code 1 when one is not replayed.
    """
    from tracker.letters import Meaning

    exactly_one_way(ids, wanted, everything=everything, such_as="--what")
    settings, letters, now_s = opened()
    given = None if meaning is None else Meaning(checked_id(meaning[0], "instance id"), checked_count(meaning[1]))
    found = selected(letters, ids, wanted, settings, now_s)
    if not found and not as_json:
        click.echo(NONE)
        return
    if given and (len(found) != 1 or found[0].what != "undecodable"):
        raise BadInput("--as: expected the id of one undecodable record")
    work, stays = [], []
    for letter in found:
        try:
            work.append((letter, given or understood(letter, settings)))
        except BadInput as error:
            stays.append(str(error))
    if work:
        ask("\n".join((*plan(work), *(f"not replayed: {text}" for text in stays[:TOLD_ONE_BY_ONE]))), yes=yes, aside=as_json)
    results = []
    with naming_redis(settings):
        for letter, what in work:
            results.append(letters.replay(letter, what, who=by, why=reason, perhaps_counted=perhaps_counted))
    tell_replayed(results, as_json=as_json, few=len(work) <= TOLD_ONE_BY_ONE)
    perhaps = [result for result in results if result.outcome == "perhaps counted"]
    lines = [f"{result.letter_id}: perhaps counted already: {result.why}; left alone without --perhaps-counted" for result in perhaps]
    lines += [f"{result.letter_id}: there is no such dead letter any more" for result in results if result.outcome == "gone"]
    if lines or stays:
        raise Transient("\n".join((*lines, *stays)))


@dead_letters.command("drop", epilog="Example: tracker dead-letters drop --what undecodable --saying 'no value' --reason tombstones")
@click.argument("ids", nargs=-1, metavar="[LETTER]...")
@filters
@click.option("--all", "everything", is_flag=True, help="All of them.")
@deciding
def drop(ids: tuple[str, ...], *, everything: bool, by: str, reason: str, yes: bool, **wanted: Any) -> None:  # noqa: ANN401 -- filters
    """
    Give dead letters up: they are not counted.

    A dropped record stays dropped when a birth reads it again. Dropped counts are read again by the next birth as ever.
    """
    exactly_one_way(ids, wanted, everything=everything, such_as="--what")
    settings, letters, now_s = opened()
    found = selected(letters, ids, wanted, settings, now_s)
    if not found:
        click.echo(NONE)
        return
    lost = sum(letter.count or 0 for letter in found)
    text = f"{number(found)} will be dropped, never to be counted" + (f", {lost:,} observations among them." if lost else ".")
    ask(text, yes=yes)
    with naming_redis(settings):
        dropped = [letter.id for letter in found if letters.drop(letter.id, who=by, why=reason)]
    click.echo(f"{number(dropped)} dropped")


def opened() -> "tuple[Settings, Letters, float]":
    """The settings, the dead letters of a Redis that answers, and its time."""
    from tracker.letters import Letters

    settings = load_settings()
    overview = open_overview(settings)
    with naming_redis(settings):
        return settings, Letters(overview.ledger.client, overview.ledger.prefix), overview.ledger.now_s()


def meant(wanted: dict[str, Any]) -> "Wanted":
    """The filters as one value."""
    from tracker.letters import Wanted

    return Wanted(**wanted)


def one(letters: "Letters", letter_id: str, settings: "Settings") -> "DeadLetter":
    """The letter with this id. Raises Transient when there is none."""
    with naming_redis(settings):
        letter = letters.letter(letter_id)
    if letter is None:
        raise Transient(f"{letter_id}: there is no such dead letter; it may have been replayed or dropped")
    return letter


def selected(letters: "Letters", ids: tuple[str, ...], wanted: dict[str, Any], settings: "Settings", now_s: float) -> "list[DeadLetter]":
    """The letters that a command names, before any of them is touched."""
    if ids:
        return [one(letters, letter_id, settings) for letter_id in dict.fromkeys(ids)]
    with naming_redis(settings):
        return list(letters.find(meant(wanted), now_s))


def kinds(settings: "Settings") -> "dict[str, Kind]":
    """What the records of each topic are."""
    return {settings.import_observations_inserted_topic: "counts", settings.input_file_available_topic: "registrations"}


def understood(letter: "DeadLetter", settings: "Settings") -> "Meaning":
    """What this release makes of a letter. Raises BadInput."""
    from tracker.letters import understand

    return understand(letter, kinds(settings))


def meaning_in_words(letter: "DeadLetter", settings: "Settings") -> str:
    """What a replay would count."""
    try:
        meaning = understood(letter, settings)
    except BadInput as error:
        return str(error).partition(": ")[2]
    return in_words(meaning)


def in_words(meaning: "Meaning") -> str:
    """Say what a letter is counted as."""
    if meaning.count is None:
        return f"registers {meaning.instance_id}"
    return f"counts {meaning.count:,} for {meaning.instance_id}"


def plan(work: "Sequence[tuple[DeadLetter, Meaning]]") -> list[str]:
    """What a replay will do, a line for each letter or for all of them."""
    if len(work) <= TOLD_ONE_BY_ONE:
        return [f"{letter.id}: {in_words(meaning)}" for letter, meaning in work]
    total = sum(meaning.count or 0 for _, meaning in work)
    instances = len({meaning.instance_id for _, meaning in work})
    return [f"{len(work):,} dead letters will be replayed: {total:,} observations of {instances:,} instances"]


def tell_replayed(results: "Sequence[Replayed]", *, as_json: bool, few: bool) -> None:
    """Say what became of each, or of all."""
    from tracker import views

    if as_json:
        click.echo(json.dumps({"items": views.as_json(results)}, indent=2))
        return
    replayed = [result for result in results if result.outcome == "replayed"]
    for result in replayed:
        if few or result.parked:
            waits = "; the instance is parked, so it waits: tracker parked retry" if result.parked else ""
            click.echo(f"{result.letter_id}: replayed{waits}")
    if not few:
        click.echo(f"{number(replayed)} replayed")


def number(letters: Sequence[object]) -> str:
    """How many letters, in words."""
    return f"{len(letters):,} dead letter{'' if len(letters) == 1 else 's'}"
