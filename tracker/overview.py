"""
Reading views of the ledger for people: status, web pages, health. Changes nothing, and works unverified.

What Redis holds is described at the top of `scripts/prelude.lua`. Lists are read in pipelines of `CHUNK` keys, so a
page of 100 instances, or a walk over 10,000, costs a handful of round trips. The reads of one view are not one
transaction: a figure may be a moment older than its neighbour.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import redis

from tracker.errors import BadInput, LedgerUnavailable
from tracker.history.stream import Draining, HistoryStream
from tracker.ledger import Ledger
from tracker.ledger_scripts import connect
from tracker.settings import Settings
from tracker.views import (
    JOB_STATES,
    STATES,
    BirthView,
    DeadLetter,
    Figures,
    InstanceView,
    JobView,
    LedgerView,
    Loss,
    Page,
    read_dead_letter,
    read_instance,
    read_job,
    read_pauses,
    read_sync,
    stream_s,
)

CHUNK = 500
"""Keys to a pipeline: large enough to hide the round trip, small enough not to keep Redis from others for long."""

MOST_SUMMED = 20_000
"""Owing instances whose counts are summed for the figures; more are only counted."""

MOST_WALKED = 100_000
"""Instances looked at when a list is filtered by a state's name or gathered into jobs."""

QUEUES = ("tracker.apply", "tracker.push", "tracker.control")

PUSHED_IN_PASSING = "tracker.push\x06\x169"
"""Where kombu keeps what is sent to that queue with priority 9, `tracker.tasks.IN_PASSING`."""

LISTS = ("all", "unfinished", "followed", "finished", "parked", "stuck", "owing")
"""
Names of lists of instances. Redis keeps the last five as such. `unfinished` is parked, owing and followed, `all` also takes in
what is finished or settling at leisure: each instance once, what needs attention first.
"""


def make_overview(settings: Settings, *, timeout_s: float = 2.0) -> "Overview":
    """The overview of the ledger that the settings name. `timeout_s` is short: a person or a probe waits for it."""
    ledger = Ledger(connect(settings.redis_url.get_secret_value(), timeout_s=timeout_s), settings.redis_key_prefix)
    if settings.celery_broker_url is None:
        return Overview(ledger)
    return Overview(ledger, connect(settings.celery_broker_url.get_secret_value(), timeout_s=timeout_s))


JOB_LISTS = ("all", "unfinished")


class Overview:
    """
    Reads what people want to see. Every method raises LedgerUnavailable when Redis is away.

    `broker` is the Redis that carries the tasks: by default the ledger's own.
    """

    def __init__(self, ledger: Ledger, broker: "redis.Redis | None" = None) -> None:
        self.ledger = ledger
        self._broker = ledger.client if broker is None else broker

    def _key(self, name: str) -> str:
        return f"{self.ledger.prefix}{name}"

    def ask(self, *commands: Sequence[Any], client: "redis.Redis | None" = None) -> list[Any]:
        """Send many commands in one round trip."""
        with self.ledger.reaching():
            pipeline = (client or self.ledger.client).pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            return pipeline.execute()

    # -- the whole ------------------------------------------------------------------------------------------------

    def figures(self) -> Figures:
        """Count everything once."""
        key = self._key
        waiting = ("followed", "finished", "leisure", "owed", "parked", "stuck", "parked_jobs")
        (seconds, micros), followed, finished, leisure, owing, parked, stuck, parked_jobs, *told = self.ask(
            ("TIME",),
            *(("ZCARD", key(name)) for name in waiting),
            *(("XLEN", key(name)) for name in ("dead", "losses", "births")),
            ("ZCARD", key("jobs")),
            ("HGETALL", key("sync")),
            ("XREVRANGE", key("losses"), "+", "-", "COUNT", 1),
        )
        dead, losses, births, jobs, sync, last_loss = told
        queues, unacked = self.queues()
        return Figures(
            now_s=int(seconds) + int(micros) / 1e6,
            ledger=self.ledger_view(),
            followed=followed,
            finished=finished,
            settling=leisure,
            owing=owing,
            owed=self._owed(),
            owed_is_bounded=owing > MOST_SUMMED,
            parked=parked,
            stuck=stuck,
            parked_jobs=parked_jobs,
            dead_letters=dead,
            losses=losses,
            last_loss_s=stream_s(last_loss[0][0]) if last_loss else None,
            births=births,
            jobs_pending=jobs,
            sync=read_sync(sync),
            queues=queues,
            unacked=unacked,
        )

    def ledger_view(self) -> LedgerView:
        """Read the ledger's own fields, and whether it may be used."""
        raw, (seconds, micros) = self.ask(("HGETALL", self._key("ledger")), ("TIME",))
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        verified, trouble = False, ""
        try:
            verified = self.ledger.state(()).verified
        except LedgerUnavailable as error:  # of another format: shown all the same
            trouble = str(error)
        unpassed = int(raw.get("unpassed") or 0)
        born_ms = int(raw["born"]) if raw.get("born") else None
        ready_in_s = None if born_ms is None or unpassed else max(0.0, (born_ms + int(raw.get("settle") or 0) - now_ms) / 1000)
        return LedgerView(
            id=raw.get("id"),
            number=int(raw.get("number") or 0),
            version=int(raw.get("version") or 0),
            verified=verified,
            ready=verified and ready_in_s == 0.0 and not raw.get("paused_pushes"),
            unpassed=unpassed,
            ready_in_s=ready_in_s,
            born_s=born_ms / 1000 if born_ms is not None else None,
            reason=raw.get("reason", ""),
            void=raw.get("void", ""),
            trouble=trouble,
            paused=read_pauses(raw),
        )

    def _owed(self) -> int:
        number = self.ask(("HGET", self._key("ledger"), "number"))[0]
        ids = self.ask(("ZRANGE", self._key("owed"), 0, MOST_SUMMED - 1))[0]
        owed = 0
        for some in _chunks(ids):
            for generation, count in self.ask(*(("HMGET", self._key(f"i:{name}"), "g", "owed") for name in some)):
                owed += int(count or 0) if generation == number else 0
        return owed

    def queues(self) -> tuple[dict[str, int] | None, int | None]:
        """How many messages wait in each queue, and how many are handed out and not acknowledged; None where that is not known."""
        try:
            *lengths, in_passing, unacked = self.ask(
                *(("LLEN", self._key(queue)) for queue in (*QUEUES, PUSHED_IN_PASSING)),
                ("HLEN", self._key("unacked")),
                client=self._broker,
            )
        except LedgerUnavailable:
            if self._broker is self.ledger.client:
                raise
            return None, None
        queues = dict(zip(QUEUES, lengths, strict=True))
        queues["tracker.push"] += in_passing
        return queues, unacked

    def durability(self) -> dict[str, str | None]:
        """How the server is set up to keep what it acknowledged: three of its settings, None where it does not tell."""
        names = ("appendonly", "appendfsync", "maxmemory-policy")
        with self.ledger.reaching():
            try:
                told = cast("dict[str, str]", self.ledger.client.config_get(*names))
            except redis.exceptions.ResponseError:  # hosted servers forbid CONFIG; INFO tells less
                told = self._told_by_info()
        return {name: told.get(name) for name in names}

    def _told_by_info(self) -> dict[str, str]:
        told = {}
        try:
            info = self.ledger.client.info()
        except redis.exceptions.ResponseError:
            return {}
        if "aof_enabled" in info:
            told["appendonly"] = "yes" if info["aof_enabled"] else "no"
        if "maxmemory_policy" in info:
            told["maxmemory-policy"] = str(info["maxmemory_policy"])
        return told

    def broker_trouble(self) -> str:
        """Why the Redis that carries the tasks does not answer, where it is another than the ledger's; "" when it does."""
        if self._broker is self.ledger.client:
            return ""
        try:
            with self.ledger.reaching():
                self._broker.ping()
        except LedgerUnavailable as error:
            return f"the broker of the tasks: {error}"
        return ""

    def draining(self) -> Draining:
        """How the draining of the history into a database stands."""
        return HistoryStream(self.ledger.client, self.ledger.prefix).draining()

    def heartbeats(self, kind: str) -> dict[str, dict[str, Any]]:
        """The living processes of a kind (bridge, worker, beat, web) by name, and what each says of itself."""
        return self.ledger.heartbeats(kind)

    def key_applied(self, key: str) -> str | None:
        """What the manual count with this idempotency key was, as "instance count"; None while it is not applied."""
        return cast("str | None", self.ask(("GET", self._key(f"k:{key}")))[0])

    # -- instances ------------------------------------------------------------------------------------------------

    def instance(self, instance_id: str) -> InstanceView | None:
        """One instance; None for one the ledger does not know."""
        return next(self._views([instance_id]), None)

    def instances(self, state: str = "all", *, limit: int = 100, offset: int = 0) -> Page[InstanceView]:
        """
        One page of a list, or of the instances in one state.

        `state` is one of `LISTS` or `STATES`; the latter look at no more than `MOST_WALKED` instances. Raises BadInput
        for anything else.
        """
        _check_page(limit, offset)
        if state in LISTS:
            ids, total = self._listed(state, limit, offset)
            return Page(tuple(self._views(ids)), total, limit, offset)
        if state not in STATES:
            raise BadInput(f"state={state!r}: expected one of {', '.join(LISTS + STATES)}")
        found = [view for view in self._views(self._listed("all", MOST_WALKED, 0)[0]) if view.state == state]
        return Page(tuple(found[offset : offset + limit]), len(found), limit, offset)

    def _listed(self, name: str, limit: int, offset: int) -> tuple[list[str], int]:
        """The ids of one page of a list, and the list's length."""
        if name not in {"all", "unfinished"}:
            key = self._key("owed" if name == "owing" else name)
            newest_first = name in {"followed", "finished"}
            ids, total = self.ask(("ZREVRANGE" if newest_first else "ZRANGE", key, offset, offset + limit - 1), ("ZCARD", key))
            return ids, total
        lists = self.ask(
            ("ZRANGE", self._key("parked"), 0, MOST_WALKED),
            ("ZRANGE", self._key("owing"), 0, MOST_WALKED),
            ("ZREVRANGE", self._key("followed"), 0, MOST_WALKED),
            ("ZREVRANGE", self._key("finished"), 0, MOST_WALKED if name == "all" else 0),
            ("ZRANGE", self._key("leisure"), 0, MOST_WALKED if name == "all" else 0),
        )
        lists = lists if name == "all" else lists[:3]
        ids = list(dict.fromkeys(instance_id for some in lists for instance_id in some))
        return ids[offset : offset + limit], len(ids)

    def _views(self, ids: Iterable[str]) -> Iterator[InstanceView]:
        """The views of these instances, in order, less those that Redis no longer holds."""
        ids = list(ids)
        number, (seconds, micros) = self.ask(("HGET", self._key("ledger"), "number"), ("TIME",))
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        for some in _chunks(ids):
            for instance_id, raw in zip(some, self.ask(*(("HGETALL", self._key(f"i:{name}")) for name in some)), strict=True):
                if raw:
                    yield read_instance(instance_id, raw, number, now_ms)

    # -- jobs -----------------------------------------------------------------------------------------------------

    def job(self, job_id: str) -> JobView | None:
        """One job; None for one the ledger does not know."""
        members = self._members().get(job_id, ())
        raw, pending, parked = self._job_facts([job_id])[0]
        if not raw and not members and pending is None and parked is None:
            return None
        return read_job(job_id, members, raw, pending, parked)

    def jobs(self, state: str = "all", *, limit: int = 100, offset: int = 0) -> Page[JobView]:
        """
        One page of the jobs of all instances that the ledger remembers, those pending first.

        `state` is one of `JOB_LISTS` (`unfinished` are those pending, parked, or with an unfinished instance) or `JOB_STATES`;
        raises BadInput for anything else.
        """
        _check_page(limit, offset)
        if state not in JOB_LISTS + JOB_STATES:
            raise BadInput(f"state={state!r}: expected one of {', '.join(JOB_LISTS + JOB_STATES)}")
        members = self._members()
        pending, parked = self.ask(("ZRANGE", self._key("jobs"), 0, -1), ("ZRANGE", self._key("parked_jobs"), 0, -1))
        named: Iterable[str] = members
        if state == "unfinished":
            unfinished = set(self._listed("unfinished", MOST_WALKED, 0)[0])
            named = (job_id for job_id, instances in members.items() if not unfinished.isdisjoint(instances))
        ids = list(dict.fromkeys([*parked, *pending, *named]))
        if state in JOB_LISTS:
            page = ids[offset : offset + limit]
            views = [read_job(name, members.get(name, ()), *facts) for name, facts in zip(page, self._job_facts(page), strict=True)]
            return Page(tuple(views), len(ids), limit, offset)
        views = [read_job(name, members.get(name, ()), *facts) for name, facts in zip(ids, self._job_facts(ids), strict=True)]
        views = [view for view in views if view.state == state]
        return Page(tuple(views[offset : offset + limit]), len(views), limit, offset)

    def failing_jobs(self, after_s: float, limit: int) -> Page[JobView]:
        """The jobs whose looks have come to nothing for so long, those of the longest time first; without their instances."""
        key = self._key("failing_jobs")
        until_ms = int((self.ledger.now_s() - after_s) * 1000)
        number, ids = self.ask(("ZCOUNT", key, "-inf", until_ms), ("ZRANGEBYSCORE", key, "-inf", until_ms, "LIMIT", 0, limit))
        views = [read_job(name, (), *facts) for name, facts in zip(ids, self._job_facts(ids), strict=True)]
        return Page(tuple(views), number, limit, 0)

    def _members(self) -> dict[str, tuple[str, ...]]:
        """The instances of each job, as far as the ledger remembers them."""
        members: dict[str, list[str]] = {}
        ids, _ = self._listed("all", MOST_WALKED, 0)
        for some in _chunks(ids):
            for instance_id, job_id in zip(some, self.ask(*(("HGET", self._key(f"i:{name}"), "job") for name in some)), strict=True):
                if job_id:
                    members.setdefault(job_id, []).append(instance_id)
        return {job_id: tuple(sorted(ids)) for job_id, ids in members.items()}

    def _job_facts(self, ids: Sequence[str]) -> list[tuple[dict[str, str], float | None, float | None]]:
        """Per job its hash, when it is due as a pending one, and since when it is parked (ms)."""
        facts = []
        for some in _chunks(ids):
            commands: list[Sequence[str]] = []
            for name in some:
                commands += [
                    ("HGETALL", self._key(f"j:{name}")),
                    ("ZSCORE", self._key("jobs"), name),
                    ("ZSCORE", self._key("parked_jobs"), name),
                ]
            facts += list(zip(*[iter(self.ask(*commands))] * 3, strict=True))
        return facts

    # -- what went wrong ------------------------------------------------------------------------------------------

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The newest dead letters, newest first."""
        return [read_dead_letter(entry, raw) for entry, raw in self._newest("dead", limit)]

    def losses(self, limit: int = 100) -> list[Loss]:
        """The newest recorded losses, newest first."""
        return [
            Loss(entry, stream_s(entry), raw["topic"], int(raw["partition"]), int(raw["start"]), int(raw["end"]), raw["reason"])
            for entry, raw in self._newest("losses", limit)
        ]

    def births(self, limit: int = 100) -> list[BirthView]:
        """The newest births, newest first."""
        return [BirthView(entry, stream_s(entry), raw["id"], raw["before"], raw["reason"]) for entry, raw in self._newest("births", limit)]

    def _newest(self, stream: str, limit: int) -> list[tuple[str, dict[str, str]]]:
        _check_page(limit, 0)
        with self.ledger.reaching():
            return cast("list[tuple[str, dict[str, str]]]", self.ledger.client.xrevrange(self._key(stream), count=limit))


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(ids), CHUNK):
        yield ids[at : at + CHUNK]


def _check_page(limit: int, offset: int) -> None:
    if limit < 1 or offset < 0:
        raise BadInput(f"limit={limit}, offset={offset}: expected a limit above 0 and an offset of 0 or more")
