"""
What a look at Redis says of each part of the system: one function per health check. Pure.

A finding is OK, WARNING or CRITICAL with a sentence for a person, who should learn from it what is wrong and what to do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tracker.history.stream import Draining
from tracker.settings import Settings
from tracker.views import Figures, InstanceView, JobView, LedgerView, Page

Status = Literal["OK", "WARNING", "CRITICAL"]

YOUNG_BIRTH_S = 600.0
"""How long a birth that took another ledger's place is shown as a warning."""

RECENT_LOSS_S = 24 * 3600.0
"""How long a recorded loss is shown as a warning; it stays in the list of losses for ever."""

MISSED_TICKS = 3
"""Intervals without a tick after which Beat counts as standing still."""

BEAT_SLACK_S = 10.0
"""What Beat's clock may differ from Redis', and a heartbeat be late, before a tick counts as missed."""

MISSED_LISTINGS = 3
"""Sync intervals without a successful listing after which health warns."""

NEARLY_FULL = 0.8
"""The part of DEAD_LETTERS_MAX from which on health says that there will be no room."""

LATE_DRAIN_S = 60.0
"""How long an entry of the history may wait for the database before health warns: twelve drains."""

SEE_STATUS = ": see tracker status"
"""Where to look for what is set aside; `tracker status` itself names it instead."""

QUEUE_COMMANDS = {
    "tracker.apply": "celery -A tracker worker -Q tracker.apply,tracker.control -n apply@%h",
    "tracker.push": "celery -A tracker worker -Q tracker.push -n push@%h",
    "tracker.control": "celery -A tracker worker -Q tracker.apply,tracker.control -n apply@%h",
}
"""How a worker is started that serves the queue. Named, as signs of life are kept by name, and one host has both."""

DURABLE = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
"""How the Redis server has to be set up so that it keeps what it acknowledged."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How one part is. `status_code` is an API's HTTP status, 0 where there is none."""

    status: Status
    message: str
    status_code: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What one look at Redis showed.

    `bridges`, `workers` and `beats` are the living processes by name; `durability` holds the server's values of
    `DURABLE`, None where it does not tell; `broker_trouble` says why the broker does not answer, where it is another server;
    `standing` are the first few stuck instances, `failing` the first few jobs that could not be seen to for as long.
    """

    figures: Figures
    bridges: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    workers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    beats: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    durability: Mapping[str, str | None] = field(default_factory=dict)
    broker_trouble: str = ""
    draining: Draining = field(default_factory=lambda: Draining(0))
    standing: Sequence[InstanceView] = ()
    failing: Page[JobView] = field(default_factory=lambda: Page((), 0, 0, 0))


def redis_server(seen: Seen) -> Finding:
    """Whether Redis keeps what it acknowledges."""
    if seen.broker_trouble:
        return Finding("CRITICAL", seen.broker_trouble)
    wrong = [
        f"{name} is {value}, should be {DURABLE[name]}" for name, value in seen.durability.items() if value not in {None, DURABLE[name]}
    ]
    if wrong:
        return Finding("WARNING", f"it answers, but may lose or evict what it acknowledged: {'; '.join(wrong)}")
    untold = [name for name, value in seen.durability.items() if value is None]
    if untold:
        return Finding("OK", f"it answers; it cannot be told how it is set up ({', '.join(untold)}: CONFIG GET is not allowed)")
    return Finding("OK", "it answers, and keeps what it acknowledges")


def unusable(book: LedgerView) -> Finding | None:
    """Why nothing can be changed in the ledger now, None where it can."""
    cases: tuple[tuple[object, Status, str], ...] = (
        (book.id is None, "CRITICAL", "there is no ledger yet: a bridge has to be connected to Kafka once"),
        (book.trouble, "CRITICAL", book.trouble),
        (book.void, "WARNING", f"ledger {book.id} is void ({book.void}): a bridge connected to Kafka gives birth to the next one"),
        (
            not book.verified,
            "CRITICAL",
            f"Redis has restarted and no bridge has verified ledger {book.id} yet: nothing is counted or pushed",
        ),
    )
    return next((Finding(status, message) for applies, status, message in cases if applies), None)


def ledger(seen: Seen) -> Finding:
    """Whether the ledger is there, verified, and ready to be pushed from."""
    book, now_s = seen.figures.ledger, seen.figures.now_s
    if (found := unusable(book)) is not None:
        return found
    why = f" ({book.reason})" if book.number > 1 else ", the first"
    age = f"born {age_in_words(now_s - (book.born_s or now_s))} ago{why}"
    rest = f"{in_number(book.unpassed, 'partition')} still read anew" if book.unpassed else f"ready in {book.ready_in_s or 0:.0f} s"
    young = book.number > 1 and book.born_s is not None and now_s - book.born_s < YOUNG_BIRTH_S
    cases: tuple[tuple[object, Status, str], ...] = (
        ("pushes" in book.paused, "WARNING", paused(book, "pushes", now_s, "nothing is pushed or completed, counts gather")),
        (not book.ready, "WARNING", f"ledger {book.id}, {age}: nothing is pushed or completed yet, {rest}"),
        (young, "WARNING", f"ledger {book.id} has taken the place of an older one: {age}"),
    )
    for applies, status, message in cases:
        if applies:
            return Finding(status, message)
    return Finding("OK", f"ledger {book.id}, {age}, version {book.version}")


def paused(book: LedgerView, what: str, now_s: float, effect: str) -> str:
    """Say who has paused it, why, and how it goes on; "" when nobody has."""
    pause = book.paused.get(what)
    if pause is None:
        return ""
    why = f" ({pause.reason})" if pause.reason else ""
    return f"paused by {pause.by} {age_in_words(now_s - pause.since_s)} ago{why}: {effect} until tracker resume {what}"


def bridge(seen: Seen, settings: Settings) -> Finding:
    """Whether every bridge gets on: connected, near the end of its partitions, its batches applied."""
    if not seen.bridges:
        return Finding("CRITICAL", "no bridge is alive: nothing is read from Kafka; start one with tracker-bridge")
    book = seen.figures.ledger
    troubles = [paused(book, "bridge", seen.figures.now_s, "records wait in Kafka")] if "bridge" in book.paused else []
    for name, info in sorted(seen.bridges.items()):
        if error := info.get("error"):
            troubles.append(f"{name}: {error}")
        if stubborn := [batch for batch in info.get("republished") or () if isinstance(batch, Mapping)]:
            troubles.append(f"{name}: {in_number(len(stubborn), 'batch', 'batches')} not applied: {_stubborn_in_words(stubborn)}")
    held = lags(seen)
    known = {partition: records for partition, records in held.items() if records is not None}
    behind = {partition: records for partition, records in known.items() if records > settings.health_lag_warning}
    if behind:
        worst = sorted(behind, key=lambda name: -behind[name])[:3]
        texts = ", ".join(f"{name} by {behind[name]}" for name in worst)
        troubles.append(f"behind by more than {settings.health_lag_warning} records: {texts}")
    if troubles:
        return Finding("WARNING", "; ".join(troubles))
    return Finding(
        "OK", f"{in_number(len(seen.bridges), 'bridge')}, {in_number(len(held), 'partition')}, {sum(known.values())} records behind"
    )


def consumer(seen: Seen, topic: str) -> Finding:
    """Whether somebody reads this topic."""
    if not seen.bridges:
        return Finding("CRITICAL", "no bridge is alive to read this topic")
    held = {name: records for name, records in lags(seen).items() if name.rpartition(":")[0] == topic}
    if not held:
        reasons = sorted({str(info["error"]) for info in seen.bridges.values() if info.get("error")})
        return Finding(
            "CRITICAL" if reasons else "WARNING", f"no bridge holds a partition of {topic}{''.join(f'; {text}' for text in reasons)}"
        )
    known = [records for records in held.values() if records is not None]
    if not known:
        return Finding("WARNING", f"{in_number(len(held), 'partition')} of {topic}; Kafka does not tell their ends")
    return Finding("OK", f"{in_number(len(held), 'partition')} of {topic}, {sum(known)} records behind")


def workers(seen: Seen) -> Finding:
    """Whether every queue is served."""
    served: dict[str, int] = {}
    for info in seen.workers.values():
        for queue in info.get("queues") or ():
            served[queue] = served.get(queue, 0) + 1
    missing = [queue for queue in QUEUE_COMMANDS if queue not in served]
    if missing:
        commands = dict.fromkeys(QUEUE_COMMANDS[queue] for queue in missing)
        return Finding("CRITICAL", f"no worker serves {', '.join(missing)}; start one with {' and '.join(commands)}")
    return Finding("OK", f"{in_number(len(seen.workers), 'worker')}: {', '.join(f'{queue} {served[queue]}' for queue in QUEUE_COMMANDS)}")


def beat(seen: Seen, settings: Settings) -> Finding:
    """Whether somebody sends the periodic check."""
    if not seen.beats:
        return Finding("CRITICAL", "no Beat is alive: what no event announces is not found; start one with celery -A tracker beat")
    ticks = [float(info["last_tick"]) for info in seen.beats.values() if info.get("last_tick")]
    if not ticks:
        return Finding("WARNING", "Beat is alive and has not sent a check yet")
    age_s = max(0.0, seen.figures.now_s - max(ticks))
    text = f"the last check was sent {age_in_words(age_s)} ago"
    if age_s > MISSED_TICKS * settings.check_complete_interval_s + BEAT_SLACK_S:
        return Finding("CRITICAL", f"{text}, one is due every {settings.check_complete_interval_s:g} s")
    return Finding("OK", text)


def listing(seen: Seen, settings: Settings) -> Finding:
    """Whether the full listing of submitted instances can be read."""
    sync, now_s = seen.figures.sync, seen.figures.now_s
    if sync.succeeded_s is None:
        if sync.attempts >= settings.initialise_list_attempts:
            return Finding("CRITICAL", f"it failed {sync.attempts} times since the start: {sync.reason}")
        if sync.attempts:
            return Finding(
                "WARNING", f"it has not succeeded yet, {sync.attempts} of {settings.initialise_list_attempts} tries: {sync.reason}"
            )
        return Finding("WARNING", "it has not been read yet")
    text = f"read {age_in_words(max(0.0, now_s - sync.succeeded_s))} ago, {in_number(sync.pages, 'page')}"
    if sync.attempts:
        return Finding("WARNING", f"{text}; since then it failed {in_number(sync.attempts, 'time')}: {sync.reason}")
    if now_s - sync.succeeded_s > MISSED_LISTINGS * settings.sync_interval_s + BEAT_SLACK_S:
        return Finding("WARNING", f"{text}, it is due every {settings.sync_interval_s:g} s")
    return Finding("OK", text)


def set_aside(seen: Seen, settings: Settings) -> Finding:
    """Whether anything waits for a person, and whether there is room for more dead letters."""
    figures, most = seen.figures, settings.dead_letters_max
    if figures.dead_letters >= most:
        return Finding(
            "CRITICAL",
            f"no dead letter is taken any more, there are {figures.dead_letters:,} of {most:,}: partitions stand still at records that "
            f"cannot be decoded; look with tracker dead-letters list, mend the cause, then replay or drop them",
        )
    found = [
        text
        for number, text in (
            (figures.parked, f"{in_number(figures.parked, 'instance')} parked"),
            (figures.parked_jobs, f"{in_number(figures.parked_jobs, 'job')} unknown to the Import API"),
            (figures.dead_letters, in_number(figures.dead_letters, "dead letter")),
            (figures.dead_letters >= NEARLY_FULL * most, f"beyond {most:,} of them partitions stand still: tracker dead-letters list"),
        )
        if number
    ]
    if figures.last_loss_s is not None and figures.now_s - figures.last_loss_s < RECENT_LOSS_S:
        found.append(f"records lost to Kafka's retention, last {age_in_words(figures.now_s - figures.last_loss_s)} ago")
    return Finding("WARNING", f"{'; '.join(found)}{SEE_STATUS}") if found else Finding("OK", "nothing waits for a person")


def history(seen: Seen) -> Finding:
    """Whether the database, if there is one, gets what has happened before Redis trims it."""
    draining, now_s = seen.draining, seen.figures.now_s
    held = in_number(draining.entries, "entry", "entries")
    if not draining.configured:
        return Finding("OK", f"{held} in Redis; no database keeps it (the workers have no DB_ACCESS)")
    troubles = []
    if draining.failures:
        waiting = "" if draining.waiting_s is None else f"; the oldest entry it lacks is {age_in_words(draining.waiting_s)} old"
        troubles.append(f"failed {in_number(draining.failures, 'time')} in a row: {draining.reason}{waiting}")
    elif (draining.waiting_s or 0.0) > LATE_DRAIN_S:
        troubles.append(f"not drained into the database for {age_in_words(draining.waiting_s or 0.0)}")
    if draining.lost_at_s is not None and now_s - draining.lost_at_s < RECENT_LOSS_S:
        troubles.append(
            f"{in_number(draining.lost, 'entry', 'entries')} trimmed before the database had them, last "
            f"{age_in_words(now_s - draining.lost_at_s)} ago (HISTORY_MAX_ENTRIES)"
        )
    if troubles:
        return Finding("WARNING", "; ".join(troubles))
    return Finding("OK", f"{held} in Redis, drained into the database")


def stuck(seen: Seen, settings: Settings) -> Finding:
    """Whether a submitted instance stands still, or a job whose instances have ended."""
    after = age_in_words(settings.stuck_after_s)
    instances = [f"{view.id}: {view.stuck}" for view in seen.standing if view.stuck]
    jobs = [f"{view.id}: {view.reason}" for view in seen.failing.items]
    found = [
        f"{in_number(number, noun)} {what} for {after}{_some_of(number, named)}"
        for number, noun, what, named in (
            (seen.figures.stuck, "instance", "without a record, a push or news", instances),
            # While nothing is completed no job is looked at: that is told of the ledger.
            (seen.failing.total if seen.figures.ledger.ready else 0, "job", "whose state could not be seen to", jobs),
        )
        if number
    ]
    return Finding("WARNING", "; ".join(found)) if found else Finding("OK", "every submitted import gets on, or has not waited for long")


def _some_of(number: int, named: Sequence[str]) -> str:
    """Name the first of so many, or say where all of them are."""
    return f": {'; '.join(named)}{'; …' if number > len(named) else ''}" if named else SEE_STATUS


def lags(seen: Seen) -> dict[str, int | None]:
    """Records behind per partition, as its bridge tells; None where it does not know. Of two that claim one, the larger."""
    found: dict[str, int | None] = {}
    for info in seen.bridges.values():
        partitions = info.get("partitions")
        for name, told in partitions.items() if isinstance(partitions, Mapping) else ():
            lag = told.get("lag") if isinstance(told, Mapping) else None
            before = found.get(str(name))
            found[str(name)] = before if not isinstance(lag, int) else max(lag, before or 0)
    return found


def _stubborn_in_words(stubborn: Sequence[Mapping[str, Any]]) -> str:
    """Name the first batches that stay unapplied."""
    return "; ".join(f"{batch.get('partition')} {batch.get('start')}-{batch.get('end')}: {batch.get('error')}" for batch in stubborn[:3])


def remark(view: InstanceView, now_s: float) -> str:
    """What a person should know of an instance beyond its figures, in one line."""
    notes = []
    if view.aside:
        notes.append(f"{view.aside:,} counted before the ledger's birth, to be compared with the Dataset API")
    if view.parked_since_s is not None:
        notes.append(f"parked {age_in_words(now_s - view.parked_since_s)} ago ({view.parked_kind})")
    if view.stuck:
        notes.append(f"stuck: {view.stuck}")
    elif view.reason:
        tries = f"try {view.tries} " if view.tries else ""
        again = f", again in {max(0.0, view.next_try_s - now_s):.0f} s" if view.next_try_s else ""
        notes.append(f"{tries}failed: {view.reason}{again}" if tries else f"{view.reason}{again}")
    if view.intent:
        notes.append(f"{view.intent.delta:,} sent {age_in_words(view.intent.age_s)} ago, no answer yet")
    if view.open_tasks:
        notes.append(f"waits for {view.open_tasks}")
    if view.over:
        notes.append("more inserted than the total")
    if view.unverified:
        notes.append(f"unverified: {view.unverified:,} differ from what Kafka still holds")
    return "; ".join(notes)


def age_in_words(seconds: float) -> str:
    """A length of time in its largest fitting unit: 4 s, 3 min, 5 h, 2 days."""
    for unit, size in (("days", 86_400 * 2), ("h", 3600 * 2), ("min", 120)):
        if seconds >= size:
            return f"{seconds / (size / 2):.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def in_number(number: int, noun: str, nouns: str = "") -> str:
    """A number and its noun: 1 page, 2,000 pages, no pages."""
    return f"{f'{number:,}' if number else 'no'} {noun if number == 1 else nouns or f'{noun}s'}"
