"""Why an instance stands still, in words. Pure."""

from typing import Protocol


class Standing(Protocol):
    """What is looked at; see `tracker.views.InstanceView`."""

    @property
    def total(self) -> int | None:
        """The API's total."""

    @property
    def inserted(self) -> int:
        """What the API has confirmed."""

    @property
    def owed(self) -> int:
        """What it has not."""

    @property
    def aside(self) -> int | None:
        """What a birth has set aside."""

    @property
    def open_tasks(self) -> str:
        """Import tasks that are not done."""

    @property
    def intent(self) -> object | None:
        """A PUT of counts whose outcome is not known."""

    @property
    def reason(self) -> str:
        """Why the last try failed."""

    @property
    def first_seen_s(self) -> float | None:
        """When it was first seen."""

    @property
    def last_record_s(self) -> float | None:
        """When its last record came."""

    @property
    def moved_s(self) -> float | None:
        """When it was last pushed, or the API had news."""


def last_progress_s(view: Standing) -> float | None:
    """When anything last happened to it: a record, a push, news from the API."""
    return max((moment for moment in (view.first_seen_s, view.last_record_s, view.moved_s) if moment is not None), default=None)


def why_stuck(view: Standing, now_s: float) -> str:
    """Say why it does not get on, with what is missing."""
    since_s = last_progress_s(view)
    minutes = "" if since_s is None else f" for {max(0.0, now_s - since_s) / 60:,.0f} min"
    total = view.total or 0
    if view.aside:
        return f"{view.aside:,} counted before the ledger's birth are not compared with the Dataset API yet{minutes}{_because(view.reason)}"
    if view.intent is not None:
        return f"the outcome of a PUT is not known{minutes}{_because(view.reason)}"
    if view.owed:
        return f"{view.owed:,} are owed and not pushed{minutes}{_because(view.reason or 'no push worker has tried')}"
    if not total:
        return f"the Dataset API has no total above 0 yet, and nothing has happened{minutes}{_because(view.reason)}"
    if view.inserted < total:
        return f"{total - view.inserted:,} of {total:,} are missing and no record has come{minutes}{_because(view.reason)}"
    if view.open_tasks:
        return f"all {total:,} are in; the Dataset API waits{minutes} for {view.open_tasks}"
    return f"all {total:,} are in and it is not completed{minutes}{_because(view.reason)}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
