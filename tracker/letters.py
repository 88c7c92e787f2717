"""
Dead letters: what could not be counted, kept until a person has it counted after all (replay) or gives it up (drop).

Both are one script each, which takes the letter away in the same moment, so whatever is repeated or crashes counts
once. What a birth makes of them is in docs/decisions/0011.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from tracker.decoding import decoder
from tracker.errors import BadInput
from tracker.events import MAX_COUNT, InputFileAvailable, Kind, ObservationsInserted
from tracker.instance import DONE, FAILED
from tracker.ledger_scripts import Scripts
from tracker.stream_ids import after, is_id
from tracker.views import DeadLetter, read_dead_letter

CHUNK = 500
"""Letters to a reading."""

WHATS = ("undecodable", "counts")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant: all those that every given condition holds for. `saying` is looked for in the reason, in any case."""

    topic: str | None = None
    instance: str | None = None
    job: str | None = None
    what: str | None = None
    saying: str | None = None
    older_than_s: float | None = None

    def takes(self, letter: DeadLetter, now_s: float) -> bool:
        """Whether this letter is meant."""
        return (
            self.topic in {None, letter.topic}
            and self.instance in {None, letter.instance_id}
            and self.job in {None, letter.job_id}
            and self.what in {None, letter.what}
            and (self.saying is None or self.saying.casefold() in letter.reason.casefold())
            and (self.older_than_s is None or now_s - letter.at_s > self.older_than_s)
        )


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a letter is counted as: so many observations of an instance, or the registration of one (`count` is None)."""

    instance_id: str
    count: int | None
    job_id: str = ""

    @property
    def kind(self) -> Kind:
        """The kind of record."""
        return "registrations" if self.count is None else "counts"


@dataclass(frozen=True, slots=True)
class Replayed:
    """
    What a replay came to.

    `outcome` is "replayed", "gone" (no such letter: replayed or dropped before), or "perhaps counted" with the reasons in
    `why`, and nothing has happened. `parked`: the instance waits for a person, and so does its count.
    """

    letter_id: str
    outcome: str
    instance_id: str = ""
    count: int | None = None
    parked: bool = False
    why: str = ""


def understand(letter: DeadLetter, kinds: dict[str, Kind]) -> Meaning:
    """
    What this release makes of a letter. `kinds` says what each topic's records are.

    Raises BadInput when it cannot be decoded now either.
    """
    if letter.what == "counts":
        return Meaning(letter.instance_id or "", letter.count or 0, letter.job_id or "")
    kind = kinds.get(letter.topic or "")
    if kind is None:
        raise BadInput(f"{letter.id}: {letter.topic} is none of the topics that are read: give its meaning with --as")
    event = decoder(kind)(raw_bytes(letter))
    if isinstance(event, ObservationsInserted):
        return Meaning(event.instance_id, event.count)
    if isinstance(event, InputFileAvailable):
        return Meaning(event.instance_id, None, event.job_id)
    raise BadInput(f"{letter.id}: still undecodable: {event.reason}; give its meaning with --as INSTANCE COUNT, or drop it")


def raw_bytes(letter: DeadLetter) -> bytes:
    """The bytes of an undecodable record; none for a record without a value."""
    return base64.b64decode(letter.raw or "")


class Letters(Scripts):
    """The dead letters under one key prefix. Every method raises LedgerUnavailable; replay and drop need a verified ledger."""

    def letter(self, letter_id: str) -> DeadLetter | None:
        """One letter; None when there is none with this id."""
        return next((letter for letter in self._read(_checked(letter_id), letter_id)), None)

    def find(self, wanted: Wanted, now_s: float) -> Iterator[DeadLetter]:
        """The letters that are meant, oldest first."""
        return (letter for letter in self._read("-", "+") if wanted.takes(letter, now_s))

    def _read(self, first: str, last: str) -> Iterator[DeadLetter]:
        while True:
            with self.reaching():
                found = cast("list[tuple[str, dict[str, str]]]", self.client.xrange(f"{self.prefix}dead", first, last, CHUNK))
            yield from (read_dead_letter(entry, raw) for entry, raw in found)
            if len(found) < CHUNK:
                return
            first = after(found[-1][0])

    def number(self) -> int:
        """How many there are."""
        with self.reaching():
            return self.client.xlen(f"{self.prefix}dead")

    def replay(self, letter: DeadLetter, meaning: Meaning, *, who: str, why: str, perhaps_counted: bool = False) -> Replayed:
        """
        Count a letter after all: once, and the letter is gone.

        One that may have been counted already is left alone unless `perhaps_counted`. Raises BadInput for a count out of range.
        """
        if meaning.count is not None and letter.what != "counts" and not 0 <= meaning.count <= MAX_COUNT:
            raise BadInput(f"count {meaning.count}: expected a whole number from 0 to {MAX_COUNT}")
        reply = self.run(
            "replay_letter",
            _checked(letter.id),
            meaning.kind if letter.what == "undecodable" else "",
            meaning.instance_id,
            0 if meaning.count is None else meaning.count,
            meaning.job_id,
            int(perhaps_counted),
            ",".join(sorted(DONE | FAILED)),
            who,
            why,
        )
        if reply[0] == "GONE":
            return Replayed(letter.id, "gone")
        if reply[0] == "PERHAPS":
            return Replayed(letter.id, "perhaps counted", why=str(reply[1]))
        return Replayed(letter.id, "replayed", meaning.instance_id, meaning.count, parked=reply[3] == "1")

    def drop(self, letter_id: str, *, who: str, why: str) -> bool:
        """Give a letter up, also for births to come; whether it was there."""
        return bool(self.run("drop_letter", _checked(letter_id), who, why)[0] == "OK")


def _checked(letter_id: str) -> str:
    """A letter's id as Redis takes it, or BadInput."""
    if "-" not in letter_id or not is_id(letter_id):
        raise BadInput(f"dead letter {letter_id!r}: expected an id like 1795537990400-0; tracker dead-letters list shows them")
    return letter_id
