"""
Gathers the evidence on which `starting` decides, and carries out what it decides: verifies the ledger, or gives birth.

One call is one look. It may be cut short anywhere: whatever was done by then is found by the next look.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from bridge.neighbours import Cluster, Ledger
from bridge.starting import Birth, Bounds, Commit, Evidence, Loss, Stamp, judge, plan_birth, plan_starts, seal
from tracker.errors import LedgerUnavailable, Transient
from tracker.events import Partition

log = structlog.get_logger(__name__)

GAP_PATIENCE_S = 60.0
"""
How long a gap is not written off while tasks wait to be applied: one of them may hold the very records that Kafka has
deleted meanwhile, and what is recorded as lost is passed over when it comes.
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What of the settings bears on a birth.

    `groups` has the consumer group of each of the two topics; `wait_s` is how long an older request can be on its way to
    the Dataset API.
    """

    counts_topic: str
    registrations_topic: str
    groups: Mapping[str, str]
    oldest: bool
    wait_s: float


class Verifier:
    """Brings it about that there is a ledger to be trusted."""

    def __init__(self, ledger: Ledger, cluster: Cluster, policy: Policy, *, waiting: Callable[[], int], clock: Callable[[], float]) -> None:
        """`waiting` tells how many tasks wait to be applied, `clock` the time in seconds."""
        self._ledger = ledger
        self._cluster = cluster
        self._policy = policy
        self._waiting = waiting
        self._clock = clock
        self._closed: tuple[str, str] | None = None
        self._gap_since: float | None = None

    def look(self, seen: Stamp | None) -> str | None:
        """
        Look once. Returns the id of the ledger that may be worked with, None when it is to be looked again, at once.

        `seen` is the highest stamp that the caller has read itself. Raises Transient.
        """
        evidence = self.gather(seen)
        reason = judge(evidence)
        if reason is not None:
            closed, why = self._closed or (None, "")
            self._give_birth(evidence, why if closed == evidence.state.id and closed else reason)
            return None
        ledger = evidence.state.id
        if ledger is None or not self._ledger.verify(evidence.state):
            return None
        if not evidence.state.verified:
            log.info("ledger_verified", ledger=ledger, version=evidence.state.version)
        self._begin(ledger, evidence)
        return ledger

    def gather(self, seen: Stamp | None) -> Evidence:
        """Read everything in the order that `starting` asks for. Raises Transient when a topic changed meanwhile."""
        policy, names = self._policy, (self._policy.counts_topic, self._policy.registrations_topic)
        topics = self._cluster.topics(names)
        if policy.counts_topic not in topics:
            raise Transient(f"Kafka: the topic {policy.counts_topic} does not exist yet")
        partitions = {topic: [Partition(topic, number) for number in range(count)] for topic, (_, count) in topics.items()}
        commits: dict[Partition, Commit] = {}
        for topic, members in partitions.items():
            found = self._cluster.commits(policy.groups[topic], members)
            commits |= {partition: Commit(offset, metadata) for partition, (offset, metadata) in found.items()}
        state = self._ledger.state(names)
        found_bounds = self._cluster.bounds([partition for members in partitions.values() for partition in members])
        bounds = {partition: Bounds(start, end) for partition, (start, end) in found_bounds.items()}
        last_applied = {
            partition: known.next - 1
            for partition, known in state.partitions.items()
            if known.checksum and partition in bounds and bounds[partition].start < known.next <= bounds[partition].end
        }
        checksums = self._cluster.checksums(last_applied)
        if self._cluster.topics(names) != topics:
            raise Transient("Kafka: a topic changed while it was looked at")
        return Evidence(
            counts_topic=policy.counts_topic,
            commits=commits,
            state=state,
            topic_ids={topic: topic_id for topic, (topic_id, _) in topics.items()},
            bounds=bounds,
            checksums=checksums,
            seen=seen,
        )

    def _give_birth(self, evidence: Evidence, reason: str) -> None:
        policy = self._policy
        birth = seal(evidence, reason)
        closing = birth is not None
        if birth is None:
            birth = plan_birth(evidence, reason, oldest=policy.oldest, registrations_topic=policy.registrations_topic, wait_s=policy.wait_s)
        born = self._ledger.birth(birth.expected, birth.number, birth.starts, settle_s=birth.settle_s, reason=birth.reason)
        if not born.startswith(f"{birth.number}-"):
            log.info("ledger_birth_forestalled", ledger=born)
        elif closing:
            self._closed = (born, reason)
            log.warning("ledger_closed", before=birth.expected, ledger=born, reason=reason)
        else:
            self._announce(born, birth)

    @staticmethod
    def _announce(born: str, birth: Birth) -> None:
        starts = {str(start.partition): [start.next, start.horizon] for start in birth.starts}
        log.warning("ledger_born", ledger=born, before=birth.expected, reason=birth.reason, settle_s=birth.settle_s, starts=starts)

    def _begin(self, ledger: str, evidence: Evidence) -> None:
        starts, losses = plan_starts(evidence)
        for start in starts:
            position = self._ledger.start_partition(ledger, start)
            log.warning("partition_started", ledger=ledger, partition=str(start.partition), epoch=start.epoch, next=position)
        ids = evidence.topic_ids
        self._ledger.forget_marks((partition, ids.get(partition.topic, ""), bounds.start) for partition, bounds in evidence.bounds.items())
        self._be_patient(losses)
        for loss in losses:
            position = self._ledger.record_loss(ledger, loss.partition, loss.epoch, loss.start, loss.end, loss.reason)
            log.error("records_lost", ledger=ledger, partition=str(loss.partition), start=loss.start, end=loss.end, next=position)

    def _be_patient(self, losses: Sequence[Loss]) -> None:
        """Raise LedgerUnavailable as long as a gap is not to be written off yet."""
        if not losses:
            self._gap_since = None
            return
        now = self._clock()
        if self._gap_since is None:
            self._gap_since = now
        waiting = self._waiting()
        if waiting and now - self._gap_since < GAP_PATIENCE_S:
            raise LedgerUnavailable(f"{losses[0].reason}, but one of the {waiting} tasks that wait to be applied may hold them")
        self._gap_since = None
