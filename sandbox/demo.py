"""
Imports several jobs on a whole system of its own, and checks every figure: `python -m sandbox.demo [--keep] [--observations N]`.

Five jobs of one to four instances are announced and counted in records of 1,000 with remainders; the dimension extractor
tells the totals part-way, and one instance fails. Exits with 0 when everything published was counted and everything that had
to be completed was, with 1 when a figure disagrees or the time is up, saying which.
"""

import contextlib
import json
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import click
import httpx
from kafka.errors import KafkaError
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sandbox.import_plan import BATCH_SIZE, Outcome, PlannedInstance, disagreements, job_end_state, plan
from sandbox.kafka import KafkaFailed
from sandbox.stack import PROCESSES, Generation, Stack, StackFailed, bare_environment
from sandbox.valkey import ValkeyFailed
from tracker import settings
from tracker.errors import BadInput

POLL_S = 0.1

LINE_EVERY_S = 2.0
"""Between two lines of progress where there is no terminal to draw on."""

OPEN_INSTANCE, OPEN_JOB, OPEN_TOTAL = "demo-open", "demo-job", 1000
"""What `--keep` leaves unfinished."""

TO_EXPORT = (
    "REDIS_URL",
    "KAFKA_ADDR",
    "DATASET_API_ADDR",
    "IMPORT_API_ADDR",
    "SERVICE_AUTH_TOKEN",
    "DATASET_API_AUTH_TOKEN",
    "IMPORT_API_AUTH_TOKEN",
    "BIND_ADDR",
)
"""The settings that lead to this stack, as far as it has them."""

Show = Callable[[Sequence[Outcome]], None]


def publish(stack: Stack, planned: Sequence[PlannedInstance]) -> dict[str, float]:
    """
    Play the neighbours: jobs, instances and files, then half of the records, the totals and the failure, then the other half.

    Returns when each instance's last record was acknowledged, in Unix seconds.
    """
    for job_id in _job_ids(planned):
        stack.import_api.add_job(job_id, [each.id for each in planned if each.job_id == job_id])
    for each in planned:
        stack.dataset_api.add_instance(each.id, each.job_id)
        stack.publish_file(each.id, each.job_id if stack.generation == "today" else None)
    last_record = _publish_half(stack, planned, 0)
    for each in planned:
        stack.dataset_api.set_total(each.id, each.total)
        if each.fails:
            stack.dataset_api.set_state(each.id, "failed")
    return last_record | _publish_half(stack, planned, 1)


def _publish_half(stack: Stack, planned: Sequence[PlannedInstance], half: int) -> dict[str, float]:
    for each in planned:
        stack.publish_inserted(each.id, each.halves[half], BATCH_SIZE, flush=False)
    stack.flush()
    now = time.time()
    return {each.id: now for each in planned if each.halves[half]}


def outcomes(stack: Stack, planned: Sequence[PlannedInstance], last_record: dict[str, float] | None = None) -> list[Outcome]:
    """What the APIs say now; with `last_record`, also how long each completion took by the Dataset API's own journal."""
    counts, states, jobs = stack.dataset_api.counts(), stack.dataset_api.states(), stack.import_api.states()
    took: dict[str, float] = {}
    if last_record is not None:
        for call in stack.dataset_api.calls(method="PUT", path="/instances/[^/]+$", applied=True):
            instance_id = call["path"].rpartition("/")[2]
            if json.loads(call["body"]).get("state") == "completed":
                took[instance_id] = call["at"] - last_record[instance_id]
    return [
        Outcome(each, counts.get(each.id, 0), states.get(each.id, "missing"), jobs.get(each.job_id, "missing"), took.get(each.id))
        for each in planned
    ]


def follow(stack: Stack, planned: Sequence[PlannedInstance], show: Show, timeout_s: float) -> None:
    """Show how far the count is until all is as planned. Raises StackFailed when that takes longer than `timeout_s`."""

    def all_is_as_planned() -> bool:
        now = outcomes(stack, planned)
        show(now)
        return not disagreements(now)

    stack.wait_until(all_is_as_planned, timeout_s, "the end of the import", poll_s=POLL_S)


@contextlib.contextmanager
def progress(console: Console, planned: Sequence[PlannedInstance]) -> Iterator[Show]:
    """A bar for each job on a terminal, else a line every few seconds."""
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {
            job_id: bars.add_task(job_id, total=sum(each.published for each in planned if each.job_id == job_id), state="")
            for job_id in _job_ids(planned)
        }

        def show(now: Sequence[Outcome]) -> None:
            for job_id, task in tasks.items():
                ours = [outcome for outcome in now if outcome.planned.job_id == job_id]
                bars.update(task, completed=sum(outcome.counted for outcome in ours), state=ours[0].job_state)

        yield show


def _lines(console: Console) -> Show:
    due = 0.0

    def show(now: Sequence[Outcome]) -> None:
        nonlocal due
        if time.monotonic() < due and disagreements(now):
            return
        due = time.monotonic() + LINE_EVERY_S
        counted, published = sum(each.counted for each in now), sum(each.planned.published for each in now)
        ended = sum(each.state == each.planned.end_state for each in now)
        jobs = {each.planned.job_id: each.job_state for each in now}
        jobs_ended = sum(state == job_end_state([each.planned for each in now], job_id) for job_id, state in jobs.items())
        console.print(f"counted {counted:,} of {published:,}; ended: {ended} of {len(now)} instances, {jobs_ended} of {len(jobs)} jobs")

    return show


def table(now: Sequence[Outcome]) -> Table:
    """Published against counted, and the end of every instance and job. *Took*: from its last record to `completed`."""
    drawn = Table("job", "instance", "state", title="What the two APIs say", box=SIMPLE_HEAD)
    for heading in ("published", "counted", "took"):
        drawn.add_column(heading, justify="right")
    shown_job = ""
    for each in now:
        job = "" if each.planned.job_id == shown_job else f"{each.planned.job_id}: {each.job_state}"
        shown_job = each.planned.job_id
        took = "" if each.took_s is None else f"{each.took_s:.2f} s"
        drawn.add_row(job, each.planned.id, each.state, f"{each.planned.published:,}", f"{each.counted:,}", took)
    return drawn


def run(stack: Stack, planned: Sequence[PlannedInstance], console: Console, timeout_s: float) -> bool:
    """Import on a stack that is up, and report. Returns whether all is as planned."""
    started = time.monotonic()
    last_record = publish(stack, planned)
    late = None
    with progress(console, planned) as show:
        try:
            follow(stack, planned, show, timeout_s)
        except StackFailed as error:
            late = error
    took_s = time.monotonic() - started
    final = outcomes(stack, planned, last_record)
    console.print(table(final))
    wrong = disagreements(final)
    for line in wrong:
        console.print(f"[red]wrong:[/] {line}")
    if late is not None:
        console.print(f"[red]time is up:[/] {late}")
        console.print(f"what each process said last: tail {stack.folder}/*.log")
    if not wrong:
        puts = sum(number for answer, number in stack.dataset_api.stats()["answers"].items() if answer.startswith("PUT"))
        published, records = sum(each.published for each in planned), sum(each.records for each in planned)
        console.print(
            f"[green]all agree:[/] {published:,} observations in {records:,} records, {puts:,} PUTs to the Dataset API, {took_s:.1f} s"
        )
    return not wrong


def addresses(stack: Stack) -> Table:
    """Where everything listens, for a look around."""
    drawn = Table("what", "where", title="Running until Ctrl-C", box=SIMPLE_HEAD)
    drawn.add_row("status page", f"{stack.web_url}/")
    drawn.add_row("Dataset API", f"{stack.dataset_api.url}/instances")
    drawn.add_row("Import API", f"{stack.import_api.url}/jobs")
    drawn.add_row("Kafka", stack.kafka.address)
    drawn.add_row("Valkey", stack.valkey.url)
    drawn.add_row("logs", str(stack.folder))
    return drawn


def leave_open(stack: Stack) -> None:
    """One more instance that is not done, so that there is something to add counts to by hand."""
    stack.import_api.add_job(OPEN_JOB, [OPEN_INSTANCE])
    stack.dataset_api.add_instance(OPEN_INSTANCE, OPEN_JOB, total=OPEN_TOTAL)
    stack.publish_file(OPEN_INSTANCE, OPEN_JOB if stack.generation == "today" else None)


def paste(stack: Stack) -> str:
    """What a person pastes into another shell, in this folder, to speak to all that runs here."""
    named = {name: stack.environment[name] for name in TO_EXPORT if name in stack.environment}
    header = "Authorization: Bearer $SERVICE_AUTH_TOKEN" if stack.generation == "today" else "Internal-token: $DATASET_API_AUTH_TOKEN"
    return "\n".join(
        (
            "For another shell, in this folder:",
            "",
            f"export {' '.join(f'{name}={shlex.quote(value)}' for name, value in named.items())}",
            ".venv/bin/tracker status --all",
            f'curl -H "{header}" "$DATASET_API_ADDR/instances/{OPEN_INSTANCE}"',
            "",
            f"{OPEN_INSTANCE} waits for {OPEN_TOTAL:,} observations: .venv/bin/tracker add {OPEN_INSTANCE} 400 --key try-1",
        )
    )


def _job_ids(planned: Sequence[PlannedInstance]) -> list[str]:
    return list(dict.fromkeys(each.job_id for each in planned))


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, and one instance unfinished, until Ctrl-C.")
@click.option("--observations", type=click.IntRange(min=100), default=300_000, show_default=True)
@click.option("--generation", type=click.Choice(["2017", "today"]), default="today", show_default=True, help="Of the two APIs.")
@click.option("--timeout", "timeout_s", type=float, default=120.0, show_default=True, help="Seconds for the import.")
def main(*, keep: bool, observations: int, generation: Generation, timeout_s: float) -> None:
    """Import several jobs on real Kafka and Valkey, and check every figure."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    try:
        settings.load(bare_environment())
    except BadInput as error:
        raise click.UsageError(str(error)) from error
    folder = Path(tempfile.mkdtemp(prefix="import-tracker-demo-"))
    signal.signal(signal.SIGTERM, _interrupt)
    agreed = False
    try:
        console.print(f"starting Kafka, Valkey, the two APIs ({generation}) and {', '.join(PROCESSES)}")
        started = time.monotonic()
        with Stack(generation=generation, folder=folder) as stack:
            console.print(f"up after {time.monotonic() - started:.1f} s")
            agreed = run(stack, plan(observations), console, timeout_s)
            if keep:
                leave_open(stack)
                console.print(addresses(stack))
                click.echo(paste(stack))
                signal.pause()
    except KeyboardInterrupt:
        console.print("interrupted: everything is ended")
    except (StackFailed, KafkaFailed, KafkaError, ValkeyFailed, httpx.HTTPError, OSError) as error:
        console.print(f"[red]failed:[/] {error}")
    if agreed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        console.print(f"the logs are in {folder}")
    sys.exit(0 if agreed else 1)


if __name__ == "__main__":
    main()
