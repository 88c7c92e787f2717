"""Use case: a batch from Kafka, or one count by hand, into the ledger. Each record counts once."""

from collections.abc import Sequence
from typing import Protocol

from tracker.errors import BadInput
from tracker.events import MAX_COUNT, MAX_ID_CHARACTERS, Batch
from tracker.ledger_state import Woken


class Ledger(Protocol):
    """What counting needs of the ledger."""

    def apply(self, batch: Batch) -> Woken | None:
        """Apply a batch; the instances to push, or None for a batch of another ledger."""

    def add_by_hand(self, instance_id: str, count: int, key: str, by: str = "") -> tuple[bool, bool]:
        """Add one count once per key; whether it was added now, and whether to push."""

    def register(self, instance_id: str, job_id: str | None, by: str = "") -> None:
        """Follow an instance."""


def apply(batch: Batch, ledger: Ledger) -> Woken | None:
    """Apply one batch; returns the instances to push, or None when the batch is another ledger's and is dropped."""
    return ledger.apply(batch)


def add_by_hand(instance_id: object, count: object, key: str, ledger: Ledger, by: str = "") -> tuple[bool, bool]:
    """Add one count given by a person, once per key. Raises BadInput naming the argument."""
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_COUNT:
        raise BadInput(f"count {count!r}: expected a whole number from 0 to {MAX_COUNT}")
    return ledger.add_by_hand(check_id(instance_id, "instance id"), count, key, by)


def register_by_hand(instance_id: object, job_id: object, ledger: Ledger, by: str = "") -> None:
    """Follow an instance named by a person. Raises BadInput naming the argument."""
    ledger.register(check_id(instance_id, "instance id"), None if job_id is None else check_id(job_id, "job id"), by)


def check_id(value: object, name: str) -> str:
    """An id that a URL's path can carry, or BadInput: not empty, not `.` or `..`, no control characters."""
    if not isinstance(value, str) or not value or value in {".", ".."} or len(value) > MAX_ID_CHARACTERS or not value.isprintable():
        raise BadInput(f"{name} {value!r}: expected 1 to {MAX_ID_CHARACTERS} printable characters, not . or ..")
    return value


def chunks(ids: Sequence[str], size: int) -> list[list[str]]:
    """Cut ids into lists of at most `size`, so that one task carries many and several workers can share them."""
    return [list(ids[at : at + size]) for at in range(0, len(ids), size)]
