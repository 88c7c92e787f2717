"""
The Kafka room: what is polled, where each partition stands, what is committed, and what the cluster says of its topics.

`GroupConsumer` is a member of one consumer group. A partition it is given is **held**, paused at offset 0, until the
caller has sought it: the group's commit decides nothing here, the ledger does. `Cluster` asks what no membership is
needed for. Both connect on first use and again after a failure.

Everything raises Transient, in words, when Kafka is away or refuses; Fenced when another process has taken our static
member id.
"""

import logging
import ssl
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast
from uuid import UUID

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient

from bridge.handshake import trouble
from bridge.neighbours import Changes, Stretch
from bridge.records import Records
from tracker.errors import Permanent, Transient
from tracker.events import Partition, Record, checksum

CONNECT_S = 2.0
"""How long one attempt to connect may take. A down broker refuses at once; this is for one that swallows packets."""

ANSWER_S = 5.0
"""How long one question to the cluster may take."""

FETCH_WAIT_S, LEISURELY_FETCH_WAIT_S = 0.1, 0.5
"""
How long the broker may hold back a fetch that finds nothing. A partition that is resumed meanwhile waits for it too,
since one fetch at a time is under way to a broker. The longer one costs less, where that does not matter.
"""

JOIN_POLL_S = 0.3
"""The least a poll waits while the group is being joined: an answer that comes between two polls is asked for again."""

_METADATA_AGE_MS = 5_000
"""How soon a new topic or partition is noticed. Kafka's default of 5 minutes would leave its records lying that long."""

_COMMON = {
    "client_id": "import-tracker",
    "bootstrap_timeout_ms": int(CONNECT_S * 1000),
    "reconnect_backoff_max_ms": 1_000,
    "metadata_max_age_ms": _METADATA_AGE_MS,
}

_TRANSACTIONS_SINCE = (0, 11)
"""Brokers before this version know no transactions, hence no read_committed either."""

Tls = Callable[[], ssl.SSLContext | None]
"""Gives what makes a connection a TLS one, asked for each new client; None: without. Raises ValueError for files gone bad."""


def no_tls() -> None:
    """Without TLS."""


_NO_TOPIC_ID = str(UUID(int=0))


class Fenced(Permanent):
    """Another process has joined the group with our static member id: one of the two must be configured differently."""


@contextmanager
def _reaching(what: str) -> Iterator[None]:
    """Translate what kafka-python raises."""
    try:
        yield
    except kafka_errors.FencedInstanceIdError as error:
        raise Fenced("another process has joined the group with the same KAFKA_GROUP_INSTANCE_ID") from error
    except (kafka_errors.KafkaError, OSError, TimeoutError) as error:
        raise Transient(f"Kafka: {what}: {_words(error)}") from error


def _words(error: BaseException) -> str:
    name, text = type(error).__name__, str(error).split("\n", 1)[0].removesuffix(": ")
    return (text if name in text else f"{name}: {text}" if text else name)[:300]


def _connect(make: Callable[..., Any], servers: Sequence[str], tls: Tls, **config: Any) -> Any:  # noqa: ANN401 - kafka-python has no types
    """Make a client, and close what it has already started when it cannot reach a broker. Raises Transient where TLS is the reason."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # it says the same thing each second; we say once what it means
    started: list[Any] = []

    def client(**values: Any) -> Any:  # noqa: ANN401
        started.append(KafkaNetClient(**values))
        return started[-1]

    try:
        context = tls()
    except ValueError as error:
        raise Transient(f"Kafka: {error}") from error
    if context is not None:
        config |= {"security_protocol": "SSL", "ssl_context": context}
    try:
        return make(kafka_client=client, bootstrap_servers=list(servers), **_COMMON, **config)
    except BaseException as error:
        for each in started:
            with suppress(Exception):
                each.close()
        if isinstance(error, kafka_errors.KafkaError) and (why := trouble(servers, context)):
            raise Transient(f"Kafka: {why}") from error
        raise


def _reader(servers: Sequence[str], tls: Tls, **config: Any) -> Any:  # noqa: ANN401
    """Make a consumer that reads committed records only, where the brokers know what that is."""
    values = {
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "allow_auto_create_topics": False,
        "fetch_max_wait_ms": int(FETCH_WAIT_S * 1000),
        "metrics_enabled": False,
    } | config
    reader = _connect(KafkaConsumer, servers, tls, isolation_level="read_committed", **values)
    if reader.config["api_version"] < _TRANSACTIONS_SINCE:
        reader.close(autocommit=False, timeout_ms=1000)
        reader = _connect(KafkaConsumer, servers, tls, isolation_level="read_uncommitted", **values)
    return reader


def _mend(consumer: Any) -> bool:  # noqa: ANN401
    """
    Undo two faults of kafka-python (seen in 3.0.12) before each poll; tests/contract/test_consumer.py shows both.

    Returns whether the member is joining its group at present.

    A poll that ends while a rejoin for changed metadata is under way makes the client forget that it is rejoining: the
    answer is never taken, heartbeats stay off, and the member waits for ever without partitions. And records set by for
    a paused partition never come back, nor is anything else of it fetched, once another partition was read meanwhile.
    """
    coordinator, fetcher = consumer._coordinator, consumer._fetcher  # noqa: SLF001 - there is no public way
    if coordinator.rejoining and not coordinator.rejoin_needed:
        coordinator.request_rejoin()
    if fetcher._next_partition_records is not None and not fetcher._next_partition_records:  # noqa: SLF001
        fetcher._next_partition_records = None  # noqa: SLF001 - used up; only where there is none are others taken out again
    return bool(coordinator.rejoining)


def _ours(partition: Any) -> Partition:  # noqa: ANN401
    return Partition(partition.topic, partition.partition)


def _theirs(partition: Partition) -> Any:  # noqa: ANN401
    return TopicPartition(partition.topic, partition.number)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # kafka-python has no types
    """Holds what is assigned, before anything of it is fetched, and notes it. Called inside `poll`, on another thread."""

    def __init__(self, consumer: Any) -> None:  # noqa: ANN401
        self._consumer = consumer
        self.heard: list[frozenset[Partition]] = []

    def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        """Nothing: what is on its way is applied all the same, and an assignment always follows."""

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        for partition in assigned:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)
        self.heard.append(frozenset(_ours(partition) for partition in assigned))


class GroupConsumer:
    """
    A member of a consumer group. Not for use by several threads.

    The group gives up a member that sends no heartbeat for `session_timeout_s`; a thread of the client sends them, so
    polling may pause, though not for longer than 5 minutes.
    """

    def __init__(
        self,
        servers: Sequence[str],
        group: str,
        topics: Sequence[str],
        *,
        session_timeout_s: float,
        poll_records: int,
        instance_id: str | None = None,
        fetch_wait_s: float = FETCH_WAIT_S,
        tls: Tls = no_tls,
    ) -> None:
        self.group = group
        self.topics = frozenset(topics)
        self.commit_error: str | None = None
        self._servers, self._tls = servers, tls
        self._config: dict[str, Any] = {
            "group_id": group,
            "group_instance_id": instance_id,
            "session_timeout_ms": int(session_timeout_s * 1000),
            "heartbeat_interval_ms": int(min(3.0, session_timeout_s / 3) * 1000),
            "fetch_max_wait_ms": int(fetch_wait_s * 1000),
            "max_poll_records": poll_records,
            "max_partition_fetch_bytes": 4 << 20,
            "fetch_max_bytes": 16 << 20,
        }
        self._consumer: Any = None
        self._listener: _Listener | None = None
        self._flowing: frozenset[Partition] = frozenset()
        self._astray: set[Partition] = set()

    def _joined(self) -> Any:  # noqa: ANN401
        if self._consumer is None:
            with _reaching("connecting"):
                consumer = _reader(self._servers, self._tls, **self._config)
                consumer._fetcher.PartitionRecords = Records  # noqa: SLF001 - there is no public way
                self._listener = _Listener(consumer)
                consumer.subscribe(list(self.topics), listener=self._listener)
                # Joining before the client knows the topics' partitions assigns none, and when the knowledge arrives while
                # the join is under way it goes unnoticed (KAFKA-3949): so it is fetched first.
                try:
                    consumer.topics()
                except BaseException:
                    consumer.close(autocommit=False, timeout_ms=0)
                    raise
            self._consumer = consumer
        return self._consumer

    def poll(self, timeout_s: float) -> list[Stretch]:
        """
        Wait up to `timeout_s` for records of the partitions that flow. Ask `changes` afterwards, also when this raises.

        Records come at most `poll_records` at a time.
        """
        consumer = self._joined()
        try:
            with _reaching("polling"):
                joining = _mend(consumer)
                polled = consumer.poll(timeout_ms=int(max(timeout_s, JOIN_POLL_S if joining else 0.0) * 1000))
                return [Stretch(_ours(p), records, self._after(consumer, p, records)) for p, records in polled.items()]
        except Transient as error:
            cause = error.__cause__
            if isinstance(cause, kafka_errors.OffsetOutOfRangeError):
                self._astray |= {_ours(partition) for partition in cause.args[0]}
            elif isinstance(cause, kafka_errors.LogTruncationError):
                self._astray |= {_ours(partition) for partition in cause.divergent_offsets}
            elif not isinstance(cause, kafka_errors.NoOffsetForPartitionError):
                raise
            return []

    @staticmethod
    def _after(consumer: Any, partition: Any, records: Sequence[Record]) -> int:  # noqa: ANN401
        after = records[-1][0] + 1
        with suppress(kafka_errors.KafkaError):  # these records have left the client and will not come again
            after = max(after, consumer.position(partition, timeout_ms=1000) or 0)
        return after

    def changes(self) -> Changes:
        """What has happened since this was last asked."""
        heard = self._listener.heard if self._listener else []
        assigned = heard[-1] if heard else None
        if assigned is not None:
            heard.clear()
            self._flowing = frozenset()
        astray, self._astray = frozenset(self._astray), set()
        return Changes(assigned, astray)

    def assignment(self) -> frozenset[Partition]:
        """The partitions that are ours."""
        return frozenset(_ours(partition) for partition in self._consumer.assignment()) if self._consumer else frozenset()

    def seek(self, partition: Partition, offset: int) -> None:
        """Poll the partition from `offset` next. Nothing happens when it is not ours any more."""
        with suppress(ValueError):
            self._joined().seek(_theirs(partition), offset)

    def position(self, partition: Partition) -> int | None:
        """The offset polled next, None when the partition is not ours."""
        with _reaching("asking for a position"), suppress(kafka_errors.IllegalStateError):
            return cast("int | None", self._joined().position(_theirs(partition), timeout_ms=1000))
        return None

    def flow(self, partitions: Collection[Partition]) -> None:
        """Let these partitions be polled, and hold all others. Polling must go on, so that the group keeps us."""
        wanted = frozenset(partitions)
        if wanted == self._flowing or self._consumer is None:
            return
        mine = self._consumer.assignment()
        self._consumer.pause(*(p for p in mine if _ours(p) not in wanted))
        self._consumer.resume(*(p for p in mine if _ours(p) in wanted))
        self._flowing = wanted

    def _offsets(self, commits: Mapping[Partition, tuple[int, str]]) -> dict[Any, Any]:
        mine = self.assignment()
        return {_theirs(p): OffsetAndMetadata(offset, metadata, -1) for p, (offset, metadata) in commits.items() if p in mine}

    def commit(self, commits: Mapping[Partition, tuple[int, str]]) -> None:
        """Send commits `(offset, metadata)` of partitions that are ours; `commit_error` says later how the last one went."""
        if offsets := self._offsets(commits):
            with _reaching("committing"):
                self._joined().commit_async(offsets, callback=self._committed)

    def _committed(self, _offsets: object, answer: object) -> None:
        self.commit_error = _words(answer) if isinstance(answer, Exception) else None

    def commit_now(self, commits: Mapping[Partition, tuple[int, str]], timeout_s: float) -> None:
        """Commit, and wait for the answer."""
        if offsets := self._offsets(commits):
            with _reaching("committing"):
                self._joined().commit(offsets, timeout_ms=int(timeout_s * 1000))

    def close(self, timeout_s: float) -> None:
        """Leave the group, so that the others take over at once."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(kafka_errors.KafkaError, OSError):
                consumer.close(autocommit=False, timeout_ms=int(timeout_s * 1000))


class Cluster:
    """What the cluster says of topics, groups, offsets and single records, to members and others alike."""

    def __init__(self, servers: Sequence[str], tls: Tls = no_tls) -> None:
        self._servers, self._tls = servers, tls
        self._admin: Any = None
        self._probe: Any = None

    @contextmanager
    def _asking(self, what: str) -> Iterator[tuple[Any, Any]]:
        limits = {"request_timeout_ms": int(ANSWER_S * 1000)}
        try:
            with _reaching(what):
                if self._admin is None:
                    self._admin = _connect(KafkaAdminClient, self._servers, self._tls, **limits)
                if self._probe is None:
                    self._probe = _reader(self._servers, self._tls, max_partition_fetch_bytes=1 << 16, **limits)
                yield self._admin, self._probe
        except Transient:
            self.close()  # what the clients remember of the cluster, its coordinators for one, may be the trouble
            raise

    def topics(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        """The id ("" from brokers without one) and the number of partitions of those topics that exist."""
        with self._asking("describing topics") as (admin, _):
            described = admin.describe_topics(sorted(names))
        found = {}
        for topic in described:
            if topic["error_code"] == kafka_errors.TopicAuthorizationFailedError.errno:
                raise Transient(f"Kafka: not authorized to describe {topic['name']}")
            if topic["error_code"] == 0:
                topic_id = str(topic.get("topic_id") or _NO_TOPIC_ID)
                found[topic["name"]] = ("" if topic_id == _NO_TOPIC_ID else topic_id, len(topic["partitions"]))
        return found

    def commits(self, group: str, partitions: Collection[Partition]) -> dict[Partition, tuple[int, str]]:
        """The group's commits `(offset, metadata)` of these partitions, whoever made them; those without one are left out."""
        with self._asking(f"reading the commits of group {group}") as (admin, _):
            found = admin.list_group_offsets({group: [_theirs(partition) for partition in partitions]})[group]
        return {_ours(partition): (commit.offset, commit.metadata or "") for partition, commit in found.items() if commit.offset >= 0}

    def bounds(self, partitions: Collection[Partition]) -> dict[Partition, tuple[int, int]]:
        """Each partition's oldest offset, and the end of what is committed: an open transaction lies behind it."""
        wanted = [_theirs(partition) for partition in partitions]
        with self._asking("reading the ends of the partitions") as (_, probe):
            starts = probe.beginning_offsets(wanted, timeout_ms=int(ANSWER_S * 1000))
            ends = probe.end_offsets(wanted, timeout_ms=int(ANSWER_S * 1000))
        return {_ours(partition): (starts[partition], ends[partition]) for partition in wanted}

    def ends(self, partitions: Collection[Partition], timeout_s: float) -> dict[Partition, int]:
        """The ends alone."""
        with self._asking("reading the ends of the partitions") as (_, probe):
            ends = probe.end_offsets([_theirs(partition) for partition in partitions], timeout_ms=int(timeout_s * 1000))
        return {_ours(partition): end for partition, end in ends.items()}

    def checksums(self, offsets: Mapping[Partition, int]) -> dict[Partition, str]:
        """The checksum of the record at each offset; left out where there is none, or none came within `ANSWER_S`."""
        missing = {_theirs(partition): offset for partition, offset in offsets.items()}
        found: dict[Partition, str] = {}
        if not missing:
            return found
        with self._asking("reading single records") as (_, probe):
            probe.assign(list(missing))
            probe.resume(*missing)
            for partition, offset in missing.items():
                probe.seek(partition, offset)
            for _ in range(int(ANSWER_S * 10)):
                for partition, records in self._first_records(probe).items():
                    for record in records[:1]:
                        if record.offset == missing.get(partition):
                            found[_ours(partition)] = checksum(record.offset, record.value)
                for partition, offset in list(missing.items()):
                    if _ours(partition) in found or (probe.position(partition, timeout_ms=1000) or 0) > offset:
                        del missing[partition]
                        probe.pause(partition)
                if not missing:
                    break
            probe.unsubscribe()
        return found

    @staticmethod
    def _first_records(probe: Any) -> Mapping[Any, Sequence[Any]]:  # noqa: ANN401
        _mend(probe)
        try:
            return cast("Mapping[Any, Sequence[Any]]", probe.poll(timeout_ms=100, max_records=1))
        except kafka_errors.OffsetOutOfRangeError as error:  # deleted or truncated: there is no such record
            for partition in error.args[0]:
                probe.pause(partition)
                probe.seek(partition, 1 << 62)
            return {}

    def close(self) -> None:
        """Close the connections; nothing is owed to the cluster."""
        for client in (self._admin, self._probe):
            if client is not None:
                with suppress(kafka_errors.KafkaError, OSError):
                    client.close()
        self._admin = self._probe = None
