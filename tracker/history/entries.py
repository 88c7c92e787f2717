"""One entry of the history: what happened to which instance or job, and a sentence that tells it to a person. Pure."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

FIELDS = {
    "n": "count",
    "b": "before",
    "a": "after",
    "s": "state",
    "c": "counted",
    "l": "last_record_ms",
    "f": "origin",
    "k": "kind",
    "p": "partition",
    "e": "epoch",
    "g": "ledger",
    "u": "by",
    "y": "reason",
    "d": "dead_letter",
}
"""The short names that a script writes (see the top of `scripts/prelude.lua`) and the long ones that everybody reads."""


@dataclass(frozen=True, slots=True)
class Entry:
    """
    Something that happened, at a time of Redis' clock.

    `id` is the stream's, `milliseconds-number`. `details` has the long names of `FIELDS`, its values as they were written.
    """

    id: str
    what: str
    instance_id: str | None = None
    job_id: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def at_s(self) -> float:
        """When it happened, in seconds since 1970."""
        return int(self.id.partition("-")[0]) / 1000

    @property
    def order(self) -> tuple[int, int]:
        """The id as numbers: entries of one stream rise."""
        ms, _, number = self.id.partition("-")
        return int(ms), int(number)

    @property
    def digest(self) -> bytes:
        """
        16 bytes that tell entries of the same id apart.

        Ids begin anew when Redis loses its data; should its clock have gone back as well, two entries can share one.
        """
        content = json.dumps([self.what, self.instance_id, self.job_id, sorted(self.details.items())])
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()[:16]

    @property
    def sentence(self) -> str:
        """What happened, for a person; without the ids of instance and job."""
        tell = SENTENCES.get(self.what)
        if tell is None:
            return f"{self.what}{''.join(f', {name} {value}' for name, value in self.details.items())}"
        return tell(self)

    def get(self, name: str) -> str:
        """One detail, "" where it is not told."""
        return self.details.get(name, "")


def read_entry(entry_id: str, raw: Mapping[str, str]) -> Entry:
    """Read an entry as the stream holds it. Fields of a newer version keep their short names."""
    details = {FIELDS.get(name, name): value for name, value in raw.items() if name not in {"w", "i", "j"}}
    return Entry(entry_id, raw.get("w", ""), raw.get("i"), raw.get("j"), details)


def as_json(entry: Entry) -> dict[str, Any]:
    """Write an entry for other programs: the details as they are told, numbers as numbers."""
    at = datetime.fromtimestamp(entry.at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    details = {name: int(value) if _is_number(name, value) else value for name, value in entry.details.items()}
    return {
        "id": entry.id,
        "at": at,
        "at_s": entry.at_s,
        "what": entry.what,
        "instance_id": entry.instance_id,
        "job_id": entry.job_id,
        "text": entry.sentence,
        "details": details,
    }


def _is_number(name: str, value: str) -> bool:
    return name in {"count", "before", "after", "counted", "last_record_ms"} and value.isascii() and value.isdigit()


# -- sentences ------------------------------------------------------------------------------------------------------


def _number(text: str) -> str:
    """A number as people write it; whatever else stays as it is."""
    return f"{int(text):,}" if text.isascii() and text.isdigit() else text


def _because(entry: Entry) -> str:
    return f": {entry.get('reason')}" if entry.get("reason") else ""


def _by(entry: Entry) -> str:
    return f" by {entry.get('by')}" if entry.get("by") else ""


def _registered(entry: Entry) -> str:
    origins = {"listing": "found in the listing of submitted instances", "hand": f"registered by hand{_by(entry)}"}
    return origins.get(entry.get("origin"), "registered by a record")


def _total(entry: Entry) -> str:
    if entry.get("before"):
        return f"the total has changed from {_number(entry.get('before'))} to {_number(entry.get('count'))}"
    return f"the total is known: {_number(entry.get('count'))}"


def _pushed(entry: Entry) -> str:
    back = "; no answer had come, it was read back" if entry.get("kind") else ""
    return f"{_number(entry.get('count'))} sent, the Dataset API has {_number(entry.get('after'))} now{back}"


def _completed(entry: Entry) -> str:
    counted = f", {_number(entry.get('counted'))} counted" if entry.get("counted") else ""
    last_ms = entry.get("last_record_ms")
    after = f", {max(0.0, entry.at_s - int(last_ms) / 1000):.2f} s after the last count" if last_ms else ""
    return f"completed{counted}{after}"


def _failed(entry: Entry) -> str:
    return f"failed: the Dataset API says {entry.get('state')}"


def _ended(entry: Entry) -> str:
    return f"ended: the Dataset API says {entry.get('state')}"


def _job_failed(entry: Entry) -> str:
    return f"the job is set to {entry.get('state')}: an instance of it has failed"


def _birth(entry: Entry) -> str:
    before = f" in place of {entry.get('before')}" if entry.get("before") else ""
    return f"ledger {entry.get('ledger')} was born{before}{_because(entry)}"


def _loss(entry: Entry) -> str:
    return (
        f"Kafka deleted offsets {entry.get('before')} to {int(entry.get('after') or 1) - 1} of {entry.get('partition')} "
        f"before they were read{_because(entry)}"
    )


def _epoch(entry: Entry) -> str:
    before = f", in place of {entry.get('before')}" if entry.get("before") else ""
    return f"{entry.get('partition')} begins at offset {entry.get('after')} as epoch {entry.get('epoch')}{before}"


def _parked(entry: Entry) -> str:
    return f"parked as {entry.get('kind')}{_because(entry)}"


def _unparked(entry: Entry) -> str:
    if entry.get("origin") == "hand":
        return f"no longer parked: taken up again{_by(entry)}{_because(entry)}"
    return "no longer parked: the Dataset API knows it"


def _by_hand(entry: Entry) -> str:
    return f"{_number(entry.get('count'))} added by hand{_by(entry)} with key {entry.get('kind')}"


def _buried(entry: Entry) -> str:
    what = f"the record at offset {entry.get('after')} of {entry.get('partition')}"
    if not entry.get("partition"):
        what = _number(entry.get("count"))
    return f"{what} became dead letter {entry.get('dead_letter')}{_by(entry)}{_because(entry)}"


def _replayed(entry: Entry) -> str:
    count = f", {_number(entry.get('count'))} counted" if entry.get("count") else ""
    return f"dead letter {entry.get('dead_letter')} replayed{_by(entry)}{count}{_because(entry)}"


def _given_up(entry: Entry) -> str:
    return f"given up{_by(entry)}{_because(entry)}"


SENTENCES: Mapping[str, Callable[[Entry], str]] = {
    "registered": _registered,
    "total": _total,
    "first": lambda entry: f"the first count has come: {_number(entry.get('count'))}",
    "pushed": _pushed,
    "completed": _completed,
    "failed": _failed,
    "ended": _ended,
    "job_completed": lambda _: "the job is completed",
    "job_failed": _job_failed,
    "job_parked": lambda entry: f"the job is parked{_because(entry)}",
    "birth": _birth,
    "verified": lambda entry: f"ledger {entry.get('ledger')} is in use again after a restart of Redis",
    "loss": _loss,
    "epoch": _epoch,
    "parked": _parked,
    "unparked": _unparked,
    "by_hand": _by_hand,
    "retried": lambda entry: f"to be tried again{_by(entry)}{_because(entry)}",
    "given_up": _given_up,
    "buried": _buried,
    "replayed": _replayed,
    "dropped": lambda entry: f"dead letter {entry.get('dead_letter')} dropped{_by(entry)}{_because(entry)}",
    "paused": lambda entry: f"{entry.get('kind')} paused{_by(entry)}{_because(entry)}",
    "resumed": lambda entry: f"{entry.get('kind')} resumed{_by(entry)}{_because(entry)}",
    "forced": lambda entry: f"to be set to {entry.get('state')} by force{_by(entry)}{_because(entry)}",
    "void": lambda entry: f"ledger {entry.get('ledger')} was given up{_by(entry)}{_because(entry)}",
}
"""A sentence for each word of `what`."""
