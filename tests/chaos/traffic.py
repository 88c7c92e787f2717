"""The tracker's other neighbours under load: all the time jobs of several instances are made, announced, counted and told complete."""

import itertools
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from kafka import KafkaProducer, TopicPartition
from kafka.consumer import KafkaConsumer

from sandbox.publishers import encode_file, encode_inserted
from sandbox.stack import Stack
from tests.chaos.book import Book, Instance, Job

TICK_S = 0.02
"""How often records are sent."""

STUBBORN_S = 90.0
"""How long a call of ours is repeated to an API that a fault has taken away or made to lie."""


class TrafficFailed(Exception):
    """The load itself went wrong: what the book says is no longer what Kafka has. No statement about the tracker."""


def stubbornly(call: Callable[[], object], timeout_s: float = STUBBORN_S) -> None:
    """Repeat a call that may safely be repeated until the API takes it. Raises TrafficFailed after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            call()
        except httpx.HTTPError as error:
            if time.monotonic() > deadline:
                raise TrafficFailed(f"an API does not take what its other callers say: {error}") from error
            time.sleep(0.05)
        else:
            return


class Traffic:
    """
    Publishes `rate` records a second of `active` jobs at once, in two threads; jobs that are through are replaced by `jobs`' next.

    `book` is the round's, given by `open`. While `paused` no record is sent. Whatever breaks a thread is raised by `check`.
    """

    def __init__(self, stack: Stack, random_numbers: random.Random, *, rate: int, active: int) -> None:
        self.rate, self.active = rate, active
        self.paused = True
        self.life = 0
        self.gate = threading.RLock()
        self._stack, self._random = stack, random_numbers
        self.book = Book()
        self._jobs: Iterator[Job] = iter(())
        self._producer = self._connect()
        self._flying: deque[tuple[Any, int, Instance, int]] = deque()
        self._open: list[Instance] = []
        self._running: list[Job] = []
        self._partition = itertools.count()
        self._errands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._under_way = 0
        self._counting = threading.Lock()
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._guarded, args=(run,), daemon=True) for run in (self._publish, self._run_errands)]

    def start(self) -> None:
        """Begin; nothing is sent before `open`."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop sending."""
        self._ended.set()
        self._errands.put(None)
        for thread in self._threads:
            thread.join(10)
        self._producer.close(timeout=2)

    def check(self) -> None:
        """Raise what has ended one of the threads."""
        if self._error is not None:
            raise TrafficFailed(f"the load ended: {type(self._error).__name__}: {self._error}") from self._error

    def open(self, book: Book, jobs: Iterator[Job]) -> None:
        """Take up a round: its book, and where its jobs come from. They are made at once, nothing is sent yet."""
        with self.gate:
            self.book, self._jobs = book, jobs
            self._open, self._running = [], []
        self._replace()
        self.settle_errands()

    def wind_up(self) -> None:
        """
        Let all jobs come to their end: instances whose totals are told send the rest, the others are cut short.

        Waits until Kafka and the APIs have all of it.
        """
        with self.gate:
            self.paused, self._jobs = True, iter(())
        self.settle_errands()
        with self.gate:
            for instance in self._open:
                if not instance.told_early:
                    instance.cut_short()
            self._sweep()
        while self._open:
            with self.gate:
                self._send_some(200)
                self._reap()
            self.check()
            time.sleep(TICK_S)
        with self.gate:
            self._reap()
        self.flush()
        self.settle_errands()

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until Kafka has all that was sent."""
        with self.gate:
            self._producer.flush(timeout_s)
            self._collect(all_of_it=True)

    def settle_errands(self, timeout_s: float = STUBBORN_S) -> None:
        """Wait until everything that was to be told to the APIs is told."""
        deadline = time.monotonic() + timeout_s
        while self._under_way:
            self.check()
            if time.monotonic() > deadline:
                raise TrafficFailed(f"{self._under_way} calls of the APIs by others are not done after {timeout_s:g} s")
            time.sleep(0.01)

    def busy(self) -> bool:
        """Whether there are records to come."""
        with self.gate:
            return bool(self._open or self._running or self._under_way)

    def burst(self, records: int) -> None:
        """Send so many more at once, whether paused or not."""
        with self.gate:
            self._send_some(records)

    def tell_totals_again(self) -> None:
        """As the dimension extractor: after a loss, tell the totals of what is left."""
        with self.book.lock:
            changed = [each for each in self.book.instances.values() if each.told is not None and each.told != each.total]
        for instance in changed:
            self._tell(instance)

    def topic_made_anew(self) -> None:
        """Publish through a new client; what is published from now on belongs to the topic's next life."""
        with self.gate:
            self._producer.close(timeout=2)
            self._producer = self._connect()
            self.life += 1

    def ends(self) -> dict[int, int]:
        """The end of each partition of the counts topic."""
        partitions = [TopicPartition(self._stack.inserted_topic, number) for number in range(self._stack.partitions)]
        consumer = KafkaConsumer(bootstrap_servers=self._stack.kafka.address)
        try:
            return {partition.partition: end for partition, end in consumer.end_offsets(partitions).items()}
        finally:
            consumer.close()

    # -- the thread that publishes --------------------------------------------------------------------------------

    def _publish(self) -> None:
        last, owed = time.monotonic(), 0.0
        while not self._ended.wait(TICK_S):
            now = time.monotonic()
            with self.gate:
                owed = 0.0 if self.paused else min(owed + self.rate * (now - last), self.rate)
                self._send_some(int(owed))
                owed -= int(owed)
                self._collect()
                self._reap()
            last = now
            self._replace()

    def _send_some(self, records: int) -> None:
        for _ in range(records):
            if not self._open:
                return
            at = self._random.randrange(len(self._open))
            instance = self._open[at]
            if instance.fails and not instance.failed and instance.sent > len(instance.plan) // 2:
                continue  # its failing is on its way
            partition = next(self._partition) % self._stack.partitions
            with self.book.lock:
                count = instance.take()
            value = encode_inserted(instance.id, count)
            self._flying.append((self._producer.send(self._stack.inserted_topic, value, partition=partition), partition, instance, count))
            if instance.fails and instance.sent == len(instance.plan) // 2 + 1:
                self._errand(lambda instance=instance: self._fail(instance))  # type: ignore[misc]
            if instance.closed:
                self._open[at] = self._open[-1]
                self._open.pop()

    def _sweep(self) -> None:
        """Take those that were cut short off the list."""
        self._open = [each for each in self._open if not each.closed]

    def _collect(self, *, all_of_it: bool = False) -> None:
        flying = self._flying
        while flying and (all_of_it or flying[0][0].is_done):
            sent, partition, instance, count = flying.popleft()
            self.book.acknowledge(self.life, partition, sent.get(60).offset, instance, count)

    def _reap(self) -> None:
        """Let those that are through tell their totals, and their jobs make room."""
        ended = [job for job in self._running if all(each.closed for each in job.instances)]
        for job in ended:
            self._running.remove(job)
            for instance in job.instances:
                if instance.told is None and not instance.failed:
                    self._errand(lambda instance=instance: self._tell(instance))  # type: ignore[misc]

    def _replace(self) -> None:
        with self.gate:
            while len(self._running) < self.active and self._under_way < self.active:
                job = next(self._jobs, None)
                if job is None:
                    return
                self._running.append(job)
                self.book.add(job)
                self._errand(lambda job=job: self._make(job))  # type: ignore[misc]

    # -- the thread that speaks to the APIs -----------------------------------------------------------------------

    def _errand(self, errand: Callable[[], None]) -> None:
        with self._counting:
            self._under_way += 1
        self._errands.put(errand)

    def _run_errands(self) -> None:
        while (errand := self._errands.get()) is not None:
            errand()
            with self._counting:
                self._under_way -= 1

    def _make(self, job: Job) -> None:
        """As the Import API makes a job and its instances, and announces every second."""
        stack = self._stack
        stubbornly(lambda: stack.import_api.add_job(job.id, [each.id for each in job.instances]))
        for each in job.instances:
            total = each.total if each.told_early else None
            stubbornly(lambda each=each, total=total: stack.dataset_api.add_instance(each.id, job.id, total=total))  # type: ignore[misc]
            each.told = total
        with self.gate:
            if int(job.id.rpartition("-")[2]) % 2:
                for each in job.instances:
                    announced = job.id if stack.generation == "today" else None
                    self._producer.send(stack.file_topic, encode_file(each.id, announced, "s3://sandbox/observations.csv"))
            self._open.extend(job.instances)

    def _tell(self, instance: Instance) -> None:
        if instance.failed:
            return
        total = instance.total
        stubbornly(lambda: self._stack.dataset_api.set_total(instance.id, total))
        instance.told = total

    def _fail(self, instance: Instance) -> None:
        stubbornly(lambda: self._stack.dataset_api.set_state(instance.id, "failed"))
        instance.failed = True

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - raised by `check`, in the thread that can stop everything
            self._error = error

    def _connect(self) -> Any:
        return KafkaProducer(bootstrap_servers=self._stack.kafka.address, acks="all", linger_ms=5, max_block_ms=60_000)
