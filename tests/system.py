"""
A whole system under test, with a book of all that was published on it: what the two APIs must say in the end.

For the tests that see the tracker only from outside: `tests/acceptance` and `tests/faults`.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import httpx

from sandbox.stack import Stack, StackFailed

QUICK = {
    "CHECK_COMPLETE_INTERVAL": "200ms",
    "SYNC_INTERVAL": "2s",
    "INITIALISE_LIST_INTERVAL": "500ms",
    "DATASET_API_TIMEOUT": "1s",
    "IMPORT_API_TIMEOUT": "1s",
    "API_MAX_REQUEST_AGE": "1s",
    "KAFKA_SESSION_TIMEOUT": "3s",
    "REPUBLISH_AFTER": "500ms",
    "GRACEFUL_SHUTDOWN_TIMEOUT": "5s",
}
"""Settings under which seconds show what takes minutes otherwise."""

QUARANTINE_S = 2.0
"""Of these settings: how long a PUT can take effect after it was sent."""

SETTLE_TIMEOUT_S = 45.0
"""For everything to be as it must be: seconds on an idle machine, a lock of a killed worker (7 s) included."""

Job = Sequence[str]
"""The instances of one job, named `{job}-1`, `{job}-2`, …; the first says the job's name by `job_of`."""


def job_of(instance_id: str) -> str:
    """The job that an instance of `System.new_job` belongs to."""
    return instance_id.rpartition("-")[0]


class System:
    """
    One stack and its book.

    `expected` holds by instance how many observations the Dataset API must have in the end: what it had when the
    instance was made, and all that was published since. `refused` holds what must lie in dead letters instead,
    `losses` how many stretches of records Kafka deleted before they were read.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.expected: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.losses = 0
        self._web = httpx.Client(base_url=stack.web_url, timeout=10, trust_env=False)

    def close(self) -> None:
        """Close the connections of this object; the stack goes on."""
        self._web.close()

    # -- playing the neighbours -----------------------------------------------------------------------------------

    def new_job(self, job_id: str, instances: int = 1, *, total: int | None = None, inserted: int | None = None, **fields: Any) -> Job:
        """A submitted job and its instances, as the Import API makes them. No file is announced yet."""
        names = [f"{job_id}-{number}" for number in range(1, instances + 1)]
        assert not self.expected.keys() & set(names), "another test uses this name"
        self.stack.import_api.add_job(job_id, names)
        for name in names:
            self.stack.dataset_api.add_instance(name, job_id, total=total, inserted=inserted, **fields)
            self.expected[name] = inserted or 0
        return names

    def announce(self, *instance_ids: str) -> None:
        """As the Import API, or Databaker in 2017, whose message knew no job."""
        for name in instance_ids:
            self.stack.publish_file(name, job_of(name) if self.stack.generation == "today" else None)

    def count(self, instance_id: str, observations: int, batch_size: int = 1000, *, flush: bool = True) -> None:
        """As the observation importer: so many observations have been inserted."""
        self.expected[instance_id] = self.expected.get(instance_id, 0) + observations
        self.stack.publish_inserted(instance_id, observations, batch_size, flush=flush)

    def tell_totals(self, *instance_ids: str) -> None:
        """As the dimension extractor: the file has as many rows as were published, and will be."""
        for name in instance_ids:
            self.stack.dataset_api.set_total(name, self.expected[name])

    @contextlib.contextmanager
    def flowing(self, *instance_ids: str, every_s: float = 0.02, observations: int = 7) -> Iterator[None]:
        """Publish a record of each instance in turn all the while; then tell the totals."""
        ended = threading.Event()

        def publish() -> None:
            while not ended.is_set():
                for name in instance_ids:
                    self.count(name, observations, flush=False)
                    ended.wait(every_s)

        thread = threading.Thread(target=publish, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        self.stack.flush()
        self.tell_totals(*instance_ids)

    # -- looking --------------------------------------------------------------------------------------------------

    def shown(self, path: str) -> Any:
        """What the tracker's own web process answers, None where it knows no such thing."""
        answer = self._web.get(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        return answer.json()

    def instance(self, instance_id: str) -> dict[str, Any]:
        """How the tracker shows one instance; {} for one that it does not know."""
        return self.shown(f"/instances/{instance_id}") or {}

    def dead_letters(self, **fields: object) -> list[dict[str, Any]]:
        """The dead letters with these fields, oldest first."""
        letters = self.shown("/dead-letters?limit=1000")["items"]
        return [letter for letter in reversed(letters) if all(letter[name] == value for name, value in fields.items())]

    def ledger(self) -> str:
        """The id of the ledger in force."""
        ledger: str = self.shown("/figures")["ledger"]["id"]
        return ledger

    def counts(self, instance_ids: Collection[str]) -> dict[str, int]:
        """What the Dataset API has of these."""
        counts = self.stack.dataset_api.counts()
        return {name: counts.get(name, 0) for name in instance_ids}

    # -- what must be true ----------------------------------------------------------------------------------------

    def wait_counted(self, instance_ids: Collection[str], timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Wait until all that was published of these is counted and nothing of it is on its way."""
        self._wait(lambda: self._count_problems(instance_ids), timeout_s)
        self._never_more(instance_ids)

    def wait_ended(
        self,
        job: Job,
        job_state: str = "completed",
        *,
        states: Mapping[str, str] | None = None,
        timeout_s: float = SETTLE_TIMEOUT_S,
    ) -> None:
        """Wait until all instances are counted and `completed` (or as `states` says), and the job is in its state."""
        wanted = dict.fromkeys(job, "completed") | dict(states or {})

        def problems() -> list[str]:
            found = self._count_problems(job)
            now = self.stack.dataset_api.states()
            found += [f"{name} is {now.get(name)}, not {state}" for name, state in wanted.items() if now.get(name) != state]
            state = self.stack.import_api.states().get(job_of(job[0]))
            return found + ([] if state == job_state else [f"job {job_of(job[0])} is {state}, not {job_state}"])

        self._wait(problems, timeout_s)
        self._never_more(job)

    def audit(self) -> None:
        """Look at the whole book again: nothing was counted late, nothing is left over."""
        self._wait(lambda: self._count_problems(self.expected), SETTLE_TIMEOUT_S)
        self._never_more(self.expected)
        figures = self.shown("/figures")
        assert {name: figures[name] for name in ("owed", "parked", "losses")} == {"owed": 0, "parked": 0, "losses": self.losses}

    def _count_problems(self, instance_ids: Collection[str]) -> list[str]:
        """What is missing yet, in words; more than was published is for `_never_more`."""
        counts = self.counts(instance_ids)
        found = [f"{name}: {counts[name]} of {self.expected[name]}" for name in instance_ids if counts[name] < self.expected[name]]
        for name in instance_ids if not found else ():
            view = self.instance(name)
            left = {field: view[field] for field in ("owed", "aside", "intent", "parked_kind") if view.get(field)}
            if left:
                found.append(f"{name} has {left} left: {view['reason']}")
        return found

    def _never_more(self, instance_ids: Collection[str]) -> None:
        assert self.counts(instance_ids) == {name: self.expected[name] for name in instance_ids}
        buried: Counter[str] = Counter()
        for letter in self.dead_letters(what="counts"):
            buried[letter["instance_id"]] += letter["count"]
        assert {name: buried[name] for name in instance_ids} == {name: self.refused.get(name, 0) for name in instance_ids}

    def _wait(self, problems: Callable[[], list[str]], timeout_s: float) -> None:
        found: list[str] = []

        def none_left() -> bool:
            found[:] = problems()
            return not found

        try:
            self.stack.wait_until(none_left, timeout_s, "what was published")
        except StackFailed as error:
            raise AssertionError("\n".join([str(error), *found])) from None

    def heal(self) -> None:
        """End all faults and start what does not run, so that the next test finds the system whole."""
        for handle in (self.stack.dataset_api, self.stack.import_api):
            handle.end_faults()
        for name in self.stack.names():
            self.stack.start(name)
