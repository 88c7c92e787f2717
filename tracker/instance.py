"""
An instance's and a job's state as the two APIs tell it, and the decisions that follow. Pure: no input, no output.

The states of an instance: created → submitted → completed → edition-confirmed → associated → published; besides
these, failed and error end an import, and approved and detached lie past completed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

FAILED = frozenset({"failed", "error"})
"""The two words for failure: the import reporter writes `failed`, the original tracker of 2017 looked for `error`."""

DONE = frozenset({"completed", "edition-confirmed", "associated", "published", "approved", "detached"})
"""Completed, or past it: never pushed back."""

PUBLISHED = "published"
"""The state that is never left, and in which the Dataset API takes no counts."""


@dataclass(frozen=True, slots=True)
class Instance:
    """
    What the Dataset API says of one instance.

    `total_observations` is None until the dimension extractor has set it; 0 completes nothing either. `etag` is None from an API without
    ETags (2017). `open_tasks` names the import tasks that must be done before the instance may complete, such as
    "hierarchy of geography".
    """

    id: str
    state: str
    job_id: str | None = None
    total_observations: int | None = None
    inserted_observations: int = 0
    etag: str | None = None
    open_tasks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What the Import API says of one import job."""

    id: str
    state: str
    instance_ids: tuple[str, ...] = ()


class Verdict(Enum):
    """What is to be done with an instance whose counts are all pushed."""

    NOT_YET = "not yet"
    COMPLETE = "complete"
    WAITING_FOR_TASKS = "waiting for import tasks"
    DONE = "done"
    FAILED = "failed"


def judge(instance: Instance, *, owes: bool) -> Verdict:
    """Decide from the API's own answer. `owes` says that counts are still owed or an intent is open."""
    if instance.state in FAILED:
        return Verdict.FAILED
    if instance.state in DONE:
        return Verdict.DONE
    all_in = bool(instance.total_observations) and instance.inserted_observations >= (instance.total_observations or 0)
    if owes or not all_in or instance.state != "submitted":
        return Verdict.NOT_YET
    return Verdict.WAITING_FOR_TASKS if instance.open_tasks else Verdict.COMPLETE


def job_target(states: Iterable[str]) -> str | None:
    """
    The state a job should have for the states of its instances, or None while one is unfinished.

    A job without instances is not done.
    """
    states = list(states)
    if not states or any(state not in DONE | FAILED for state in states):
        return None
    return "failed" if any(state in FAILED for state in states) else "completed"
