"""Celery as it is at its worst: a message is lost, comes twice, late, out of order, or to a worker that dies over it."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from tests.simulation.apis import Apis, DatasetApi, ImportApi
from tests.simulation.faults import Doorway, Killed, Process, Surroundings
from tracker import checking, counting
from tracker.completing import Advancing
from tracker.errors import LedgerUnavailable, LostTurn
from tracker.events import Batch
from tracker.pushing import Rules

if TYPE_CHECKING:
    from tracker.ledger import Ledger

Work = Callable[["Worker"], Coroutine[Any, Any, None]]


class Settings:
    """What checking goes by."""

    check_complete_interval_s = 2.0
    sync_interval_s = 30.0
    initialise_list_interval_s = 4.0
    initialise_list_attempts = 20
    parked_ttl_s = 1e9


class Worker(Process):
    """A worker process over one message, with its way to the ledger and to the APIs."""

    __slots__ = ("advancing", "dataset_api", "import_api", "ledger")
    ledger: Any

    def __init__(self, celery: "Celery", fuse: int, pause_s: float) -> None:
        super().__init__(celery.around, "worker", fuse, pause_s)
        self.ledger = Doorway(celery.ledger, self)
        self.dataset_api = DatasetApi(celery.apis, self)
        self.import_api = ImportApi(celery.apis, self)
        self.advancing = Advancing(
            self.ledger,
            self.dataset_api,
            self.import_api,
            celery.rules,
            celery.around.loop.time,
            complete_at_once=celery.complete_at_once,
        )


class Celery:
    """The messages on their way and the workers over them. The tasks are those of `tracker.tasks`, which are a line each."""

    def __init__(self, around: Surroundings, ledger: "Ledger", apis: Apis, rules: Rules, *, complete_at_once: bool) -> None:
        self.around, self.ledger, self.apis, self.rules, self.complete_at_once = around, ledger, apis, rules, complete_at_once
        self.settings = Settings()
        self.waiting = 0
        self.flood = 0
        self.unforeseen: list[str] = []
        self.applying = True

    def forget(self) -> None:
        """Redis has lost its queues: what is on its way never comes."""
        self.flood += 1
        self.waiting = 0

    # -- the channel --

    def send(self, work: Work, what: str, *, batch: bool = False) -> None:
        """Send one message."""
        around, faults = self.around, self.around.faults
        if around.happens(faults.lost_message, "messages lost"):
            return
        copies = 2 if around.happens(faults.doubled_message, "messages doubled") else 1
        for _ in range(copies):
            late = around.happens(faults.late_message, "messages late")
            self._enqueue(work, what, around.chance.uniform(0.0, 25.0) if late else around.chance.uniform(0.001, 0.02), batch=batch)

    def _enqueue(self, work: Work, what: str, delay: float, *, batch: bool) -> None:
        self.waiting += batch
        self.around.loop.call_later(delay, self._deliver, work, what, batch, self.flood)

    def _deliver(self, work: Work, what: str, batch: bool, flood: int) -> None:  # noqa: FBT001
        if flood != self.flood or (batch and not self.applying):
            return
        self.waiting -= batch
        around, faults = self.around, self.around.faults
        fuse, pause_s = -1, 0.0
        if around.happens(faults.killed):
            fuse = around.chance.randint(0, 12)
        elif around.happens(faults.stood_still):
            fuse, pause_s = around.chance.randint(0, 12), around.chance.choice([0.5, 5.0, 20.0]) * around.chance.uniform(0.5, 1.5)
        around.loop.create_task(self._run(work, what, Worker(self, fuse, pause_s), batch=batch))

    async def _run(self, work: Work, what: str, worker: Worker, *, batch: bool) -> None:
        around = self.around
        try:
            await work(worker)
        except Killed:
            # Acknowledged late: the message comes again, or is one of those that Celery loses over it.
            if around.chance.random() < 0.7:
                self._enqueue(work, what, around.chance.uniform(1.0, 20.0), batch=batch)
        except LedgerUnavailable:
            around.happened["tasks tried again"] += 1
            if around.chance.random() < 0.7:
                self._enqueue(work, what, around.chance.uniform(1.0, 10.0), batch=batch)
        except LostTurn:
            around.happened["turns lost"] += 1
        except Exception as error:  # noqa: BLE001 -- whatever it is, nobody has foreseen it
            self.unforeseen.append(f"{what}: {type(error).__name__}: {error}")

    # -- the tasks --

    def publish(self, batch: Batch) -> None:
        """`tracker.add_inserted_counts` and `tracker.register_instances`."""

        async def work(worker: Worker) -> None:
            self.around.happened["batches"] += 1
            woken = counting.apply(batch, worker.ledger)
            self.push(worker, woken.ids if woken else [])

        self.send(work, f"apply {batch.topic}:{batch.partition} {batch.start}-{batch.end}", batch=True)

    def push(self, worker: Worker, instance_ids: list[str]) -> None:
        """`tracker.push_counts`."""
        if instance_ids:
            worker.step()
            self.send(_many(self, instance_ids, check=False), f"push {instance_ids}")

    def check(self) -> None:
        """`tracker.check_completion`, as Beat sends it."""

        async def work(worker: Worker) -> None:
            found = checking.check(worker.ledger, self.settings)
            if found is None:
                return
            self.push(worker, list(found.push))
            self.push(worker, list(found.in_passing))
            worker.step()
            if found.look:
                self.send(_many(self, list(found.look), check=True), f"complete {found.look}")
            if found.jobs:
                jobs = found.jobs
                self.send(lambda worker: worker.advancing.jobs(jobs), f"complete {jobs}")
            if found.sync:
                self.sync()

        self.send(work, "check")

    def sync(self) -> None:
        """`tracker.sync_active_instances`."""

        async def work(worker: Worker) -> None:
            listing = await checking.sync(worker.ledger, worker.dataset_api, worker.import_api, self.settings)
            if listing is not None and listing.missing:
                worker.step()
                self.send(_many(self, list(listing.missing), check=True), f"complete {listing.missing}")

        self.send(work, "sync")

    def add_by_hand(self, instance_id: str, count: int, key: str) -> None:
        """`tracker.add_inserted_count`."""

        async def work(worker: Worker) -> None:
            _, push = counting.add_by_hand(instance_id, count, key, worker.ledger)
            if push:
                self.push(worker, [instance_id])

        self.send(work, f"add {count} to {instance_id}")


def _many(celery: Celery, instance_ids: list[str], *, check: bool) -> Work:
    async def work(worker: Worker) -> None:
        celery.around.happened["pushes"] += 1
        celery.push(worker, await worker.advancing.many(instance_ids, check=check))

    return work
