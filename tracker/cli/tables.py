"""How things are shown in a terminal."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tracker import views
from tracker.findings import SEE_STATUS, Finding, age_in_words, in_number, remark
from tracker.health import SET_ASIDE, Check
from tracker.history.entries import Entry
from tracker.instance import DONE, FAILED
from tracker.settings import SettingRow
from tracker.views import Figures, InstanceView, JobView, Page

COLOURS = {"OK": "green", "WARNING": "yellow", "CRITICAL": "red"}

WIDTH_OF_A_PIPE = 200
"""Characters of a line where no terminal says how wide it is."""

BAR_WIDTH = 20

MOST_NAMED = 3
"""Parked instances and jobs that the line about them names."""


def console() -> Console:
    """Where tables go: stdout, as wide as the terminal."""
    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE, highlight=False)


def plain_table(*titles: str) -> Table:
    """An empty table with these columns; those whose title begins with > are set to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title.removeprefix(">"), justify="right" if title.startswith(">") else "left", overflow="fold")
    return table


# -- health and settings --


def health_table(checks: Iterable[Check]) -> RenderableType:
    """The checks, one a line."""
    table = plain_table("check", "status", "message")
    for check in checks:
        if check.finding:
            table.add_row(check.name, _status(check.finding), escape(check.finding.message))
    return table


def _status(finding: Finding) -> Text:
    return Text(finding.status, COLOURS[finding.status])


def settings_table(rows: Sequence[SettingRow]) -> RenderableType:
    """The settings, those from the environment in bold."""
    table = plain_table("name", "value", "from", "default", "meaning")
    for row in rows:
        given = row.source == "environment"
        table.add_row(row.name, Text(row.value, "bold" if given else ""), row.source, Text(row.default, "dim"), escape(row.sentence))
    return table


# -- the whole --


def status_view(
    figures: Figures, instances: Page[InstanceView], jobs: Page[JobView], findings: dict[str, Finding], lag: str
) -> RenderableType:
    """Everything at a glance: a few figures, what is not well, jobs, instances."""
    parts: list[RenderableType] = [_figures(figures, lag), ""]
    unwell = [(name, finding) for name, finding in findings.items() if finding.status != "OK"]
    if unwell:
        parts += [
            Text.assemble(
                _status(finding), f" {name}: {_by_name(finding, figures, instances, jobs) if name == SET_ASIDE else finding.message}"
            )
            for name, finding in unwell
        ]
    else:
        parts.append(Text("OK: nothing is amiss here (tracker health asks the APIs, too)", "green"))
    if jobs.items:
        parts += ["", jobs_table(jobs, figures.now_s)]
    nothing = f"no instance is followed{f'; --all shows the {figures.finished:,} finished' if figures.finished else ''}"
    parts += ["", instances_table(instances, figures.now_s) if instances.items else Text(nothing, "dim")]
    return Group(*parts)


def _by_name(finding: Finding, figures: Figures, instances: Page[InstanceView], jobs: Page[JobView]) -> str:
    """What is set aside, with the names of the first few: who reads this has asked for the status already."""
    parked = [(view.id, view.parked_kind or "") for view in instances.items if view.parked_since_s is not None]
    commands = [f"tracker show {shlex.quote(parked[0][0])}" if len(parked) == 1 else "tracker parked list"] if parked else []
    commands += ["tracker dead-letters list"] if figures.dead_letters else []
    parked += [(job.id, "job") for job in jobs.items if job.parked_since_s is not None]
    named = ", ".join(f"{name} ({kind})" for name, kind in parked[:MOST_NAMED])
    more = ", …" if len(parked) > MOST_NAMED else ""
    message = finding.message.removesuffix(SEE_STATUS)
    lead = "; parked: " if ";" in message else ": "
    return "".join((message, f"{lead}{named}{more}" if named else "", f"; see {', '.join(commands)}" if commands else ""))


def _figures(figures: Figures, lag: str) -> RenderableType:
    book = figures.ledger
    waits = "pushes paused" if "pushes" in book.paused else "being born"
    state = "void" if book.void else "not verified" if not book.verified else "ready" if book.ready else waits
    queues = (
        "not known" if figures.queues is None else ", ".join(f"{name.removeprefix('tracker.')} {n}" for name, n in figures.queues.items())
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    more = "more than " if figures.owed_is_bounded else ""
    for name, text in (
        ("instances", f"{figures.followed} followed, {figures.finished} finished, {figures.settling} settling"),
        ("waiting", f"{figures.parked} parked, {figures.stuck} stuck"),
        ("owed", f"{more}{in_number(figures.owed, 'observation')} of {in_number(figures.owing, 'instance')}"),
        ("jobs", f"{figures.jobs_pending} pending, {figures.parked_jobs} parked"),
        ("troubles", f"{in_number(figures.dead_letters, 'dead letter')}, {in_number(figures.losses, 'loss', 'losses')} of Kafka records"),
        ("Kafka", lag),
        ("queues", f"{queues}; {figures.unacked if figures.unacked is not None else '?'} handed out"),
        ("ledger", f"{book.id or 'none'}, {state}, version {book.version}, {in_number(figures.births, 'birth')}"),
    ):
        table.add_row(name, escape(text))
    return table


# -- instances and jobs --


def instances_table(page: Page[InstanceView], now_s: float) -> RenderableType:
    """One page of instances, with how far each is."""
    table = plain_table("instance", "state", "progress", ">", ">inserted", ">total", ">owed", "job", "last record", "remark")
    for view in page.items:
        table.add_row(
            escape(view.id),
            Text(view.state, _colour(view)),
            _bar(view),
            _percent(view),
            f"{view.inserted:,}",
            "" if view.total is None else f"{view.total:,}",
            f"{view.owed:,}" if view.owed else "",
            escape(view.job_id or ""),
            f"{age_in_words(now_s - view.last_record_s)} ago" if view.last_record_s else "",
            escape(remark(view, now_s)),
        )
    return Group(table, *_rest(page, "instances"))


def _rest(page: Page[InstanceView] | Page[JobView], what: str) -> list[RenderableType]:
    left = page.total - page.offset - len(page.items)
    return [Text(f"… and {left:,} more {what} (--limit)", "dim")] if left > 0 else []


def _bar(view: InstanceView) -> RenderableType:
    """How much is confirmed of the total; empty while the total is not known."""
    if not view.total:
        return ""
    return ProgressBar(total=view.total, completed=min(view.inserted, view.total), width=BAR_WIDTH)


def _percent(view: InstanceView) -> str:
    return f"{100 * view.inserted / view.total:.0f} %" if view.total else ""


def _colour(view: InstanceView) -> str:
    if view.state in {views.PARKED, views.GIVEN_UP} or view.state in FAILED:
        return "red"
    return "green" if view.state in DONE else "yellow" if view.reason else ""


def jobs_table(page: Page[JobView], now_s: float) -> RenderableType:
    """One page of jobs."""
    table = plain_table("job", "state", "", ">instances", "remark")
    for job in page.items:
        parked = f"parked {age_in_words(now_s - job.parked_since_s)} ago" if job.parked_since_s is not None else ""
        notes = "; ".join(note for note in (parked, job.reason) if note)
        colour = "red" if job.state in FAILED or job.state == views.PARKED else "green" if job.state == "completed" else ""
        table.add_row(
            escape(job.id),
            Text(job.state, colour),
            "pending" if job.pending and job.state != "pending" else "",
            str(len(job.instances)),
            escape(notes),
        )
    return Group(table, *_rest(page, "jobs"))


def instance_view(view: InstanceView, now_s: float) -> RenderableType:
    """All there is to say of one instance."""

    def moment(seconds: float | None) -> str:
        if seconds is None:
            return ""
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC, {age_in_words(now_s - seconds)} ago"

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    total = "not known yet" if view.total is None else f"{view.total:,}"
    for name, text in (
        ("instance", view.id),
        ("state", view.state),
        ("job", view.job_id or "not known"),
        ("inserted", f"{view.inserted:,} confirmed of {total} {f'({_percent(view)})' if view.total else ''}".rstrip()),
        ("owed", f"{view.owed:,}"),
        ("counted here", f"{view.counted:,}{f', by hand {view.by_hand:,}' if view.by_hand else ''}"),
        ("remark", remark(view, now_s)),
        ("first seen", moment(view.first_seen_s)),
        ("last record", moment(view.last_record_s)),
        ("ended", moment(view.ended_s)),
    ):
        if text:
            table.add_row(name, escape(text))
    return table


# -- history --


def history_table(entries: Sequence[Entry]) -> RenderableType:
    """Entries of the history, one a line, as they come."""
    table = plain_table("time (UTC)", "instance", "job", "what happened")
    for entry in entries:
        time = f"{datetime.fromtimestamp(entry.at_s, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]
        table.add_row(time, escape(entry.instance_id or ""), escape(entry.job_id or ""), escape(entry.sentence))
    return table
