"""The scripts of batches and of the bridge, as Python; see `tests.simulation.ledger_model`."""

# ruff: noqa: C901, PLR0912, PLR0915, PLR0917 -- each function is as long as its script and has its arguments

import json
from typing import Any

from tests.simulation.ledger_store import DAY_MS, FULL, LOST, WRONG, Part, Store
from tests.simulation.scripts_prelude import Reply, extend, follow_registered, owe, touch
from tracker.errors import LedgerUnavailable
from tracker.events import MAX_COUNT


def per_record(kind: str, columns: dict[str, Any]) -> dict[str, Any]:
    """The columns with an entry for each record, where the payload has one for each different value."""
    name = "n" if kind == "counts" else "j"
    places = [int(columns["x"][at : at + 4], 16) for at in range(0, len(columns["x"]), 4)]
    return columns | {"x": [columns["w"][place] for place in places], name: [columns[name][place] for place in places]}


def wrong_payload(kind: str, length: int, columns: Any) -> bool:
    """Whether apply.lua refuses a payload."""
    if not isinstance(columns, dict):
        return True
    ids, which, values = columns.get("i"), columns.get("x"), columns.get("n" if kind == "counts" else "j")
    offsets, dead = columns.get("o"), columns.get("d", [])
    if not (isinstance(ids, list) and isinstance(which, list) and isinstance(values, list) and isinstance(dead, list)):
        return True
    if len(which) != len(values) or (offsets is not None and len(offsets) != len(which)) or "" in ids:
        return True
    before = -1
    for n, value in enumerate(values):
        offset = offsets[n] if offsets is not None else n
        if offset <= before or offset >= length or which[n] >= len(ids):
            return True
        before = offset
        if kind == "counts" and not 0 <= value <= MAX_COUNT:
            return True
    return any(not 0 <= letter[0] < length for letter in dead)


def apply(
    store: Store,
    now: int,
    ledger: str,
    topic: str,
    number: int,
    epoch: str,
    start: int,
    end: int,
    kind: str,
    checksum: str,
    payload: str,
    kick_ms: int,
    most_letters: int,
    records: int,
) -> Reply:
    if store.id != ledger:
        return ["OTHER", store.id]
    if not 0 <= start < end or kind not in {"counts", "registrations"}:
        return WRONG
    part = store.parts.get((f"{topic}:{number}", epoch))
    if part is None:
        return ["EPOCH", ""]
    if end <= part.next:
        return ["OK", str(part.next), "0", [], []]
    columns = per_record(kind, json.loads(payload))
    if wrong_payload(kind, end - start, columns) or len(columns["x"]) + len(columns.get("d", ())) != records:
        return WRONG
    ids, which, values = columns["i"], columns["x"], columns["n" if kind == "counts" else "j"]
    offsets, dead = columns.get("o"), columns.get("d", ())
    reached, ranges, horizon = part.next, part.ranges, part.horizon or 0

    def seen(offset: int) -> bool:
        return offset < reached or any(low <= offset < high for low, high, _ in ranges)

    asides: dict[int, int] = {}
    sums: dict[int, int] = {}
    jobs: dict[int, str] = {}
    applied = 0
    for n, value in enumerate(values):
        offset = start + (offsets[n] if offsets is not None else n)
        if seen(offset):
            continue
        j = which[n]
        jobs.setdefault(j, "")
        if kind == "registrations":
            jobs[j] = value or jobs[j]
        elif offset < horizon:
            asides[j] = asides.get(j, 0) + value
        else:
            sums[j] = sums.get(j, 0) + value
        applied += 1
    marks = store.marks.get((f"{topic}:{number}", epoch), {})
    letters = {start + at: raw for at, _, raw in dead if not seen(start + at)}
    new = {offset: raw for offset, raw in letters.items() if marks.get(offset) != raw}
    settled = [store.instances.get(ids[j], {}) for j, aside in asides.items() if aside > 0]
    late = any(fields.get("g") == store.number and "aside" not in fields for fields in settled)
    if (new or late) and len(store.dead) >= most_letters:
        return FULL
    out: Reply = ["OK", "", "", [], []]
    for j, job in jobs.items():
        name = ids[j]
        if kind == "registrations":
            follow_registered(store, now, name, job)
            continue
        if j in asides:
            fields = touch(store, now, name)
            if "aside" in fields:
                fields["aside"] += asides[j]
                store.leisure.setdefault(name, now)
            elif asides[j] > 0:
                store.dead.append({"what": "counts", "instance": name, "count": asides[j], "perhaps": asides[j]})
        if sums.get(j, 0) > 0:
            wake, urgent = owe(store, now, name, sums[j], kick_ms)
            if wake:
                out[3 if urgent else 4].append(name)
    for offset, raw in new.items():
        store.dead.append({"what": "undecodable", "topic": topic, "partition": number, "epoch": epoch, "offset": offset, "raw": raw})
        store.marks.setdefault((f"{topic}:{number}", epoch), {})[offset] = raw
    applied += len(letters)
    out[1] = str(extend(store, part, start, end, checksum))
    out[2] = str(applied)
    if applied > 0:
        store.flow = now
    store.version += 1
    return out


def add_by_hand(store: Store, now: int, name: str, count: int, key: str, remember_ms: int, kick_ms: int, *_: Any) -> Reply:
    if not name or not 0 <= count <= MAX_COUNT:
        return WRONG
    if key in store.keys:
        return ["OK", "0", "0"]
    store.keys[key] = f"{name} {count}"
    store.expire_at(f"k:{key}", now + remember_ms)
    wake = False
    if count > 0:
        wake = owe(store, now, name, count, kick_ms)[0]
        fields = store.instances[name]
        for field in ("hand", "ho"):
            fields[field] = fields.get(field, 0) + count
    store.version += 1
    return ["OK", "1", "1" if wake else "0"]


def register(store: Store, now: int, name: str, job: str, *_: Any) -> Reply:
    if not name:
        return WRONG
    follow_registered(store, now, name, job)
    store.version += 1
    return ["OK"]


def state(store: Store, _: int, *topics: str) -> Reply:
    verified = "1" if store.verified_run == store.run else "0"
    out = ["OK", store.id or "", str(store.number or 0), str(store.version), verified, "1", store.void or "", store.run]
    for name, epoch in store.partitions.items():
        topic, _colon, number = name.rpartition(":")
        if topic in topics:
            part = store.parts[name, epoch]
            out += [topic, number, epoch, str(part.next), part.checksum, "" if part.horizon is None else str(part.horizon)]
    return out


def positions(store: Store, _: int, *names: str) -> Reply:
    out = [
        "OK",
        store.id or "",
        str(store.version),
        "1" if store.id and store.verified_run == store.run else "0",
        str(len(store.dead)),
        "0",
    ]
    for name in names:
        epoch = store.partitions.get(name)
        if epoch is not None:
            part = store.parts[name, epoch]
            out += [name, epoch, str(part.next), "1" if part.horizon is None else "0"]
    return out


def birth(store: Store, now: int, expected: str, number: int, random: str, settle_ms: int, reason: str, *starts: Any) -> Reply:
    if (store.id or "") != expected:
        return ["OTHER", store.id or ""]
    if store.number is not None and number <= store.number:
        return WRONG
    for name, epoch in store.partitions.items():
        del store.parts[name, epoch]
        store.persist(f"part:{name}:{epoch}")
    taken_up = [*store.owing, *store.parked, *store.leisure]
    for gone in (store.partitions, store.owing, store.watched, store.leisure, store.parked, store.sync):
        gone.clear()
    store.leisure = {name: now for name in taken_up if {"ho", "hb"} & store.instances.get(name, {}).keys()}
    store.unpassed = 0
    for topic, partition, epoch, following, horizon in zip(*[iter(starts)] * 5, strict=True):
        name = f"{topic}:{partition}"
        store.partitions[name] = epoch
        store.persist(f"part:{name}:{epoch}")
        store.parts[name, epoch] = part = Part(following)
        if horizon != "":
            marks = store.marks.get((name, epoch), {})
            store.marks[name, epoch] = {offset: raw for offset, raw in marks.items() if offset < horizon}
        if horizon != "" and horizon > following:
            part.horizon = horizon
            store.unpassed += 1
    store.id, store.number, store.version, store.verified_run = f"{number}-{random}", number, 1, store.run
    store.born, store.settle, store.void = now, settle_ms, None
    store.births.append(reason)
    return ["OK", store.id]


def verify(store: Store, _: int, ledger: str, run: str, version: int) -> Reply:
    if store.id != ledger or not store.id:
        return ["OTHER", store.id or ""]
    if store.void is not None:
        return ["VOID", store.id]
    if run != store.run or store.version < version:
        return ["OTHER", store.id]
    store.verified_run = store.run
    return ["OK", store.id]


def void(store: Store, _now: int, reason: str, _by: str, ledger: str) -> Reply:
    if store.id is None:
        raise LedgerUnavailable("no ledger yet")
    if ledger not in {"", store.id}:
        return LOST
    if not reason:
        return WRONG
    store.void, store.verified_run = reason, f"void: {reason}"
    store.version += 1
    return ["OK", store.id]


def start_partition(
    store: Store, now: int, ledger: str, topic: str, number: int, epoch: str, following: int, horizon: Any, replaces: int, old: str
) -> Reply:
    if store.id != ledger:
        return ["OTHER", store.id]
    name = f"{topic}:{number}"
    known = store.partitions.get(name)
    if known == epoch or known != (old if replaces else None):
        return ["OK", str(store.parts[name, known].next) if known is not None else "0"]
    if known is not None:
        part = store.parts[name, known]
        if part.horizon is not None:
            store.unpassed -= 1
        part.old = True
        store.expire_at(f"part:{name}:{known}", now + DAY_MS)
    store.partitions[name] = epoch
    if (name, epoch) in store.parts:
        store.persist(f"part:{name}:{epoch}")
    else:
        store.parts[name, epoch] = part = Part(following)
        if isinstance(horizon, int) and horizon > following:
            part.horizon = horizon
            store.unpassed += 1
    store.version += 1
    return ["OK", str(store.parts[name, epoch].next)]


def record_loss(store: Store, _: int, ledger: str, topic: str, number: int, epoch: str, start: int, end: int, reason: str) -> Reply:
    del reason
    if store.id != ledger:
        return ["OTHER", store.id]
    part = store.parts.get((f"{topic}:{number}", epoch))
    if part is None:
        return ["EPOCH", ""]
    if not 0 <= start < end:
        return WRONG
    if end <= part.next:
        return ["OK", str(part.next)]
    start = max(start, part.next)
    hole = start
    for low, high, _checksum in [*sorted(part.ranges), (end, end, "")]:
        if hole < min(low, end):
            store.losses.append({"topic": topic, "partition": number, "epoch": epoch, "start": hole, "end": min(low, end)})
        hole = max(hole, high)
    following = extend(store, part, start, end, "")
    store.version += 1
    return ["OK", str(following)]


def forget_marks(store: Store, _: int, *oldest: Any) -> Reply:
    there = {f"{topic}:{number}": (epoch, offset) for topic, number, epoch, offset in zip(*[iter(oldest)] * 4, strict=True)}
    forgotten = 0
    for (name, epoch), marks in store.marks.items():
        if name in there and there[name][0] == epoch:
            below = [offset for offset in marks if offset < there[name][1]]
            forgotten += len(below)
            for offset in below:
                del marks[offset]
    return ["OK", str(forgotten)]
