"""
The errors of the tracker. Rooms (ledger, API clients, Kafka) translate into these; nobody else does.

TrackerError
├── Transient                the same call may work later: it is retried, growing and jittered
│   ├── NotSent              refused before a byte left: nothing has happened
│   ├── TurnedAway           401, 403, 429: nothing has happened; retried slowly, the reason is shown
│   ├── LettersFull          no dead letter is taken any more: what needs one waits
│   ├── LedgerUnavailable    Redis refused, timed out, or its ledger is not verified yet
│   ├── DatabaseUnavailable  PostgreSQL refused or timed out, or its schema is a newer one
│   └── LostTurn             the instance's lock has expired or passed on: whoever holds it now goes on
├── OutcomeUnknown           the call may have taken effect (409 too): read back before doing anything
├── Permanent                the same call will fail again: parked with a reason, a person is told
│   ├── Refused              400, or the instance is published
│   ├── UnknownInstance      the Dataset API says, in its own words, that there is no such instance
│   └── UnknownJob           the Import API says, in its own words, that there is no such job
└── BadInput                 a person's or a neighbour's mistake: a setting, an argument, a message
"""


class TrackerError(Exception):
    """Anything the tracker itself says went wrong. Its text is one line for a person."""


class Transient(TrackerError):
    """The same call may work later."""


class NotSent(Transient):
    """No byte of the request left this process, so nothing can have happened."""


class TurnedAway(Transient):
    """
    The API answered 401, 403 or 429: nothing has happened.

    A 403 may only mean that the auth service is away, so none of them is final.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class LettersFull(Transient):
    """There are DEAD_LETTERS_MAX dead letters: what would make another waits until a person has decided about some."""


class LedgerUnavailable(Transient):
    """Redis refused or timed out, or no bridge has verified the ledger since the server started."""


class DatabaseUnavailable(Transient):
    """PostgreSQL refused or timed out, or holds a schema of a newer version: the history waits in Redis."""


class LostTurn(Transient):
    """The lock has expired or passed to another worker, which goes on from what the ledger says."""


class OutcomeUnknown(TrackerError):
    """The request may have taken effect, now or later; only reading back can tell."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Permanent(TrackerError):
    """The same call will fail again."""


class Refused(Permanent):
    """The API says the request itself is wrong (400), or that the instance is published."""

    def __init__(self, message: str, status: int, *, published: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.published = published


class UnknownInstance(Permanent):
    """The Dataset API answered 404 with its own text for an unknown instance."""


class UnknownJob(Permanent):
    """The Import API answered 404 with its own text for an unknown job."""


class BadInput(TrackerError):
    """A setting, an argument or a message is wrong; the text names it and says what was expected."""
