"""What `prelude.lua` has, as Python: shared by the other scripts of the model."""

from typing import Any

from tests.simulation.ledger_store import Fields, Part, Store

Reply = list[Any]


def ready_at(store: Store) -> int | None:
    return None if store.unpassed > 0 else store.born + store.settle


def touch(store: Store, now: int, name: str) -> Fields:
    fields = store.instances.get(name)
    if fields is None:
        fields = store.instances[name] = {}
    elif fields["g"] != store.number:
        if "ho" in fields:
            fields["hb"] = fields.get("hb", 0) + fields["ho"]
        if {"hi", "dl"} <= fields.keys():
            fields["ha"] = fields["bf"] + fields["dl"]
        for field in VOID_AT_A_BIRTH:
            fields.pop(field, None)
        store.persist(f"i:{name}")
        store.finished.pop(name, None)
    else:
        return fields
    fields["g"] = store.number
    fields["aside"] = fields.get("hand", 0)
    fields.setdefault("first", now)
    return fields


VOID_AT_A_BIRTH = (
    *("owed", "counted", "et", "ins", "dl", "bf", "im", "sent", "lk", "lu", "nb", "tr", "why", "k", "rs", "unk", "pk", "pkd"),
    *("ps", "end", "unv", "ho"),
)


def take_up(store: Store, now: int, name: str) -> None:
    """`follow` of prelude.lua."""
    store.followed.setdefault(name, now)
    store.finished.pop(name, None)


def is_all_in(fields: Fields, owed: int) -> bool:
    total = fields.get("total") or 0
    return total > 0 and "ins" in fields and fields["ins"] + owed >= total


def owe(store: Store, now: int, name: str, count: int, kick_ms: int) -> tuple[bool, bool]:
    fields = touch(store, now, name)
    ended, known = "end" in fields, "counted" in fields
    if ended:
        store.persist(f"i:{name}")
    parked = fields.get("pk", "unknown") != "unknown"
    all_in = is_all_in(fields, fields.get("owed", 0) + count)
    rest = 0 if all_in else fields.get("rs", 0)
    checked = rest <= now < rest + 60_000 and "ins" in fields
    if not now < rest <= now + 60_000:
        rest = now
    if not parked:
        store.owing.setdefault(name, rest)
    ready = ready_at(store)
    busy = fields.get("lu", 0) > now or fields.get("nb", 0) > now or (not all_in and fields.get("k", 0) > now)
    wake = ready is not None and ready <= now and not busy and not parked and rest <= now and not checked
    fields["owed"] = fields.get("owed", 0) + count
    fields["counted"] = fields.get("counted", 0) + count
    fields["last"] = now
    if wake:
        fields["k"] = now + kick_ms
    if not ended and not known:
        take_up(store, now, name)
    return wake, all_in or "ins" not in fields or "rs" not in fields


def follow_registered(store: Store, now: int, name: str, job: str) -> None:
    """`register` of prelude.lua."""
    fields = touch(store, now, name)
    if job:
        fields["job"] = job
    if "end" not in fields:
        take_up(store, now, name)


def extend(store: Store, part: Part, start: int, end: int, checksum: str) -> int:
    keep = []
    for low, high, known in part.ranges:
        if high < start or low > end:
            keep.append((low, high, known))
        else:
            start = min(start, low)
            if high > end:
                end, checksum = high, known
    if start > part.next:
        keep.append((start, end, checksum))
    elif end > part.next:
        part.next, part.checksum = end, checksum
    part.ranges = keep
    if part.horizon is not None and not part.old and part.next >= part.horizon:
        part.horizon = None
        store.unpassed -= 1
    return part.next


def held(store: Store, now: int, name: str, token: str, lease_ms: int) -> Fields | None:
    fields = store.instances.get(name)
    if fields is None or fields["g"] != store.number or fields.get("lk") != token or fields.get("lu", 0) <= now:
        return None
    fields["lu"] = now + lease_ms
    return fields


def expect(store: Store, now: int, job: str) -> None:
    """`expect` of prelude.lua."""
    if not job:
        return
    fields = store.job_fields.setdefault(job, {})
    fields["wanted"] = fields.get("wanted", 0) + 1
    store.persist(f"j:{job}")
    store.jobs[job] = now


SNAPSHOT = ("owed", "aside", "total", "ins", "st", "job", "et", "dl", "bf", "im", "sent", "tr", "pk", "counted", "end")


def snapshot(now: int, fields: Fields) -> Reply:
    known = fields.get
    return ["OK", *[str(known(field, "")) for field in SNAPSHOT], str(now)]


def note_intent(fields: Fields, now: int, before: int, etag: str) -> None:
    """`open_intent` of prelude.lua."""
    fields["dl"], fields["bf"], fields["im"], fields["sent"] = fields["owed"], before, etag, now
    if "ho" in fields:
        fields["hi"] = fields["ho"]
