"""
The pages for people, as HTML: imports, one job, one instance, dead letters, what is parked, the parts' health.

A page is a frame and, inside it, the view: everything that changes. The view is rendered to lines, of which a live page is
sent those that are another than before (`live`). Every method blocks, and runs in a thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from tracker.errors import LedgerUnavailable
from tracker.findings import age_in_words, in_number, remark
from tracker.health import Board, Check
from tracker.history.reading import History
from tracker.views import InstanceView, JobView
from tracker.web import catalogue, words
from tracker.web.asking import Asked
from tracker.web.catalogue import Wanted
from tracker.web.sampling import SLOT_S, SLOTS
from tracker.web.timeline import Timelines
from tracker.web.watching import Watch

JOBS_A_PAGE, INSTANCES_A_PAGE, LETTERS_A_PAGE = 20, 50, 50

OF_EACH_JOB = 5
"""Instances of a job that the list of jobs shows; the job's own page has all."""

CURVE_WIDTH, CURVE_HEIGHT = 300, 40
"""Of the drawing of the last minutes: a unit of width is a second."""

SORT_NAMES = {
    "attention": "what needs a person first",
    "newest": "newest first",
    "record": "last record first",
    "name": "by name",
    "progress": "nearly done first",
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page's view, its title, and the HTTP status it is answered with."""

    title: str
    lines: tuple[str, ...]
    status: int = 200


@dataclass(frozen=True, slots=True)
class Line:
    """One instance in a list. `left_s` is None where the end cannot be told, `pace` (observations per second) likewise."""

    view: InstanceView
    remark: str
    pace: float | None
    left_s: float | None


@dataclass(frozen=True, slots=True)
class Card:
    """
    One job in the list of jobs: sums over all its instances, and the first of those that match.

    `total` is None while that of one instance is not known. `more` are matching instances that are not shown.
    """

    view: JobView
    lines: tuple[Line, ...]
    more: int
    instances: int
    inserted: int
    total: int | None
    left_s: float | None
    last_s: float | None


def environment() -> jinja2.Environment:
    """The templates: what a template misspells is an error, and everything is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("tracker.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= words.FILTERS
    made.globals |= words.GLOBALS | {"in_number": in_number, "age": age_in_words}
    return made


class Pages:
    """Renders pages from what the watch knows and what it reads for them."""

    def __init__(self, watch: Watch, board: Board, history: History) -> None:
        self.watch = watch
        self._timelines = Timelines(watch.reader, history)
        self._board = board
        self._templates = environment()

    def page(self, asked: Asked) -> tuple[str, int]:
        """A whole page, and its HTTP status."""
        self.watch.asked()
        return self.framed(self.view(asked))

    def framed(self, rendered: Rendered, *, live: bool = True) -> tuple[str, int]:
        """The frame around a view; one that is not live never changes."""
        seen_s = self.watch.seen_s
        frame = self._templates.get_template("frame.html")
        return frame.render(title=rendered.title, lines=rendered.lines, seen_s=seen_s, live=live), rendered.status

    def view(self, asked: Asked) -> Rendered:
        """The view of a page, or of why there is none."""
        try:
            if self.watch.pulse is None or self.watch.trouble:
                self.watch.look()
            if self.watch.trouble:
                return self._away(asked, self.watch.trouble)
            return self._views[asked.page](self, asked)
        except LedgerUnavailable as error:
            return self._away(asked, str(error))

    def mistake(self, status: int, error: str) -> tuple[str, int]:
        """A page that says what is wrong with the request."""
        title = {400: "This address cannot be read", 404: "No such page"}.get(status, "That did not work")
        return self.framed(self._render("error", "", title, status, sentence=error, hints=()), live=False)

    def _away(self, asked: Asked, trouble: str) -> Rendered:
        hints = (
            "Nothing is lost by it: bridge and workers wait, and go on when Redis answers again.",
            "Look whether the server named in REDIS_URL runs, and whether this process can reach it.",
            "This page shows the imports as soon as Redis answers.",
        )
        return self._render("error", asked.page, "Redis does not answer", 503, sentence=trouble, hints=hints)

    def _unknown(self, asked: Asked, what: str) -> Rendered:
        hints = (
            "Is the id right? The search on the first page finds parts of it.",
            "Has it been announced? It is known once a record names it, or the Dataset API lists it as submitted.",
            "Has it ended long ago? What ended is forgotten after FINISHED_INSTANCE_TTL; the two APIs still know it.",
        )
        return self._render("error", asked.page, f"No such {what} is known", 404, sentence=asked.id, hints=hints)

    def _render(self, template: str, page: str, title: str, status: int = 200, **facts: Any) -> Rendered:  # noqa: ANN401 - the template's own
        pulse = self.watch.pulse
        checks = list(self._board.checks.values())
        common = {
            "page": page,
            "title": title,
            "pulse": pulse,
            "now_s": pulse.now_s if pulse else 0.0,
            "status": self._board.status if self._board.started else "",
            "checks": checks,
            "unwell": sorted((check for check in checks if _status(check) != "OK"), key=_status),
        }
        text = self._templates.get_template(f"{template}.html").render(**common, **facts)
        return Rendered(f"{title} · Import tracker", tuple(line for line in text.splitlines() if line.strip()), status)

    # -- the pages ------------------------------------------------------------------------------------------------

    def _imports(self, asked: Asked) -> Rendered:
        pulse, wanted = self.watch.pulse, asked.wanted
        assert pulse is not None  # noqa: S101 - `view` has looked
        a_page = JOBS_A_PAGE if wanted.list == "jobs" else INSTANCES_A_PAGE
        with self.watch.lock:
            ids = self.watch.catalogue.order(wanted, pulse.pending_jobs)
        offset = _within(asked.offset, len(ids), a_page)
        shown = ids[offset : offset + a_page]
        cards, lines = (self._cards(wanted, shown), []) if wanted.list == "jobs" else ([], self._lines(shown))
        with self.watch.lock:
            kept, jobs, left_s = len(self.watch.catalogue.rows), len(self.watch.catalogue.open_jobs), self.watch.left_s()
            no_end, curve = self.watch.no_end(), self._curve()
        return self._render(
            "imports",
            "imports",
            f"{pulse.followed:,} importing" if pulse.followed else "Imports",
            wanted=wanted,
            given=_given(wanted),
            cards=cards,
            lines=lines,
            paging=_paging(offset, len(ids), a_page, len(shown)),
            curve=curve,
            kept=kept,
            complete=self.watch.complete,
            open_jobs=jobs,
            left_s=left_s,
            no_end=no_end,
            states=catalogue.STATES,
            sorts=SORT_NAMES,
        )

    def _job(self, asked: Asked) -> Rendered:
        if not self._members(asked.id):
            self.watch.look()  # it may have come since the last look
        with self.watch.lock:
            members = self.watch.catalogue.members(asked.id)
            ids = self.watch.catalogue.order(asked.wanted)
        if not members and not self.watch.reader.job_is_known(asked.id):
            return self._unknown(asked, "job")
        offset = _within(asked.offset, len(ids), INSTANCES_A_PAGE)
        shown = ids[offset : offset + INSTANCES_A_PAGE]
        lines = self._lines(shown)
        job = self.watch.reader.job_views({asked.id: members})[asked.id]
        with self.watch.lock:
            card = self._card(job, (), 0)
            firsts = [row.first_s for name in members if (row := self.watch.catalogue.rows.get(name)) and row.first_s]
        told = self._timelines.of(job_id=asked.id, since_s=min(firsts) - 1 if firsts else None)
        return self._render(
            "job",
            "job",
            f"Job {asked.id}",
            told=told,
            id=asked.id,
            card=card,
            lines=lines,
            wanted=asked.wanted,
            given=_given(asked.wanted),
            paging=_paging(offset, len(ids), INSTANCES_A_PAGE, len(shown)),
            states=catalogue.STATES,
            sorts=SORT_NAMES,
        )

    def _members(self, job_id: str) -> tuple[str, ...]:
        with self.watch.lock:
            return self.watch.catalogue.members(job_id)

    def _instance(self, asked: Asked) -> Rendered:
        lines = self._lines([asked.id])
        if not lines:
            return self._unknown(asked, "instance")
        first_s = lines[0].view.first_seen_s
        told = self._timelines.of(instance_id=asked.id, since_s=first_s and first_s - 1)
        return self._render("instance", "instance", f"Instance {asked.id}", line=lines[0], told=told)

    def _letters(self, asked: Asked) -> Rendered:
        letters = self.watch.reader.dead_letters_before(asked.before, LETTERS_A_PAGE)
        losses = [] if asked.before else self.watch.reader.losses(LETTERS_A_PAGE)
        more = letters[-1].id if len(letters) == LETTERS_A_PAGE else ""
        return self._render("letters", "letters", "Dead letters", letters=letters, losses=losses, before=asked.before, more=more)

    def _parked(self, asked: Asked) -> Rendered:
        pulse = self.watch.pulse
        assert pulse is not None  # noqa: S101 - `view` has looked
        offset = _within(asked.offset, pulse.parked, INSTANCES_A_PAGE)
        lines = self._lines(self.watch.reader.ids("parked", offset, INSTANCES_A_PAGE))
        jobs = self.watch.reader.parked_jobs()
        return self._render(
            "parked", "parked", "Parked", lines=lines, jobs=jobs, paging=_paging(offset, pulse.parked, INSTANCES_A_PAGE, len(lines))
        )

    def _events(self, _: Asked) -> Rendered:
        return self._render("events", "events", "What has happened", told=self._timelines.newest())

    def _parts(self, _: Asked) -> Rendered:
        return self._render("parts", "parts", "Health")

    _views = {  # noqa: RUF012 - never changed
        "imports": _imports,
        "job": _job,
        "instance": _instance,
        "letters": _letters,
        "parked": _parked,
        "parts": _parts,
        "events": _events,
    }

    # -- what they show -------------------------------------------------------------------------------------------

    def _lines(self, ids: Sequence[str]) -> list[Line]:
        found = self.watch.read(ids)
        with self.watch.lock:
            return [self._line(found[name]) for name in ids if name in found]

    def _line(self, view: InstanceView) -> Line:
        pulse, paces = self.watch.pulse, self.watch.paces
        left_s = paces.left_s(view.id, view.total, view.inserted) if view.ended_s is None else None
        return Line(view, remark(view, pulse.now_s if pulse else 0.0), paces.of(view.id), left_s)

    def _cards(self, wanted: Wanted, jobs: Sequence[str]) -> list[Card]:
        with self.watch.lock:
            members = {job: self.watch.catalogue.members(job) for job in jobs}
            matching = {job: self.watch.catalogue.matching(wanted, job) for job in jobs}
        shown = {job: matching[job][:OF_EACH_JOB] for job in jobs}
        found = self.watch.read([name for some in shown.values() for name in some])
        views = self.watch.reader.job_views(members)
        with self.watch.lock:
            return [
                self._card(
                    views[job],
                    tuple(self._line(found[name]) for name in shown[job] if name in found),
                    len(matching[job]) - len(shown[job]),
                )
                for job in jobs
            ]

    def _card(self, view: JobView, lines: tuple[Line, ...], more: int) -> Card:
        rows = [row for name in view.instances if (row := self.watch.catalogue.rows.get(name))]
        known = bool(rows) and all(row.total or row.ended for row in rows)
        lefts = [self.watch.paces.left_s(row.id, row.total, row.inserted) for row in rows if not row.ended and row.inserted < row.total]
        told = [seconds for seconds in lefts if seconds is not None]
        return Card(
            view,
            lines,
            more,
            len(view.instances),
            sum(row.inserted for row in rows),
            sum(row.total or row.inserted for row in rows) if known else None,
            max(told) if known and told and len(told) == len(lefts) else None,
            max((row.last_s for row in rows), default=0.0) or None,
        )

    def _curve(self) -> dict[str, Any]:
        """What is drawn of the last minutes."""
        curve = self.watch.curve
        rates = curve.rates()
        peak = max((rate for _, rate in rates), default=0.0)
        high = CURVE_HEIGHT - 4
        points = [(round(CURVE_WIDTH - age_s), round(CURVE_HEIGHT - 2 - high * (rate / peak if peak else 0))) for age_s, rate in rates]
        area = [(points[0][0], CURVE_HEIGHT), *points, (points[-1][0], CURVE_HEIGHT)] if points else []
        return {
            "rate": curve.rate,
            "peak": peak,
            "covers_s": curve.covers_s,
            "whole": curve.covers_s >= SLOTS * SLOT_S - SLOT_S,
            "points": " ".join(f"{x},{y}" for x, y in points),
            "area": " ".join(f"{x},{y}" for x, y in area),
            "width": CURVE_WIDTH,
            "height": CURVE_HEIGHT,
        }


def _given(wanted: Wanted) -> dict[str, str | int]:
    """What of a list stands in the URL: nothing that is the default."""
    said: dict[str, str | int] = {"q": wanted.q, "state": wanted.state}
    said["sort"] = "" if wanted.sort == "attention" else wanted.sort
    said["list"] = "instances" if wanted.list == "instances" and wanted.job is None else ""
    return said


def _status(check: Check) -> str:
    """A check's status; of one that has not run yet OK, since nothing is said against it."""
    return check.finding.status if check.finding else "OK"


def _within(offset: int, total: int, a_page: int) -> int:
    """The offset, or that of the last page where a list has become shorter."""
    return offset if offset < total else max(0, (total - 1) // a_page * a_page)


def _paging(offset: int, total: int, a_page: int, count: int) -> dict[str, int | None]:
    return {
        "from": offset + 1 if count else 0,
        "to": offset + count,
        "total": total,
        "before": max(0, offset - a_page) if offset else None,
        "after": offset + a_page if offset + count < total else None,
    }
