"""
The bridge's loop: poll, decode, publish, commit what the ledger has applied, publish again what it has not.

Each turn is one `step`, which waits for at most about a second unless a neighbour swallows packets. Nothing here sleeps
but through the injected `wait`, and time is the injected `clock`, so that tests and simulations bring their own.

A partition has a **place** when it has been sought to the ledger's `next`, under the ledger and epoch that hold now.
It loses its place, and with it its window, when it is assigned anew, when its first record lies below what was polled
before, when Kafka no longer holds its position, when publishing failed, and when ledger or epoch are others.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from bridge.neighbours import Changes, Cluster, Consumer, Ledger, Publisher, Stretch
from bridge.starting import Stamp, format_metadata
from bridge.troubles import Troubles
from bridge.window import Window
from tracker.decoding import decoder
from tracker.errors import LedgerUnavailable
from tracker.events import BATCH_FORMAT, MAX_RECORDS, Batch, Kind, Partition, Record, checksum, pack
from tracker.ledger_state import Positions

log = structlog.get_logger(__name__)

POLL_S = 0.25
"""How long a poll waits for records."""

FULL_POLL_S = 0.01
"""How long it waits while the window is full: applying makes room again within milliseconds."""

COMMIT_S = 0.25
"""How often the ledger is asked what is applied, and that is committed."""

CONFIRM_S = 0.25
"""
How fresh the knowledge of a topic's id must be when records are published. Kafka's fetch goes by the topic's name, so a
topic deleted and made anew would be read on at the old offset; within this time it cannot be deleted, made anew and
filled beyond that offset without one fetch that fails.
"""

MAX_WAITING = 500
"""Tasks in the apply queue beyond which no partition is begun: workers are away, or far behind."""

LOOK_S = 0.2
"""The least time between two looks at evidence that led to nothing new."""

BEAT_S = 2.0
BEAT_TTL_S = 10.0
"""How often the bridge says that it is alive, and how long that holds."""

MAX_PAYLOAD = 1 << 18
"""
The largest payload of one batch, in characters. That is room for some 4,000 different instances, whose applying holds
Redis up for some 20 ms; and for dead letters, which carry their raw bytes.
"""


class Verifier(Protocol):
    """See `bridge.verifying.Verifier`."""

    def look(self, seen: Stamp | None) -> str | None:
        """Look once; tell the ledger to work with, None to be called again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the next batch of a partition starts, and under which epoch."""

    epoch: str
    start: int


class Bridge:
    """
    Carries the records of all `consumers` to the ledger.

    `kinds` says what each topic's records are, `name` identifies this process among the bridges. Raises only what no
    waiting heals: Fenced, and mistakes of our own.
    """

    def __init__(  # noqa: PLR0913 - its neighbours, each an argument, so that a test can stand in for any
        self,
        *,
        name: str,
        kinds: Mapping[str, Kind],
        consumers: Sequence[Consumer],
        cluster: Cluster,
        ledger: Ledger,
        publisher: Publisher,
        verifier: Verifier,
        window: Window,
        clock: Callable[[], float],
        wait: Callable[[float], None],
        version: str = "",
    ) -> None:
        self.closing = self._paused = False
        self._name, self._version, self._kinds = name, version, kinds
        self._consumers, self._cluster, self._ledger = consumers, cluster, ledger
        self._publisher, self._verifier, self._window = publisher, verifier, window
        self._clock, self._wait = clock, wait
        self._decoders = {kind: decoder(kind) for kind in set(kinds.values())}
        self._trusted: str | None = None
        self._seen: Stamp | None = None
        self._mine: dict[Partition, Consumer] = {}
        self._places: dict[Partition, Place] = {}
        self._applied: dict[Partition, int] = {}
        self._standing: dict[Partition, tuple[int, str]] = {}
        self._committed: dict[Partition, tuple[int, str]] = {}
        self._confirmed = self._look_at = self._read_at = self._commit_at = self._beat_at = self._again_at = clock() - 1.0
        self._troubles = Troubles()

    # -- turns ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Take turns until `closing` is set."""
        log.info("bridge_started", name=self._name, topics=sorted(self._kinds))
        while not self.closing:
            self.step()

    def step(self) -> None:
        """Take one turn."""
        self._find_trust()
        self._find_places()
        self._poll()
        self._read_applied()
        self._publish_again()
        self._beat()

    def close(self, timeout_s: float) -> bool:
        """
        Stop polling, wait for what is on its way, commit what is applied, leave the groups.

        Returns whether all of it was applied within `timeout_s` and committed. What was not is read again by whoever comes next.
        """
        self.closing = True
        deadline = self._clock() + timeout_s
        while self._window.batches and self._trusted and self._clock() < deadline:
            self._poll()
            self._read_at = self._clock()
            self._read_applied()
            self._publish_again()
            self._beat()
        left = self._window.batches
        if self._trusted:
            with self._troubles.trying("reading", self._clock()):
                self._take_in(self._ledger.positions(self._mine))
        committed = self._trusted is not None or not self._mine
        for number, consumer in enumerate(self._consumers):
            with self._troubles.trying(f"committing {number}", self._clock()):
                consumer.commit_now({p: commit for p, commit in self._standing.items() if self._mine.get(p) is consumer}, 2.0)
            committed = committed and self._troubles.healthy(f"committing {number}")
            consumer.close(2.0)
        log.info("bridge_stopped", name=self._name, batches_left=left, committed=committed)
        return left == 0 and committed

    # -- trust and places -----------------------------------------------------------------------------------------

    def _find_trust(self) -> None:
        """Look at the evidence, unless the ledger is trusted already."""
        now = self._clock()
        if self._trusted or now < self._look_at or not self._troubles.may_try("verifying", now):
            return
        with self._troubles.trying("verifying", now):
            self._trusted = self._verifier.look(self._seen)
            if self._trusted:
                self._look_at = self._clock() + LOOK_S

    def _distrust(self, reason: str) -> None:
        """Look at the evidence before anything else is published or committed."""
        if self._trusted:
            log.info("ledger_doubted", ledger=self._trusted, reason=reason)
        self._trusted = None
        self._standing.clear()

    def _displace(self, partitions: Iterable[Partition]) -> None:
        """Take these partitions' places: what is on its way is forgotten here, and they are sought again."""
        for partition in partitions:
            self._places.pop(partition, None)
            self._window.drop(partition)

    def _find_places(self) -> None:
        """Seek every partition that has no place to the ledger's `next`."""
        now = self._clock()
        new = [partition for partition in self._mine if partition not in self._places]
        if not new or not self._trusted or not self._troubles.may_try("reading", now) or not self._queue_has_room(now):
            return
        with self._troubles.trying("reading", now):
            positions = self._ledger.positions(new)
            if not self._holds(positions):
                return
            for partition in new:
                if partition not in positions.next:
                    self._distrust(f"it does not know {partition}")
                    continue
                epoch, start = positions.next[partition]
                self._mine[partition].seek(partition, start)
                self._places[partition] = Place(epoch, start)

    def _queue_has_room(self, now: float) -> bool:
        """Whether a partition may begin: what waits in the queue is read again, and without workers each start adds copies."""
        if self._troubles.may_try("publishing", now):
            with self._troubles.trying("publishing", now):
                return self._publisher.queue_length() <= MAX_WAITING
        return False

    def _holds(self, positions: Positions) -> bool:
        """Whether these positions are those of the ledger that is trusted; it is doubted when not."""
        stamp = Stamp.of(positions)
        self._paused = positions.paused
        if positions.ledger != self._trusted:
            self._distrust(f"another is in force: {positions.ledger}")
        elif not positions.verified:
            self._distrust("the server has restarted")
        elif self._seen and stamp < self._seen:
            self._distrust(f"it was at {self._seen} and is at {stamp}")
        else:
            self._seen = stamp
            return True
        self._displace(list(self._places))
        return False

    # -- polling and publishing -----------------------------------------------------------------------------------

    def _poll(self) -> None:
        """Poll each consumer once. Whatever happened to the assignment is dealt with before any record."""
        waited = False
        for number, consumer in enumerate(self._consumers):
            now, activity = self._clock(), f"polling {number}"
            if not self._troubles.may_try(activity, now):
                continue
            stretches: list[Stretch] = []
            full = self._hold_back(consumer, now)
            with self._troubles.trying(activity, now):
                stretches = consumer.poll(0.0 if waited else FULL_POLL_S if full else POLL_S)
                waited = True
            self._hear(consumer, consumer.changes())
            if stretches and self._confirm_topics():
                for stretch in stretches:
                    self._publish(stretch)
        if not waited:
            self._wait(POLL_S)

    def _hold_back(self, consumer: Consumer, now: float) -> bool:
        """Let flow what has a place and room in the window. Returns whether something is held for want of room."""
        settled = [p for p in self._places if self._mine.get(p) is consumer]
        ready = (
            bool(self._trusted)
            and not (self.closing or self._paused)
            and self._troubles.healthy("reading")
            and self._troubles.may_try("publishing", now)
        )
        flowing = [p for p in settled if self._window.has_room(p, now)] if ready else []
        consumer.flow(flowing)
        return ready and len(flowing) < len(settled)

    def _hear(self, consumer: Consumer, changes: Changes) -> None:
        if changes.assigned is not None:
            mine = {partition for partition, owner in self._mine.items() if owner is consumer}
            self._displace(mine | changes.assigned)
            for partition in mine:
                for known in (self._mine, self._applied, self._committed):
                    known.pop(partition, None)
            self._mine |= dict.fromkeys(changes.assigned, consumer)
            log.info("partitions_assigned", partitions=sorted(map(str, changes.assigned)))
            self._distrust("partitions were assigned")
        if changes.astray:
            self._displace(changes.astray)
            self._distrust(f"Kafka no longer holds our positions of {', '.join(sorted(map(str, changes.astray)))}")

    def _confirm_topics(self) -> bool:
        """Make sure that the topics are still the ones whose epochs our places have."""
        now = self._clock()
        if now - self._confirmed < CONFIRM_S:
            return True
        with self._troubles.trying("confirming topics", now):
            found = self._cluster.topics(self._kinds)
            self._confirmed = now
            for partition, place in list(self._places.items()):
                topic_id = found.get(partition.topic, ("", 0))[0]
                if topic_id and place.epoch and topic_id != place.epoch:
                    self._displace([partition])
                    self._distrust(f"{partition.topic} was made anew")
            return True
        self._displace(list(self._places))  # what was polled cannot be published, so it is polled again
        return False

    def _publish(self, stretch: Stretch) -> None:
        """Publish a polled stretch, unless the partition has no place: then it is read again from there."""
        partition, records = stretch.partition, stretch.records
        place = self._places.get(partition)
        if place is None:
            return
        if not self._trusted:  # doubted since the poll, whose records must not become a hole
            self._displace([partition])
            return
        if records and records[0][0] < place.start:
            log.info("position_went_back", partition=str(partition), expected=place.start, found=records[0][0])
            self._displace([partition])
            return
        for batch in self._batches(partition, place, records, stretch.end):
            now = self._clock()
            self._window.add(partition, batch, now)
            try:
                self._publisher.publish(batch)
            except LedgerUnavailable as error:
                self._troubles.failed("publishing", error, now)
                self._displace([partition])
                return
        self._troubles.well("publishing")
        self._places[partition] = Place(place.epoch, stretch.end)

    def _batches(self, partition: Partition, place: Place, records: Sequence[Record], end: int) -> Iterator[Batch]:
        kind = self._kinds[partition.topic]
        payload, count = pack(kind, place.start, records[:MAX_RECORDS], self._decoders[kind])
        if len(records) > MAX_RECORDS or (len(payload) > MAX_PAYLOAD and len(records) > 1):
            half = len(records) // 2
            middle = records[half][0]
            yield from self._batches(partition, place, records[:half], middle)
            yield from self._batches(partition, Place(place.epoch, middle), records[half:], end)
            return
        last = records[-1] if records and records[-1][0] == end - 1 else None
        yield Batch(
            ledger=self._trusted or "",
            topic=partition.topic,
            partition=partition.number,
            epoch=place.epoch,
            start=place.start,
            end=end,
            kind=kind,
            records=count,
            payload=payload,
            checksum=checksum(*last) if last else "",
        )

    # -- what is applied ------------------------------------------------------------------------------------------

    def _read_applied(self) -> None:
        """Ask the ledger what is applied, forget it here, and commit it; more often while the window is full."""
        now = self._clock()
        full = any(not self._window.has_room(p, now) for p in self._places)
        if not self._trusted or now < self._read_at - (COMMIT_S - FULL_POLL_S if full else 0) or not self._troubles.may_try("reading", now):
            return
        self._read_at = now + COMMIT_S
        with self._troubles.trying("reading", now):
            self._take_in(self._ledger.positions(self._mine))
        if self._trusted and now >= self._commit_at:
            self._commit_at = now + COMMIT_S
            self._commit()
            self._publish_gaps()

    def _take_in(self, positions: Positions) -> None:
        if not self._holds(positions):
            return
        if self._troubles.letters(full=positions.letters_full):
            self._displace(list(self._places))  # what was refused is read and published again at once
        metadata = format_metadata(self._trusted or "", positions.version)
        for partition, (epoch, following) in positions.next.items():
            place = self._places.get(partition)
            if place and place.epoch != epoch:
                self._displace([partition])
            self._applied[partition] = following
            self._window.drop_applied(partition, following)
            if partition in positions.passed:
                self._standing[partition] = (following, metadata)

    def _commit(self) -> None:
        """Commit what has changed, the ledger's version alone too. A commit that failed is sent again."""
        for number, consumer in enumerate(self._consumers):
            mine = {p: commit for p, commit in self._standing.items() if self._mine.get(p) is consumer}
            news = {p: commit for p, commit in mine.items() if consumer.commit_error or self._committed.get(p) != commit}
            if news:
                with self._troubles.trying(f"committing {number}", self._clock()):
                    consumer.commit(news)
                    self._committed |= news

    def _publish_gaps(self) -> None:
        """Publish stretches without records (transaction markers, compaction), so that `next` gets past them."""
        gaps = []
        with self._troubles.trying("asking for positions", self._clock()):
            for partition, place in self._places.items():
                position = None if partition in self._window else self._mine[partition].position(partition)
                if position is not None and position > place.start:
                    gaps.append(Stretch(partition, (), position))
        if gaps and self._confirm_topics():
            for gap in gaps:
                self._publish(gap)

    def _publish_again(self) -> None:
        """Publish overdue batches again, while the queue is shorter than all bridges' windows: else they wait in it."""
        now = self._clock()
        due = list(self._window.overdue(now)) if now >= self._again_at else []
        if not due or not self._trusted or not self._troubles.may_try("publishing", now):
            return
        self._again_at = now + POLL_S
        with self._troubles.trying("publishing", now):
            others = (info for name, info in self._ledger.heartbeats("bridge").items() if name != self._name)
            windows = self._window.batches + sum(int(info.get("window_batches", 0)) for info in others)
            for outstanding in due if self._publisher.queue_length() < windows else ():
                self._publisher.publish(outstanding.batch)
                self._window.publish_again(outstanding, now)
                log.info("batch_published_again", batch=outstanding.batch.id, attempts=outstanding.attempts)

    # -- saying how it stands -------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Say how the bridge stands. No trouble with it ends the loop."""
        now = self._clock()
        if now < self._beat_at:
            return
        self._beat_at = now + BEAT_S
        ends: dict[Partition, int] = {}
        if self._mine and self._troubles.may_try("reading ends", now):
            with self._troubles.trying("reading ends", now):
                ends = self._cluster.ends(self._mine, timeout_s=1.0)
        try:
            self._ledger.beat("bridge", self._name, self._report(ends, now), BEAT_TTL_S)
        except Exception as error:  # noqa: BLE001 - a heartbeat that fails is shown by its absence
            log.debug("heartbeat_failed", reason=str(error))

    def _report(self, ends: Mapping[Partition, int], now: float) -> dict[str, Any]:
        partitions = {}
        for partition in self._mine:
            end, following = ends.get(partition), self._applied.get(partition)
            lag = None if end is None or following is None else max(0, end - following)
            partitions[str(partition)] = {"next": following, "end": end, "lag": lag, "placed": partition in self._places}
        stubborn = [
            {
                "partition": f"{each.batch.topic}:{each.batch.partition}",
                "start": each.batch.start,
                "end": each.batch.end,
                "attempts": each.attempts,
                "error": f"published {each.attempts} times in {now - each.since:.0f} s and not applied",
            }
            for each in self._window.stubborn()
        ]
        commit_errors = [consumer.commit_error for consumer in self._consumers if consumer.commit_error]
        words = [*self._troubles.words.values(), *(f"commit: {text}" for text in commit_errors)]
        return {
            "ledger": self._trusted,
            "partitions": partitions,
            "window_records": self._window.records,
            "window_batches": self._window.batches,
            "error": "; ".join(words) or None,
            "republished": stubborn,
            "version": self._version,
            "batch_format": BATCH_FORMAT,
        }
