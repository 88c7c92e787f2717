"""Redis on virtual time: the ledger, and what may become of its server: lost, restarted, an older copy put back."""

import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

import fakeredis

from tests.simulation.faults import Surroundings
from tests.simulation.ledger_model import ModelLedger
from tests.simulation.ledger_store import Store
from tests.simulation.virtual_time import EPOCH_S
from tracker.events import Partition
from tracker.ledger import Ledger
from tracker.pushing import REST_S


@dataclass
class Kept:
    """What the ledger has put aside: dead letters by instance, undecodable records, losses, and who is parked."""

    buried: Counter[str] = field(default_factory=Counter)
    undecodable: set[tuple[str, int]] = field(default_factory=set)
    losses: list[tuple[str, str, int, int]] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)

    def lost(self, partition: Partition, epoch: str, offset: int) -> bool:
        """Whether this record is written down as lost."""
        return any(p == str(partition) and e in {"", epoch} and start <= offset < end for p, e, start, end in self.losses)

    def note_letter(self, letter: dict[str, Any]) -> None:
        """Take in one dead letter."""
        if letter["what"] == "counts":
            self.buried[letter["instance"]] += int(letter["count"])
        else:
            self.undecodable.add((f"{letter['topic']}:{letter['partition']}", int(letter["offset"])))


class Redis(Protocol):
    """One server and the ledger on it."""

    @property
    def ledger(self) -> Ledger:
        """The ledger on it."""

    def lose(self) -> None:
        """Everything is gone."""

    def restart(self) -> None:
        """It has another run."""

    def backup(self) -> object:
        """A copy of everything."""

    def put_back(self, backup: Any) -> None:
        """An older copy takes the place of what there is."""

    def kept(self) -> Kept:
        """What has been put aside."""

    def knows_key(self, key: str) -> bool:
        """Whether a count by hand has arrived."""

    def owes(self) -> bool:
        """Whether anything is owed."""


class ModelRedis:
    """The model."""

    def __init__(self, around: Surroundings, lease_s: float) -> None:
        loop = around.loop
        self.store = Store()
        self.runs = 1
        self.ledger = ModelLedger(self.store, lambda: int((EPOCH_S + loop.now) * 1000), lease_s=lease_s, rest_s=REST_S)

    def _become(self, store: Store) -> None:
        self.runs += 1
        self.store = self.ledger.store = store
        store.run = f"run-{self.runs}"

    def lose(self) -> None:
        self._become(Store())

    def restart(self) -> None:
        self._become(self.store)

    def backup(self) -> Store:
        return self.store.copy()

    def put_back(self, backup: Store) -> None:
        self._become(backup.copy())

    def kept(self) -> Kept:
        store = self.store
        kept = Kept(parked=list(store.parked))
        for letter in store.dead:
            kept.note_letter(letter)
        kept.losses = [(f"{loss['topic']}:{loss['partition']}", loss["epoch"], loss["start"], loss["end"]) for loss in store.losses]
        return kept

    def knows_key(self, key: str) -> bool:
        return key in self.store.keys

    def owes(self) -> bool:
        return any(fields.get("owed", 0) or "dl" in fields or "aside" in fields for fields in self.store.instances.values())


class ScriptsRedis:
    """The scripts themselves, in memory."""

    def __init__(self, lease_s: float) -> None:
        self.server = fakeredis.FakeServer()
        self.client: Any = fakeredis.FakeRedis(server=self.server, decode_responses=True)
        self.ledger = Ledger(self.client, "t:", lease_s=lease_s, rest_s=REST_S)

    def lose(self) -> None:
        self.client.flushall()

    def restart(self) -> None:
        if self.client.exists("t:ledger"):  # the run of this server never changes, so what the ledger was verified for does
            self.client.hset("t:ledger", "run", "an earlier run")

    def backup(self) -> dict[str, bytes]:
        return {key: copy.deepcopy(self.server.dbs[0][key.encode()]) for key in self.client.keys("t:*")}

    def put_back(self, backup: dict[str, Any]) -> None:
        self.client.flushall()
        for key, item in backup.items():
            self.server.dbs[0][key.encode()] = copy.deepcopy(item)
        self.restart()

    def kept(self) -> Kept:
        kept = Kept(parked=self.client.zrange("t:parked", 0, -1))
        for _, letter in self.client.xrange("t:dead"):
            kept.note_letter(letter)
        for _, loss in self.client.xrange("t:losses"):
            kept.losses.append((f"{loss['topic']}:{loss['partition']}", loss["epoch"], int(loss["start"]), int(loss["end"])))
        return kept

    def knows_key(self, key: str) -> bool:
        return bool(self.client.exists(f"t:k:{key}"))

    def owes(self) -> bool:
        found = [self.client.hmget(key, "owed", "dl", "aside") for key in self.client.keys("t:i:*")]
        return any(int(owed or 0) or delta is not None or aside is not None for owed, delta, aside in found)


def open_redis(around: Surroundings, *, lease_s: float, scripts: bool) -> Redis:
    """A server of one's own."""
    return ScriptsRedis(lease_s) if scripts else ModelRedis(around, lease_s)
