"""
What Prometheus scrapes at `/metrics`: one reading of Redis, and the board of health, as metric families.

Everything stands in Redis, so every web process tells the same, and a restart of a worker loses no counter. A scrape
within a second of another is answered from the same reading.
"""

import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tracker import metrics
from tracker.errors import LedgerUnavailable
from tracker.health import Board, version
from tracker.metrics import PROCESSES, Reading
from tracker.overview import Overview

KEEP_S = 1.0
"""Seconds for which one reading answers, whoever asks."""

PREFIX = "import_tracker_"

STATUS = {"OK": 0, "WARNING": 1, "CRITICAL": 2}

BUCKETS = ("0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60", "300", "+Inf")
"""The bounds in seconds of `took` in prelude.lua."""

OUTCOMES = ("applied", "not sent", "turned away", "refused", "unknown", "read back applied", "read back not applied")


class Metrics(Collector):
    """Collects all metric families; `scrape` writes them out."""

    def __init__(self, overview: Overview, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        self._overview = overview
        self._board = board
        self._clock = clock
        self._lock = threading.Lock()
        self._reading: Reading | None = None
        self._read_at = -KEEP_S
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the form that the `Accept` header asks for, and its content type. Blocks, also while Redis is away."""
        encode, content_type = choose_encoder(accept)
        text: bytes = encode(self._registry)
        return text, content_type

    def collect(self) -> Iterator[Metric]:
        """Yield all families; those that Redis tells only while it answers."""
        yield from of_this_process(self._board)
        reading = self._read()
        yield gauge("redis_up", "Whether Redis answered this scrape; without it there are no other figures.", int(reading is not None))
        if reading is not None:
            yield from of_counts(reading)
            yield from of_apis(reading)
            yield from of_people(reading)
            yield from of_parts(reading)
            yield from of_history(reading)

    def _read(self) -> Reading | None:
        with self._lock:
            if self._clock() - self._read_at >= KEEP_S:
                try:
                    self._reading = metrics.read(self._overview)
                except LedgerUnavailable:
                    self._reading = None
                self._read_at = self._clock()
            return self._reading


def gauge(name: str, text: str, value: float | None = None) -> GaugeMetricFamily:
    """A gauge, without a sample where there is no value."""
    return GaugeMetricFamily(f"{PREFIX}{name}", text, value=value)


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    """A counter; `_total` is added to its name."""
    return CounterMetricFamily(f"{PREFIX}{name}", text, value=value)


def of_this_process(board: Board) -> Iterator[Metric]:
    """What the web process knows without Redis."""
    told = version()
    info = GaugeMetricFamily(f"{PREFIX}build_info", "1; its labels say what runs here.", labels=["version", "python", "git_commit"])
    info.add_metric([told["version"], told["language_version"], told["git_commit"]], 1)
    yield info
    checks = GaugeMetricFamily(f"{PREFIX}health_check_status", "A health check: 0 OK, 1 warning, 2 critical.", labels=["check"])
    for check in board.checks.values():
        if check.finding:
            checks.add_metric([check.name], STATUS[check.finding.status])
    yield checks
    yield gauge("health_status", "The whole, as /health has it: 0 OK, 1 warning, 2 critical.", STATUS[board.status])


def of_counts(reading: Reading) -> Iterator[Metric]:
    """From Kafka to the ledger."""
    lag = GaugeMetricFamily(
        f"{PREFIX}partition_lag_records", "Records in Kafka that are not applied, read or not.", labels=["topic", "partition"]
    )
    for (topic, partition), records in sorted(reading.lags.items()):
        lag.add_metric([topic, partition], records)
    yield lag
    yield gauge("window_records", "Records published as tasks and not seen applied, over all bridges.", reading.window_records)
    stuck = reading.stuck_partitions
    yield gauge("stuck_partitions", "Partitions whose oldest batch stays unapplied though it was published again.", stuck)
    yield counter("records_applied", "Records of counts applied to the ledger.", reading.counter("records"))
    yield counter("registrations_applied", "Records of registrations applied to the ledger.", reading.counter("registrations"))
    below = reading.counter("records_below_horizon")
    yield counter("records_below_horizon", "Records of counts set aside at a birth, until compared with the Dataset API.", below)
    yield counter("batches_refused", "Batches of another ledger or epoch; their records come again.", reading.counter("batches_refused"))
    yield counter("losses", "Recorded losses: stretches that Kafka deleted before they were read.", reading.counter("losses"))
    yield counter("lost_records", "Offsets in recorded losses.", reading.counter("records_lost"))


def of_apis(reading: Reading) -> Iterator[Metric]:
    """From the ledger to the APIs."""
    yield gauge("owed_observations", "Observations applied and not confirmed by the Dataset API.", reading.owed)
    yield gauge("owing_instances", "Instances with such observations.", reading.sizes["owed"])
    yield gauge("owed_age_seconds", "How long the longest owing instance has owed without a break.", reading.age_s("owed"))
    yield gauge("open_intents", "PUTs of counts whose outcome is not known.", reading.sizes["intents"])
    yield gauge("open_intent_age_seconds", "Since when the oldest of them is open.", reading.age_s("intents"))
    yield counter("observations_pushed", "Observations confirmed by the Dataset API.", reading.counter("pushed"))
    pushes = CounterMetricFamily(
        f"{PREFIX}pushes",
        "PUTs of counts by outcome. One that ended unknown is counted again by what reading back told.",
        labels=["outcome"],
    )
    for outcome in OUTCOMES:
        pushes.add_metric([outcome.replace(" ", "_")], reading.counter(f"push:{outcome}"))
    yield pushes
    yield ended("instances_ended", "Instances that have ended, by state.", reading, "instances", ("completed", "failed", "ended"))
    yield ended("jobs_ended", "Jobs that have their last state.", reading, "jobs", ("completed", "failed"))
    yield completion(reading)
    yield gauge("pending_jobs", "Jobs that are to be looked at.", reading.sizes["jobs"])
    yield gauge("failing_jobs", "Those of them whose last look came to nothing.", reading.sizes["failing_jobs"])
    yield gauge("failing_job_age_seconds", "How long the looks at one of them have come to nothing.", reading.age_s("failing_jobs"))
    yield gauge("followed_instances", "Instances that have not ended.", reading.sizes["followed"])
    yield gauge("settling_instances", "Instances of long ago that a birth has yet to compare.", reading.sizes["leisure"])


def ended(name: str, text: str, reading: Reading, kind: str, states: tuple[str, ...]) -> CounterMetricFamily:
    """A counter by state."""
    family = CounterMetricFamily(f"{PREFIX}{name}", text, labels=["state"])
    for state in states:
        family.add_metric([state], reading.counter(f"{kind}:{state}"))
    return family


def completion(reading: Reading) -> HistogramMetricFamily:
    """The histogram; each bucket of ours holds what is in no smaller one."""
    buckets, below = [], 0
    for bound in BUCKETS:
        below += reading.counter(f"latency:{bound}")
        buckets.append((bound, float(below)))
    text = "From an instance's last applied record until it was completed."
    total_s = reading.counter("latency_ms") / 1000
    return HistogramMetricFamily(f"{PREFIX}completion_seconds", text, buckets=buckets, sum_value=total_s)


def of_people(reading: Reading) -> Iterator[Metric]:
    """What waits for a person."""
    yield gauge("parked_instances", "Instances that wait for a person.", reading.sizes["parked"])
    yield gauge("parked_age_seconds", "How long the longest of them has waited.", reading.age_s("parked"))
    yield gauge("stuck_instances", "Instances that have stood still for STUCK_AFTER.", reading.sizes["stuck"])
    yield gauge("parked_jobs", "Jobs that the Import API does not know.", reading.sizes["parked_jobs"])
    yield counter("parkings", "Instances that were parked, ever.", reading.counter("parked"))
    yield gauge("dead_letters_waiting", "Dead letters that nobody has decided about.", reading.sizes["dead"])
    letters = CounterMetricFamily(f"{PREFIX}dead_letters", "Dead letters by what became of them.", labels=["fate"])
    letters.add_metric(["made"], reading.counter("dead_letters"))
    for fate in ("replayed", "dropped"):
        letters.add_metric([fate], reading.counter(f"dead_letters:{fate}"))
    yield letters


def of_parts(reading: Reading) -> Iterator[Metric]:
    """Processes, queues, the ledger itself."""
    alive = GaugeMetricFamily(f"{PREFIX}processes", "Living processes by kind, as their signs of life tell.", labels=["kind"])
    for kind in PROCESSES:
        alive.add_metric([kind], len(reading.processes[kind]))
    yield alive
    queues = GaugeMetricFamily(f"{PREFIX}queue_messages", "Messages that wait for a worker.", labels=["queue"])
    for queue, messages in reading.queues.items():
        queues.add_metric([queue], messages)
    yield queues
    unacknowledged = reading.unacknowledged
    yield gauge("unacknowledged_messages", "Messages that workers have and have not acknowledged, over all queues.", unacknowledged)
    yield gauge("beat_tick_age_seconds", "How long ago Beat last sent the check.", reading.since_s(reading.tick_s))
    yield gauge("listing_age_seconds", "How long ago the full listing was last read.", reading.since_s(reading.listed_s))
    yield counter("births", "Births of ledgers, the first one included.", reading.counter("births"))
    yield gauge("ledger_number", "The number of the ledger in force, 0 while there is none.", int(reading.ledger.get("number") or 0))
    unpassed = int(reading.ledger.get("unpassed") or 0)
    yield gauge("ledger_unpassed_partitions", "Partitions still read anew after a birth; nothing is pushed until it is 0.", unpassed)


def of_history(reading: Reading) -> Iterator[Metric]:
    """The history and its database."""
    draining = reading.draining
    yield gauge("history_entries", "Entries of the history in Redis.", draining.entries)
    yield gauge("history_database_configured", "Whether a database keeps the history (DB_ACCESS).", int(draining.configured))
    waiting_s = (draining.waiting_s or 0.0) if draining.configured else None
    yield gauge("history_undrained_age_seconds", "Age of the oldest entry that the database lacks.", waiting_s)
    yield gauge("history_drain_failures", "Failures in a row to write to the database.", draining.failures)
    yield counter("history_trimmed_undrained", "Entries trimmed before the database had them.", draining.lost)
