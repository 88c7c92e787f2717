"""The room of what stands still: which instances have made no progress for too long."""

from dataclasses import dataclass

from tracker.ledger_scripts import Scripts
from tracker.views import InstanceView, read_instance

MOST = 1000
"""Instances that one look takes up: 500 a second with the default interval, each once in STUCK_AFTER, or in `AGAIN_S` when it is stuck."""

AGAIN_S = 10.0
"""Seconds after which a stuck instance is looked at again."""


@dataclass(frozen=True, slots=True)
class Standstills:
    """What one look found: instances stuck from now on, and those that move again or have ended."""

    stuck: tuple[InstanceView, ...] = ()
    moving: tuple[str, ...] = ()


class Progress(Scripts):
    """The index of progress under one key prefix. Every method raises LedgerUnavailable."""

    def look(self, after_s: float, most: int = MOST) -> Standstills:
        """Take up the instances whose last known progress is older than `after_s`, at most `most` of them."""
        reply = self.run("look_for_stuck", int(after_s * 1000), most, int(AGAIN_S * 1000))
        if not reply[1] and not reply[2]:
            return Standstills()
        with self.reaching():
            number = self.client.hget(f"{self.prefix}ledger", "number")
            seconds, micros = self.client.time()
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        found = []
        for name, flat in zip(*[iter(reply[1])] * 2, strict=True):
            fields = dict(zip(*[iter(flat)] * 2, strict=True))
            found.append(read_instance(name, fields, str(number), now_ms))
        return Standstills(tuple(found), tuple(reply[2]))

    def number(self) -> int:
        """How many are stuck, in one call."""
        with self.reaching():
            return self.client.zcard(f"{self.prefix}stuck")
