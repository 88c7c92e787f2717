"""
The Redis room: what has been applied, what is owed, what has been sent and not confirmed.

Every change is one Lua script of `scripts/`, whole or not at all; what the keys and fields mean is written at the
top of `scripts/prelude.lua`. Scripts are safe to repeat, and the client never repeats one by itself: a script that
timed out may have run.
"""

import json
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import redis

from tracker.errors import LedgerUnavailable, LostTurn
from tracker.events import Batch, Partition
from tracker.instance import DONE, Instance
from tracker.ledger_scripts import Scripts
from tracker.ledger_state import Due, Intent, JobTurn, LedgerState, NotNow, PartitionStart, PartitionState, Positions, Turn, Woken

LONGEST_TASKS = 1000
"""Characters kept of what an instance still waits for."""

REMEMBER_KEYS_S = 7 * 24 * 3600
"""How long a manual count's idempotency key is remembered."""


class Ledger(Scripts):
    """
    The ledger under one key prefix.

    Every method raises LedgerUnavailable when Redis is away, or when no bridge has verified the ledger since the
    server started (except where it says that it works unverified); nothing has then been changed by halves.
    """

    def __init__(
        self,
        client: "redis.Redis",
        prefix: str,
        *,
        lease_s: float = 20.0,
        kick_s: float = 10.0,
        rest_s: float = 0.0,
        finished_ttl_s: float = 7 * 24 * 3600.0,
        dead_letters_max: int = 10_000,
    ) -> None:
        """
        `lease_s` is how long a lock lives without a step, `kick_s` how long an outstanding push task is waited for.

        `rest_s` is how long an instance that has been pushed gathers more before it is pushed again, unless its total is in.
        """
        super().__init__(client, prefix)
        self._lease_ms = int(lease_s * 1000)
        self._kick_ms = int(kick_s * 1000)
        self._rest_ms = int(rest_s * 1000)
        self._finished_ttl_ms = int(finished_ttl_s * 1000)
        self.dead_letters_max = dead_letters_max

    # -- for the bridge -------------------------------------------------------------------------------------------

    def state(self, topics: Iterable[str]) -> LedgerState:
        """The ledger and its partitions of these topics; works unverified."""
        reply = self.run("state", *topics)
        if reply[5] != "1":
            raise LedgerUnavailable(f"the ledger has format {reply[5]}, this version knows 1")
        partitions = {}
        for topic, number, epoch, position, checksum, horizon in zip(*[iter(reply[8:])] * 6, strict=True):
            partition = Partition(topic, int(number))
            partitions[partition] = PartitionState(partition, epoch, int(position), checksum, int(horizon) if horizon else None)
        return LedgerState(reply[1] or None, int(reply[2]), int(reply[3]), reply[4] == "1", partitions, reply[6], reply[7])

    def birth(self, expected: str | None, number: int, starts: Sequence[PartitionStart], *, settle_s: float, reason: str) -> str:
        """Give birth to ledger `number` if `expected` is still the one in force; returns the id in force afterwards."""
        args: list[str | int] = [expected or "", number, secrets.token_hex(4), int(settle_s * 1000), reason]
        for start in starts:
            args += [start.partition.topic, start.partition.number, start.epoch, start.next, "" if start.horizon is None else start.horizon]
        return cast("str", self.run("birth", *args)[1])

    def verify(self, examined: LedgerState) -> bool:
        """
        Declare the ledger right for the server run on which it was examined.

        False when another id is in force, when it is void, and when the server has restarted or its ledger gone back
        since: then it is to be examined again.
        """
        return bool(self.run("verify", examined.id or "", examined.run, examined.version)[0] == "OK")

    def void(self, reason: str, by: str = "", *, ledger: str = "") -> str:
        """
        Have the ledger born anew, as a person asks: until a bridge has done it, every change is refused.

        Works unverified. `ledger` is the id of the one that is meant, "" for whichever is in force. Returns the id of the ledger
        that is void now. Raises LedgerUnavailable, also when there is none, LostTurn when another one is in force.
        """
        return cast("str", self.run("void", reason, by, ledger)[1])

    def start_partition(self, ledger: str, start: PartitionStart) -> int:
        """Begin a partition new to the ledger, or a new epoch of one; returns the `next` in force. Raises LostTurn for another ledger."""
        reply = self.run(
            "start_partition",
            ledger,
            start.partition.topic,
            start.partition.number,
            start.epoch,
            start.next,
            "" if start.horizon is None else start.horizon,
            int(start.replaces is not None),
            start.replaces or "",
        )
        if reply[0] == "OTHER":
            raise LostTurn(f"ledger {reply[1]} has taken the place of {ledger}")
        return int(reply[1])

    def record_loss(self, ledger: str, partition: Partition, epoch: str, start: int, end: int, reason: str) -> int:
        """Note `[start, end)` as lost: it counts as applied, is kept and shown. Returns `next`."""
        reply = self.run("record_loss", ledger, partition.topic, partition.number, epoch, start, end, reason)
        if reply[0] != "OK":
            raise LostTurn(f"the ledger in force does not know {ledger} {partition} {epoch}")
        return int(reply[1])

    def positions(self, partitions: Iterable[Partition]) -> Positions:
        """What is applied of these partitions; works unverified."""
        reply = self.run("positions", *(str(partition) for partition in partitions))
        following: dict[Partition, tuple[str, int]] = {}
        passed = set()
        for name, epoch, position, done in zip(*[iter(reply[6:])] * 4, strict=True):
            topic, _, number = name.rpartition(":")
            partition = Partition(topic, int(number))
            following[partition] = (epoch, int(position))
            if done == "1":
                passed.add(partition)
        full = int(reply[4]) >= self.dead_letters_max
        return Positions(reply[1] or None, int(reply[2]), reply[3] == "1", following, frozenset(passed), full, reply[5] == "1")

    def forget_marks(self, oldest: Iterable[tuple[Partition, str, int]]) -> int:
        """Forget the marks of records below each partition's oldest offset, given with its epoch; returns how many."""
        args: list[str | int] = []
        for partition, epoch, offset in oldest:
            args += [partition.topic, partition.number, epoch, offset]
        return int(self.run("forget_marks", *args)[1])

    # -- counting -------------------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> Woken | None:
        """
        Add the batch's new records to their instances, each record once.

        Records whose offset is applied already are passed over, so a batch may come twice, late or re-cut.
        Returns the instances for which a push task should be sent, None when the batch belongs to
        another ledger or epoch and is dropped. Raises BadInput for a malformed batch, and LettersFull
        for one that brings a dead letter when there are too many, before anything is changed.
        """
        reply = self.run(
            "apply",
            batch.ledger,
            batch.topic,
            batch.partition,
            batch.epoch,
            batch.start,
            batch.end,
            batch.kind,
            batch.checksum,
            batch.payload,
            self._kick_ms,
            self.dead_letters_max,
            batch.records,
        )
        return Woken(tuple(reply[3]), tuple(reply[4])) if reply[0] == "OK" else None

    def add_by_hand(self, instance_id: str, count: int, key: str, by: str = "") -> tuple[bool, bool]:
        """
        Add one count, once per key; `by` says who asked for it.

        Returns whether it was added now, and whether a push task should be sent.
        """
        reply = self.run("add_by_hand", instance_id, count, key, REMEMBER_KEYS_S * 1000, self._kick_ms, by)
        return reply[1] == "1", reply[2] == "1"

    def register(self, instance_id: str, job_id: str | None, by: str = "") -> None:
        """Follow an instance; `by` says who asked for it."""
        self.run("register", instance_id, job_id or "", by)

    # -- turns: one worker holds one instance ---------------------------------------------------------------------

    def take(self, instance_id: str, *, force: bool = False, by: str = "", push: bool = False) -> Turn:
        """
        Take the instance's lock; raises NotNow.

        `force` passes over back-offs and parking, as a person asks: `by` says who. `push` also opens an intent for
        what is owed, where nothing has to be looked at before: the turn then says `opened`.
        """
        token = secrets.token_hex(8)
        reply = self.run("take", instance_id, token, self._lease_ms, int(force), by, int(push))
        if reply[0] != "OK":
            raise NotNow(reply[0], int(reply[1]) / 1000 if reply[1] else None)
        turn = _turn(instance_id, token, reply)
        return replace(turn, opened=True) if len(reply) > SNAPSHOT else turn

    def _step(self, name: str, turn: Turn, *args: str | float) -> Turn:
        return _turn(turn.instance_id, turn.token, self.run(name, turn.instance_id, turn.token, self._lease_ms, *args))

    def seen(self, turn: Turn, instance: Instance) -> Turn:
        """Note what a GET showed, and settle what a birth had set aside."""
        total = instance.total_observations or ""  # 0 is awaited like none
        inserted, tasks, past = instance.inserted_observations, _tasks(instance), int(instance.state in DONE)
        return self._step("seen", turn, instance.state, instance.job_id or "", total, inserted, instance.etag or "", tasks, past)

    def unknown(self, turn: Turn) -> int:
        """The API knows no such instance; returns how many times in a row. The second parks it."""
        return int(self.run("unknown", turn.instance_id, turn.token, self._lease_ms)[1])

    def open_intent(self, turn: Turn, before: int, etag: str | None) -> Turn:
        """Write down that all that is owed is about to be sent."""
        return self._step("open_intent", turn, before, etag or "")

    def copy_intent(self, turn: Turn, intent: Intent) -> Turn:
        """Allow one more copy of the open intent, with the same delta and ETag."""
        return self._step("copy_intent", turn, intent.delta, intent.etag or "")

    def close_intent(self, turn: Turn, *, applied: bool, etag: str | None, how: str = "answered", release: bool = False) -> Turn:
        """
        Close the open intent; `etag` is the instance's after it, None when unknown.

        `how` is how the outcome was learnt: `answered`, `not sent`, `turned away`, `refused`, `read back`. `release`
        also gives the lock back, where nothing is left to do before the next count: the turn then says `released`.
        """
        outcome = "applied" if applied else "not applied"
        reply = self.run(
            "close_intent", turn.instance_id, turn.token, self._lease_ms, outcome, etag or "", how, int(release), self._rest_ms
        )
        after = _turn(turn.instance_id, turn.token, reply)
        return replace(after, released=True) if len(reply) > SNAPSHOT else after

    def no_answer(self) -> None:
        """Note for the metrics that what came of a PUT of counts is unknown. Never raises: the figure is worth no turn."""
        with suppress(LedgerUnavailable), self.reaching():
            self.client.hincrby(f"{self.prefix}counters", "push:unknown", 1)

    def release(self, turn: Turn, *, delay_s: float = 0.0, reason: str = "", watch_s: float | None = None) -> bool:
        """Give the lock back, with when and why to come again. Returns whether a push task should be sent now."""
        watch = "" if watch_s is None else int(watch_s * 1000)
        return bool(self.run("release", turn.instance_id, turn.token, int(delay_s * 1000), reason, watch, self._kick_ms)[1] == "1")

    def park(self, turn: Turn, kind: str, reason: str) -> None:
        """Set the instance aside for a person; it keeps gathering."""
        self.run("park", turn.instance_id, turn.token, kind, reason)

    def bury_owed(self, turn: Turn, reason: str) -> int:
        """Turn what is owed into a dead letter; returns the count. Raises LettersFull."""
        return self._bury(turn.instance_id, turn.token, reason, 0, self._lease_ms, "")

    def bury_parked(self, instance_id: str, reason: str, parked_longest_s: float, *, by: str = "") -> int:
        """The same for an instance parked for longer than `parked_longest_s`; 0 when it is not. `by` says who asked for it."""
        return self._bury(instance_id, "", reason, int(parked_longest_s * 1000), 0, by)

    def _bury(self, instance_id: str, token: str, reason: str, parked_longest_ms: int, lease_ms: int, by: str) -> int:
        limits = self._finished_ttl_ms, lease_ms, self.dead_letters_max, by
        return int(self.run("bury", instance_id, token, reason, parked_longest_ms, *limits)[1])

    def state_put(self, turn: Turn, alive_s: float | None) -> float | None:
        """
        A PUT of the instance's state is about to be sent; its job will be looked at.

        `alive_s` is how long an older copy can be on its way, None where If-Match holds it back. Returns None to go
        ahead, or the seconds until the older one is dead.
        """
        alive = "" if alive_s is None else int(alive_s * 1000)
        reply = self.run("state_put", turn.instance_id, turn.token, self._lease_ms, "send", alive, turn.job_id or "")
        return int(reply[1]) / 1000 if reply[1] else None

    def state_not_put(self, turn: Turn) -> None:
        """That PUT never left."""
        self.run("state_put", turn.instance_id, turn.token, self._lease_ms, "never left", "", "")

    def finish(self, turn: Turn, state: str) -> bool:
        """
        The instance has ended; its job will be looked at. Gives the lock back.

        Returns whether it owes something all the same and should be pushed.
        """
        ttls = self._finished_ttl_ms, self._kick_ms
        return bool(self.run("finish", turn.instance_id, turn.token, state, *ttls, turn.job_id or "")[1] == "1")

    # -- jobs -----------------------------------------------------------------------------------------------------

    def expect_job(self, job_id: str) -> None:
        """Put a job among those pending, to be looked at now (again)."""
        self.run("expect_job", job_id)

    def take_job(self, job_id: str) -> JobTurn:
        """Take the job's lock; raises NotNow."""
        token = secrets.token_hex(8)
        reply = self.run("take_job", job_id, token, self._lease_ms * 3)
        if reply[0] != "OK":
            raise NotNow(reply[0], None)
        return JobTurn(job_id, token, reply[1], int(reply[2]) / 1000 if reply[2] else None, int(reply[3]), int(reply[4]))

    def job_put_sent(self, turn: JobTurn) -> None:
        """A PUT of the job's state is about to be sent."""
        self.run("job_put", turn.job_id, turn.token, self._lease_ms * 3, "sent")

    def job_put_answered(self, turn: JobTurn) -> None:
        """It was answered with 200, or never left: no copy of it is on its way."""
        self.run("job_put", turn.job_id, turn.token, self._lease_ms * 3, "answered")

    def release_job(self, turn: JobTurn, outcome: str, *, state: str = "", reason: str = "", delay_s: float = 0.0) -> bool:
        """Give the lock back: `done`, `not ready`, `later` or `parked`. Returns whether it was asked for again meanwhile."""
        reply = self.run(
            "release_job",
            turn.job_id,
            turn.token,
            outcome,
            turn.wanted,
            state,
            reason,
            int(delay_s * 1000),
            self._finished_ttl_ms,
        )
        return bool(reply[1] == "1")

    # -- periodic work --------------------------------------------------------------------------------------------

    def due(self, most: int, hold_s: float, leisurely: int, in_passing: int = 1000) -> Due:
        """
        What is due, at most `most` of a kind; each is held back for `hold_s`, so that a slow task is not sent twice.

        While records flow at most `in_passing` are pushed that nobody waits for; with 0 none, whether they flow or not.
        """
        reply = self.run("due", most, self._kick_ms, int(hold_s * 1000), leisurely, self._rest_ms, in_passing)
        parked = tuple((name, float(since) / 1000) for name, since in zip(*[iter(reply[5])] * 2, strict=True))
        ready_since_s = int(reply[6]) / 1000 if reply[6] else None
        return Due(tuple(reply[1]), tuple(reply[2]), tuple(reply[3]), tuple(reply[4]), parked, ready_since_s, tuple(reply[7]))

    def lease(self, name: str, ttl_s: float) -> bool:
        """Whether this caller may do the named periodic work now; the others may not for `ttl_s`."""
        with self.reaching():
            return bool(self.client.set(f"{self.prefix}lease:{name}", "1", nx=True, px=max(1, int(ttl_s * 1000))))

    def end_lease(self, name: str) -> None:
        """Let the next caller have the named work at once."""
        with self.reaching():
            self.client.delete(f"{self.prefix}lease:{name}")

    def follow(self, state: str, instances: Iterable[Instance]) -> int:
        """Follow one page of the full listing; returns how many were new."""
        args: list[str | int] = [state]
        for instance in instances:
            total = instance.total_observations or ""  # 0 is awaited like none
            args += [instance.id, instance.job_id or "", total, instance.inserted_observations, _tasks(instance)]
        return int(self.run("follow", *args)[1])

    def followed(self) -> set[str]:
        """The ids of all instances that have not ended."""
        with self.reaching():
            return set(cast("list[str]", self.client.zrange(f"{self.prefix}followed", 0, -1)))

    def watch(self, instance_ids: Iterable[str]) -> None:
        """Have these instances looked at by the next check."""
        ids = list(instance_ids)
        if ids:
            with self.reaching():
                self.client.zadd(f"{self.prefix}watched", dict.fromkeys(ids, 0), nx=True)

    def sync_state(self) -> dict[str, str]:
        """How the full listing stands: `ok` and `tried` (ms), `attempts` since the last success, `pages`, `took` (ms), `why`."""
        with self.reaching():
            return cast("dict[str, str]", self.client.hgetall(f"{self.prefix}sync"))

    def note_sync(self, values: dict[str, str | int]) -> None:
        """Note how the full listing stands."""
        with self.reaching():
            self.client.hset(f"{self.prefix}sync", mapping=cast("dict[Any, Any]", values))

    def now_s(self) -> float:
        """Redis' clock, in seconds: the one clock all processes share."""
        with self.reaching():
            seconds, micros = self.client.time()
        return seconds + micros / 1e6

    # -- heartbeats -----------------------------------------------------------------------------------------------

    def beat(self, kind: str, name: str, info: dict[str, Any], ttl_s: float) -> None:
        """Say that a process is alive, and what it has to say; works unverified."""
        member = f"{kind}:{name}"
        expires = self.now_s() + ttl_s
        with self.reaching():
            pipeline = self.client.pipeline(transaction=False)
            pipeline.set(f"{self.prefix}heartbeat:{member}", json.dumps(info | {"at": expires - ttl_s}), px=int(ttl_s * 1000))
            pipeline.zadd(f"{self.prefix}heartbeats", {member: expires})
            pipeline.zremrangebyscore(f"{self.prefix}heartbeats", "-inf", expires - ttl_s)
            pipeline.execute()

    def heartbeats(self, kind: str) -> dict[str, dict[str, Any]]:
        """The living processes of a kind by name; works unverified."""
        with self.reaching():
            members = [m for m in cast("list[str]", self.client.zrange(f"{self.prefix}heartbeats", 0, -1)) if m.startswith(f"{kind}:")]
            values = cast("list[str | None]", self.client.mget([f"{self.prefix}heartbeat:{m}" for m in members])) if members else []
        return {m.partition(":")[2]: json.loads(v) for m, v in zip(members, values, strict=True) if v}


SNAPSHOT = 17
"""Entries of the reply of `snapshot` in prelude.lua; a script that has more to say puts it behind."""


def _turn(instance_id: str, token: str, reply: list[Any]) -> Turn:
    """Read the reply of `snapshot` in prelude.lua."""
    owed, aside, total, inserted, state, job, etag, delta, before, match, sent, tries, parked, counted, ended, now = reply[1:17]
    intent = Intent(int(delta), int(before), match or None, (int(now) - int(sent)) / 1000) if delta else None
    return Turn(
        instance_id=instance_id,
        token=token,
        owed=int(owed or 0),
        aside=int(aside) if aside else None,
        total=int(total) if total else None,
        inserted=int(inserted or 0),
        state=state,
        job_id=job or None,
        etag=etag or None,
        intent=intent,
        tries=int(tries or 0),
        parked=parked or None,
        counted=int(counted or 0),
        ended=bool(ended),
    )


def _tasks(instance: Instance) -> str:
    """The open tasks as people read them; however many there are, no more than that is kept."""
    return ", ".join(instance.open_tasks)[:LONGEST_TASKS]
