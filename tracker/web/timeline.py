"""What has happened to an instance or a job, a sentence each, oldest first."""

from dataclasses import dataclass

from tracker.views import InstanceView


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, and when (seconds since 1970)."""

    at_s: float
    sentence: str


def of_instance(view: InstanceView) -> list[Moment]:
    """What the ledger remembers of an instance's life."""
    told = (
        (view.first_seen_s, "First heard of."),
        (view.last_record_s, f"Last record; {view.counted:,} observations counted in this ledger."),
        (view.parked_since_s, f"Parked ({view.parked_kind}): {view.reason}"),
        (view.ended_s, f"Ended: {view.state}."),
    )
    return sorted((Moment(at_s, sentence) for at_s, sentence in told if at_s is not None), key=lambda moment: moment.at_s)
