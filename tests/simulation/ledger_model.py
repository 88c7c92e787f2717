"""
The Lua scripts of the ledger as plain Python, for schedules by the million: the same replies and the same state.

`ModelLedger` is the production room with only the running of scripts replaced. What keeps the two alike is
`test_ledger_model.py`, which runs the same random calls through both and compares every reply and the whole state.
Each function of `scripts_bridge.py` and `scripts_turns.py` is named for its script and takes its arguments, of which
those for the audit come last and are passed over; what is stored stands in `ledger_store.py`. The wording of refusals is left out.
"""

from collections.abc import Callable, Iterable
from typing import Any

from tests.simulation import scripts_bridge, scripts_turns
from tests.simulation.ledger_store import Store
from tests.simulation.scripts_prelude import Reply
from tracker.errors import BadInput, LedgerUnavailable, LettersFull, LostTurn
from tracker.ledger import Ledger

Script = Callable[..., Reply]


class ModelLedger(Ledger):
    """The ledger's room over a `Store`; `clock` tells the milliseconds of what would be Redis' clock."""

    def __init__(self, store: Store, clock: Callable[[], int], **times: float) -> None:
        super().__init__(None, "", **times)  # type: ignore[arg-type] # there is no client
        self.store = store
        self.clock = clock

    def run(self, name: str, *args: str | float) -> Reply:
        now = self.clock()
        store = self.store
        if store.expiries:
            store.expire(now)
        if store.number is None and name not in WORKS_UNVERIFIED:
            raise LedgerUnavailable("no ledger yet")
        if store.verified_run != store.run and name not in WORKS_UNVERIFIED:
            raise LedgerUnavailable("not verified")
        reply = SCRIPTS[name](store, now, *args)
        status = reply[0]
        if status == "LOST":
            raise LostTurn("the lock has passed on")
        if status == "FULL":
            raise LettersFull("no dead letter is taken any more")
        if status == "ERROR":
            raise BadInput(f"{name}{args}")
        return reply

    def lease(self, name: str, ttl_s: float) -> bool:
        now = self.clock()
        if self.store.leases.get(name, now) > now:
            return False
        self.store.leases[name] = now + max(1, int(ttl_s * 1000))
        return True

    def end_lease(self, name: str) -> None:
        self.store.leases.pop(name, None)

    def followed(self) -> set[str]:
        return set(self.store.followed)

    def watch(self, instance_ids: Iterable[str]) -> None:
        for name in instance_ids:
            self.store.watched.setdefault(name, 0)

    def sync_state(self) -> dict[str, str]:
        return dict(self.store.sync)

    def note_sync(self, values: dict[str, str | int]) -> None:
        self.store.sync.update((key, str(value)) for key, value in values.items())

    def now_s(self) -> float:
        return self.clock() / 1000

    def no_answer(self) -> None:
        """For metrics alone."""

    def beat(self, kind: str, name: str, info: dict[str, Any], ttl_s: float) -> None:
        self.store.beats[kind, name] = (self.clock() + int(ttl_s * 1000), info)

    def heartbeats(self, kind: str) -> dict[str, dict[str, Any]]:
        now = self.clock()
        return {name: info for (of, name), (until, info) in self.store.beats.items() if of == kind and until > now}


SCRIPTS: dict[str, Script] = {
    name: script
    for module in (scripts_bridge, scripts_turns)
    for name, script in vars(module).items()
    if callable(script) and getattr(script, "__module__", "") == module.__name__ and name not in {"wrong_payload", "per_record", "lowest"}
}

WORKS_UNVERIFIED = frozenset({"state", "positions", "birth", "verify", "void"})
