"""
The model of the scripts is the scripts: random calls get the same replies from both, and leave the same state behind.

What a script writes for people alone, an audit or a counter, is not compared: the model needs only what the promise rests on.
"""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis

from sandbox.valkey import Valkey
from tests.simulation.ledger_model import SCRIPTS, ModelLedger
from tests.simulation.ledger_store import Store
from tracker import ledger_scripts
from tracker.errors import TrackerError
from tracker.ledger import SNAPSHOT, Ledger
from tracker.ledger_scripts import connect

SEQUENCES = int(os.environ.get("LEDGER_SEQUENCES", "60"))
STEPS = 100

P = "m:"
NOW = 1_700_000_000_000
FOR_EVER = 10**13
JUMPS = (0, 0, 0, 1, 1, 1, 20, 20, 700, 700, 6000, 25_000, 400_000)
NAMES, JOBS, EPOCHS, TOPIC = ("a", "b"), ("j", "k"), ("e1", "e2", "e3"), "counts"
HASHES = {"ledger", "partitions", "sync"}
SETS = ("owing", "watched", "leisure", "followed", "finished", "parked", "jobs", "parked_jobs", "failing_jobs")
OF_LEDGER = frozenset(["id", "number", "version", "run", "born", "settle", "unpassed", "void"])
FIELDS = frozenset(
    [
        *(
            "g",
            "owed",
            "counted",
            "hand",
            "aside",
            *("ho", "hi", "hb", "ha"),
            "total",
            "ins",
            "st",
            "job",
            "et",
            "tasks",
            "dl",
            "bf",
            "im",
            "sent",
            "lk",
            "lu",
            "nb",
            "tr",
        ),
        *("why", "k", "rs", "unk", "pk", "pkd", "ps", "first", "last", "end", "unv", "token", "until", "open", "wanted", "tries"),
    ]
)


class Calls:
    """Calls that a bridge and workers might make, in any order, mostly with arguments that hold."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.ledger = ""
        self.version = self.number = self.tokens = 0
        self.token: dict[str, str] = {}
        self.intent: dict[str, list[str]] = {}
        self.wanted: dict[str, str] = {}
        self.run = ""
        self.doubted = False
        self.holding: set[str] = set()
        self.usual = [name for name in SCRIPTS if name not in {"birth", "void", "verify"}]
        self.turns = [
            "seen",
            "seen",
            "open_intent",
            "open_intent",
            "close_intent",
            "copy_intent",
            "release",
            "apply",
            "due",
            "follow",
            "finish",
        ]
        self.turns += ["park", "unknown", "state_put", "bury"]

    def next(self) -> tuple[str, list[Any]]:
        draw = self.chance.random()
        if self.doubted and draw < 0.5:
            return ("verify", self._verify()) if draw < 0.35 else ("birth", self._birth())
        name = "birth" if draw < 0.03 else "void" if draw < 0.035 else "verify" if draw < 0.05 else self.chance.choice(self.usual)
        if 0.05 <= draw < 0.6:
            name = self.chance.choice(self.turns if self.holding & {*NAMES} else ["take", "apply"])
            if self.intent and self.chance.random() < 0.5:
                name = self.chance.choice(["close_intent", "copy_intent"])
        elif draw > 0.9:
            name = self.chance.choice(["job_put", "release_job"] if self.holding & {*JOBS} else ["take_job", "expect_job"])
        return name, getattr(self, f"_{name}")()

    def learn(self, name: str, args: list[Any], reply: Any) -> None:  # noqa: C901 -- a list of cases
        """Remember what later calls refer to."""
        if reply == "LostTurn":
            self.holding.discard(args[0])
        self.doubted = reply == "LedgerUnavailable" or (self.doubted and name not in {"verify", "birth"})
        if not isinstance(reply, list) or reply[0] != "OK":
            return
        if name == "birth":
            self.ledger = reply[1]
            self.holding.clear()
        if name in {"take", "take_job"}:
            self.holding.add(args[0])
        if name in {"release", "park", "finish", "release_job"} or (name == "close_intent" and len(reply) > SNAPSHOT):
            self.holding.discard(args[0])
        if name == "take":
            self.token[args[0]] = args[1]
        if name in {"take", "open_intent", "copy_intent", "close_intent", "seen"}:
            self.intent.pop(args[0], None)
            if reply[8]:
                self.intent[args[0]] = [reply[8], reply[10]]
        if name == "take_job":
            self.token[args[0]], self.wanted[args[0]] = args[1], reply[1]
        if name == "state":
            self.version, self.number, self.run = int(reply[3]), int(reply[2]), reply[7]

    def rarely(self, usual: Any, *others: Any) -> Any:
        return usual if self.chance.random() < 0.93 else self.chance.choice(others)

    def held(self, names: tuple[str, ...] = NAMES) -> list[Any]:
        name = self.chance.choice(sorted(self.holding.intersection(names)) or names)
        return [name, self.rarely(self.token.get(name, "none"), "another"), 20_000]

    def _apply(self) -> list[Any]:
        kind = self.chance.choice(["counts", "counts", "counts", "registrations"])
        start = self.chance.randint(0, 12)
        end = start + self.rarely(self.chance.randint(1, 5), 0)
        offsets = sorted(self.chance.sample(range(max(1, end - start)), self.chance.randint(0, max(0, end - start))))
        value = (lambda: self.rarely(self.chance.randint(0, 9), -1)) if kind == "counts" else (lambda: self.chance.choice(["", *JOBS]))
        records = [(self.chance.randint(0, 1), value()) for _ in offsets]
        different = list(dict.fromkeys(records))
        columns: dict[str, Any] = {
            "i": list(NAMES),
            "w": [name for name, _ in different],
            "n" if kind == "counts" else "j": [said for _, said in different],
            "t": [records.count(each) for each in different],
            "x": "".join(f"{different.index(each):04x}" for each in records),
            "o": offsets,
        }
        if self.chance.random() < 0.2:
            columns["d"] = [[self.rarely(0, 9), "bad", "cmF3"]]
        ledger, epoch = self.rarely(self.ledger, "1-other"), self.chance.choice(EPOCHS[:2])
        checksum = f"{self.chance.randint(0, 255):08x}"
        return [
            ledger,
            TOPIC,
            self.chance.randint(0, 1),
            epoch,
            start,
            end,
            kind,
            checksum,
            json.dumps(columns),
            10_000,
            self.chance.choice([10_000, 3]),
            self.rarely(len(records) + len(columns.get("d", ())), 77),
        ]

    def _add_by_hand(self) -> list[Any]:
        return [self.chance.choice(NAMES), self.chance.randint(0, 5), f"key-{self.chance.randint(0, 30)}", FOR_EVER, 10_000]

    def _register(self) -> list[Any]:
        return [self.rarely(self.chance.choice(NAMES), ""), self.chance.choice(["", *JOBS])]

    def _state(self) -> list[Any]:
        return [TOPIC]

    def _positions(self) -> list[Any]:
        return [f"{TOPIC}:0", f"{TOPIC}:1", f"{TOPIC}:2"]

    def _birth(self) -> list[Any]:
        self.number += 1
        settle_ms, starts = self.chance.choice([0, 0, 0, 0, 5000]), []
        for number in range(self.chance.choice([2, 2, 1])):
            start = self.chance.choice([0, 0, 3])
            starts += [TOPIC, number, self.chance.choice(EPOCHS[:2]), start, self.chance.choice(["", "", "", "", 0, 4, 6])]
        return [self.rarely(self.ledger, "", "1-other"), self.rarely(self.number, 1), "r", settle_ms, "a test", *starts]

    def _verify(self) -> list[Any]:
        return [self.rarely(self.ledger, "1-other"), self.rarely(self.run, "older"), self.rarely(self.version, self.version + 100)]

    def _void(self) -> list[Any]:
        return [self.rarely("a person", ""), "", self.rarely("", "0-another")]

    def _start_partition(self) -> list[Any]:
        start = self.chance.choice([0, 2])
        known = [self.chance.choice([0, 1, 1]), self.chance.choice(EPOCHS)]
        horizon = self.chance.choice(["", "", "", 4])
        return [self.rarely(self.ledger, "1-other"), TOPIC, self.chance.randint(0, 2), self.chance.choice(EPOCHS), start, horizon, *known]

    def _record_loss(self) -> list[Any]:
        start = self.chance.randint(0, 12)
        place = [self.rarely(self.ledger, "1-other"), TOPIC, 0, self.chance.choice(EPOCHS[:2])]
        return [*place, start, start + self.chance.randint(0, 3), "gone"]

    def _forget_marks(self) -> list[Any]:
        return [TOPIC, self.chance.randint(0, 1), self.chance.choice(EPOCHS[:2]), self.chance.randint(0, 12)]

    def _take(self) -> list[Any]:
        self.tokens += 1
        return [self.chance.choice(NAMES), f"t{self.tokens}", 20_000, self.rarely(0, 1), "", self.chance.randint(0, 1)]

    def _seen(self) -> list[Any]:
        state, past = self.chance.choice([("submitted", 0), ("completed", 1), ("failed", 0)])
        total, etag = self.chance.choice(["", 0, 5, 9]), self.chance.choice(["", "E1", "E2"])
        return [*self.held(), state, self.chance.choice(["", "j"]), total, self.chance.randint(0, 9), etag, "", past]

    def _unknown(self) -> list[Any]:
        return self.held()

    def _open_intent(self) -> list[Any]:
        return [*self.held(), self.chance.randint(0, 5), self.chance.choice(["", "E1"])]

    def sending(self) -> list[Any]:
        """One with an open intent rather than another."""
        held = self.held()
        held[0] = next(iter(self.intent), held[0]) if self.chance.random() < 0.8 else held[0]
        held[1] = self.token.get(held[0], "none")
        return held

    def _copy_intent(self) -> list[Any]:
        held = self.sending()
        delta, etag = self.intent.get(held[0], ["", ""])
        return [*held, self.rarely(int(delta or 0), 77), etag]

    def _close_intent(self) -> list[Any]:
        return [
            *self.sending(),
            self.chance.choice(["applied", "not applied"]),
            self.chance.choice(["", "E2"]),
            "answered",
            self.chance.choice([0, 1]),
            self.chance.choice([0, 5000]),
        ]

    def _state_put(self) -> list[Any]:
        pick = self.chance.choice
        return [*self.held(), pick(["send", "send", "never left"]), pick(["", 15_000]), pick([*JOBS, ""])]

    def _release(self) -> list[Any]:
        name, token, _ = self.held()
        reason = self.chance.choice(["", "later"])
        return [name, token, self.chance.choice([0, 500, 60_000]), reason, self.chance.choice(["", 2000]), 10_000]

    def _park(self) -> list[Any]:
        return [*self.held()[:2], "foreign", "somebody else counts"]

    def _bury(self) -> list[Any]:
        name, token, lease = self.held()
        return [name, self.chance.choice(["", token]), "given up", self.chance.choice([0, 100_000]), FOR_EVER, lease, 10_000, ""]

    def _finish(self) -> list[Any]:
        return [*self.held()[:2], self.chance.choice(["completed", "failed"]), FOR_EVER, 10_000, self.chance.choice([*JOBS, ""])]

    def _expect_job(self) -> list[Any]:
        return [self.rarely(self.chance.choice(JOBS), "")]

    def _take_job(self) -> list[Any]:
        self.tokens += 1
        return [self.chance.choice(JOBS), f"t{self.tokens}", 60_000]

    def _job_put(self) -> list[Any]:
        return [*self.held(JOBS), self.chance.choice(["sent", "answered"])]

    def _release_job(self) -> list[Any]:
        name, token, _ = self.held(JOBS)
        outcome, wanted = self.chance.choice(["done", "not ready", "later", "parked"]), self.wanted.get(name, "1")
        return [name, token, outcome, wanted, "completed", "why", self.chance.choice([0, 5000]), FOR_EVER]

    def _due(self) -> list[Any]:
        pick = self.chance.choice
        return [pick([1, 2000]), 10_000, 10_000, pick([1, 50]), pick([0, 5000]), pick([0, 1, 100])]

    def _follow(self) -> list[Any]:
        args: list[Any] = ["submitted"]
        for name in self.chance.sample(NAMES, self.chance.randint(0, 2)):
            args += [name, self.chance.choice(["", "j"]), self.chance.choice(["", 0, 5]), self.chance.randint(0, 9), ""]
        return args


def outcome(ledger: Ledger, name: str, args: list[Any]) -> Any:
    """The reply, or what is raised; without words for people."""
    try:
        reply = ledger.run(name, *args)
    except TrackerError as error:
        return type(error).__name__
    return reply[:1] if reply[0] == "EPOCH" else reply


def of_model(store: Store) -> dict[str, Any]:
    """The model's state, as Redis would tell it."""
    found: dict[str, Any] = {}
    if store.id:
        found["ledger"] = {"id": store.id, "number": str(store.number), "version": str(store.version), "run": store.verified_run}
        found["ledger"] |= {"born": str(store.born), "settle": str(store.settle), "unpassed": str(store.unpassed)}
        found["ledger"] |= {"void": store.void} if store.void is not None else {}
    found["partitions"] = dict(store.partitions)
    for (name, epoch), part in store.parts.items():
        ranges = ",".join(f"{low}-{high}-{known}" for low, high, known in sorted(part.ranges))
        values = {"next": str(part.next), "checksum": part.checksum, "ranges": ranges}
        values["horizon"] = "" if part.horizon is None else str(part.horizon)
        found[f"part:{name}:{epoch}"] = values | ({"old": "1"} if part.old else {})
    for kind, hashes in (("i", store.instances), ("j", store.job_fields)):
        found |= {f"{kind}:{name}": {field: str(value) for field, value in fields.items()} for name, fields in hashes.items()}
    found |= {name: dict(getattr(store, name)) for name in SETS if getattr(store, name)}
    found |= {f"k:{key}": value for key, value in store.keys.items()}
    found["dead"] = [(str(letter.get("instance", letter.get("offset"))), str(letter.get("count"))) for letter in store.dead]
    found["losses"] = [(str(loss["start"]), str(loss["end"])) for loss in store.losses]
    found["ends by itself"] = sorted(store.expiries)
    return found


def of_redis(client: Any) -> dict[str, Any]:
    """The same of what Redis holds; keys and fields beyond these are not looked at."""
    found: dict[str, Any] = {"partitions": client.hgetall(f"{P}partitions")}
    ending = []
    for key in sorted(client.keys(f"{P}*")):
        name = key.removeprefix(P)
        kind = name.partition(":")[0]
        if name == "ledger":
            found[name] = {field: value for field, value in client.hgetall(key).items() if field in OF_LEDGER}
        elif kind in {"i", "j"}:
            found[name] = {field: value for field, value in client.hgetall(key).items() if field in FIELDS}
        elif kind == "part":
            part = client.hgetall(key)
            ranges = ",".join(sorted(filter(None, part.get("ranges", "").split(",")), key=lambda text: int(text.partition("-")[0])))
            found[name] = part | {"ranges": ranges, "checksum": part.get("checksum", ""), "horizon": part.get("horizon", "")}
        elif name in SETS:
            found[name] = dict(client.zrange(key, 0, -1, withscores=True))
        elif kind == "k":
            found[name] = client.get(key)
        if kind in {"i", "j", "part", "k"} and client.pttl(key) > 0:
            ending.append(name)
    found["dead"] = [(letter.get("instance", letter.get("offset")), str(letter.get("count"))) for _, letter in client.xrange(f"{P}dead")]
    found["losses"] = [(loss["start"], loss["end"]) for _, loss in client.xrange(f"{P}losses")]
    found["ends by itself"] = sorted(ending)
    return found


def indexed(client: Any) -> tuple[int, set[str], set[str]]:
    """What the metrics are told is owed, by whom, and who has an open intent."""
    owing, intents = (set(client.zrange(f"{P}{name}", 0, -1)) for name in ("owed", "intents"))
    return int(client.hget(f"{P}ledger", "owed") or 0), owing, intents


def counted_up(client: Any) -> tuple[int, set[str], set[str]]:
    """The same, from the instances of the ledger in force."""
    owed, intents = {}, set()
    number = client.hget(f"{P}ledger", "number")
    for name in NAMES:
        generation, count, delta = client.hmget(f"{P}i:{name}", "g", "owed", "dl")
        if generation == number and int(count or 0) > 0:
            owed[name] = int(count)
        if generation == number and delta:
            intents.add(name)
    return sum(owed.values()), set(owed), intents


@pytest.fixture(scope="module", params=["valkey", "fakeredis"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator["redis.Redis"]:
    if request.param == "fakeredis":
        yield fakeredis.FakeRedis(decode_responses=True)
        return
    with Valkey(tmp_path_factory.mktemp("valkey")) as server, connect(server.url) as client:
        client.config_set("appendfsync", "no")
        yield client


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts take the time from a list beside the ledger's keys in place of the server's clock."""
    text = ledger_scripts.script_text

    def timed(name: str) -> str:
        assert text(name).count("redis.call('TIME')") == 1
        return text(name).replace("redis.call('TIME')", "redis.call('LRANGE', 'the time', 0, 1)")

    monkeypatch.setattr(ledger_scripts, "script_text", timed)


@pytest.mark.usefixtures("virtual_time")
def test_the_same_calls_come_to_the_same(client: "redis.Redis") -> None:
    quick = isinstance(client, fakeredis.FakeRedis)  # quick to start; it runs 50 times fewer calls in a second
    real = Ledger(client, P)
    happened = dict.fromkeys(SCRIPTS, 0)
    for seed in range(max(1, SEQUENCES // 30) if quick else SEQUENCES):
        client.flushall()
        calls, store, told = Calls(seed), Store(run=""), []
        now = NOW
        model = ModelLedger(store, lambda: now)  # noqa: B023 -- used within this round only
        for step in range(STEPS):
            now += calls.chance.choice(JUMPS)
            client.delete("the time")
            client.rpush("the time", str(now // 1000), str(now % 1000 * 1000))
            name, args = ("state", [TOPIC]) if step % 10 == 0 else calls.next()
            if step == 0:
                store.run = real.run("state", TOPIC)[7]
            if step == 1:
                name, args = "birth", ["", 1, "r", 0, "first", TOPIC, 0, "e1", 0, calls.chance.choice(["", 4]), TOPIC, 1, "e1", 0, ""]
                calls.number = 1
            if store.id and calls.chance.random() < 0.01:
                store.verified_run = "earlier"  # as if the server had restarted
                client.hset(f"{P}ledger", "run", "earlier")
            told.append((name, *args))
            expected, found = outcome(real, name, args), outcome(model, name, args)
            assert found == expected, (seed, step, told[-8:])
            happened[name] += isinstance(found, list) and found[0] == "OK"
            calls.learn(name, args, found)
            if step % 25 == 24:
                assert of_model(store) == of_redis(client), (seed, step, told[-25:])
                assert indexed(client) == counted_up(client), (seed, step, told[-25:])
    assert quick or all(happened.values()), {name: times for name, times in happened.items() if not times}


def test_every_script_that_changes_what_the_promise_rests_on_is_modelled() -> None:
    """A new script is either modelled or named here as one that the simulator does not need."""
    folder = Path(ledger_scripts.__file__).parent / "scripts"
    known = {path.stem for path in folder.glob("*.lua")} - {"prelude"}
    assert known - NOT_MODELLED == set(SCRIPTS)


NOT_MODELLED = {
    "drained",
    "drop_letter",
    "look_for_stuck",
    "note_forced",
    "pause",
    "replay_letter",
    "retry_job",
    "retry_parked",
    "tend_history",
}
