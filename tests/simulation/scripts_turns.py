"""The scripts of turns, jobs and the periodic check, as Python; see `tests.simulation.ledger_model`."""

# ruff: noqa: C901, PLR0912, PLR0915, PLR0917 -- each function is as long as its script and has its arguments

from collections.abc import Mapping
from typing import Any

from tests.simulation.ledger_store import FULL, LOST, WRONG, Store
from tests.simulation.scripts_prelude import Reply, expect, held, is_all_in, note_intent, ready_at, snapshot, touch


def take(store: Store, now: int, name: str, token: str, lease_ms: int, force: int, by: str = "", push: int = 0) -> Reply:
    del by
    ready = ready_at(store)
    if ready is None or ready > now:
        return ["NOT_READY", "" if ready is None else str(ready - now)]
    if name not in store.instances:
        return ["NONE", ""]
    fields = touch(store, now, name)
    lock, due, parked = fields.get("lu", 0), fields.get("nb", 0), fields.get("pk", "unknown") != "unknown"
    if now < lock <= now + lease_ms:
        return ["BUSY", str(lock - now)]
    if not force:
        if now < due <= now + 3_600_000:
            return ["LATER", str(due - now)]
        if parked:
            return ["PARKED", ""]
    elif parked:
        del fields["pk"]
        fields.pop("pkd", None)
        store.parked.pop(name, None)
        store.owing.setdefault(name, now)
    if fields.get("sent", 0) > now:
        fields["sent"] = now
    fields["lk"], fields["lu"] = token, now + lease_ms
    fields.pop("k", None)
    fields.pop("nb", None)
    if push and fields.get("owed", 0) > 0 and fields.get("et") and "ins" in fields and "dl" not in fields and "aside" not in fields:
        note_intent(fields, now, fields["ins"], fields["et"])
        store.version += 1
        return [*snapshot(now, fields), "1"]
    return snapshot(now, fields)


def seen(
    store: Store,
    now: int,
    name: str,
    token: str,
    lease_ms: int,
    state: str,
    job: str,
    total: Any,
    inserted: int,
    etag: str,
    tasks: str,
    past: int,
) -> Reply:
    fields = held(store, now, name, token, lease_ms)
    if fields is None:
        return LOST
    fields["st"], fields["total"], fields["ins"], fields["et"], fields["tasks"] = state, total, inserted, etag, tasks
    if job:
        fields["job"] = job
    fields.pop("unk", None)
    if fields.get("pk") == "unknown":
        del fields["pk"]
        fields.pop("pkd", None)
        store.parked.pop(name, None)
    if "aside" in fields:
        by_hand, sent, applied = (fields.pop(field, None) for field in ("hb", "hi", "ha"))
        by_hand = by_hand or 0
        if by_hand > 0 and sent is not None and applied is not None and inserted >= applied:
            by_hand -= sent
        aside = fields.pop("aside")
        missing = by_hand if past else aside - inserted
        if missing > 0:
            for field in ("owed", "counted"):
                fields[field] = fields.get(field, 0) + missing
            if by_hand > 0:
                fields["ho"] = fields.get("ho", 0) + min(by_hand, missing)
        elif missing < 0:
            fields["unv"] = -missing
        store.version += 1
    return snapshot(now, fields)


def unknown(store: Store, now: int, name: str, token: str, lease_ms: int) -> Reply:
    fields = held(store, now, name, token, lease_ms)
    if fields is None:
        return LOST
    times = fields["unk"] = fields.get("unk", 0) + 1
    if times >= 2 and "pk" not in fields and "end" not in fields:
        fields["pk"], fields["pkd"] = "unknown", now
        store.parked[name] = now
        store.version += 1
    return ["OK", str(times)]


def open_intent(store: Store, now: int, name: str, token: str, lease_ms: int, before: int, etag: str) -> Reply:
    fields = held(store, now, name, token, lease_ms)
    if fields is None:
        return LOST
    owed = fields.get("owed", 0)
    if "dl" in fields or "aside" in fields or owed <= 0:
        return WRONG
    note_intent(fields, now, before, etag)
    store.version += 1
    return snapshot(now, fields)


def copy_intent(store: Store, now: int, name: str, token: str, lease_ms: int, delta: int, etag: str) -> Reply:
    fields = held(store, now, name, token, lease_ms)
    if fields is None:
        return LOST
    if fields.get("dl") != delta or fields.get("im") != etag:
        return WRONG
    fields["sent"] = now
    store.version += 1
    return snapshot(now, fields)


def close_intent(
    store: Store, now: int, name: str, token: str, lease_ms: int, outcome: str, etag: str, how: str, release: int, rest_ms: int
) -> Reply:
    del how
    fields = held(store, now, name, token, lease_ms)
    if fields is None:
        return LOST
    if "dl" not in fields:
        return WRONG
    if outcome == "applied":
        fields["owed"] = fields.get("owed", 0) - fields["dl"]
        fields["ins"] = fields["bf"] + fields["dl"]
        if "hi" in fields:
            fields["ho"] -= fields["hi"]
            if not fields["ho"]:
                del fields["ho"]
        if rest_ms > 0:
            fields["rs"] = now + rest_ms
    fields["et"] = etag
    for field in ("dl", "bf", "im", "sent", "hi"):
        fields.pop(field, None)
    store.version += 1
    reply = snapshot(now, fields)
    owed, total = fields["owed"], fields.get("total") or 0
    open_still = fields.get("st") == "submitted" and not {"aside", "pk", "end"} & fields.keys() and total > fields.get("ins", 0) + owed
    if not release or outcome != "applied" or not open_still or (owed > 0 and rest_ms <= 0):
        return reply
    for field in ("lk", "lu", "why", "tr", "nb"):
        fields.pop(field, None)
    store.watched.pop(name, None)
    store.leisure.pop(name, None)
    if owed > 0:
        store.owing[name] = fields["rs"]
    else:
        store.owing.pop(name, None)
    return [*reply, "1"]


def state_put(store: Store, now: int, name: str, token: str, lease_ms: int, what: str, alive_ms: int | str, job: str) -> Reply:
    fields = held(store, now, name, token, lease_ms)
    if fields is None:
        return LOST
    if what == "never left":
        fields.pop("ps", None)
        return ["OK", ""]
    last = fields.get("ps")
    if last is not None and isinstance(alive_ms, int):
        last = min(last, now)
        if now - last < alive_ms:
            return ["OK", str(last + alive_ms - now)]
    fields["ps"] = now
    expect(store, now, job)
    store.version += 1
    return ["OK", ""]


def release(store: Store, now: int, name: str, token: str, delay_ms: int, reason: str, watch_ms: int | str, kick_ms: int) -> Reply:
    fields = held(store, now, name, token, 1000)
    if fields is None:
        return LOST
    del fields["lk"], fields["lu"]
    if reason:
        fields["why"], fields["tr"] = reason, fields.get("tr", 0) + 1
        if delay_ms > 0:
            fields["nb"] = now + delay_ms
    else:
        for field in ("why", "tr", "nb"):
            fields.pop(field, None)
    if isinstance(watch_ms, int):
        store.watched[name] = now + watch_ms
    else:
        store.watched.pop(name, None)
    pending = fields.get("owed", 0) > 0 or "dl" in fields or "aside" in fields or fields.get("pk") == "unknown"
    if "aside" not in fields:
        store.leisure.pop(name, None)
    if not pending:
        store.owing.pop(name, None)
        return ["OK", "0"]
    rest = fields.get("rs", 0)
    if delay_ms == 0 and "dl" not in fields and "aside" not in fields and now < rest <= now + 60_000:
        delay_ms = 0 if is_all_in(fields, fields.get("owed", 0)) else rest - now
    store.owing[name] = now + delay_ms
    if delay_ms > 0:
        return ["OK", "0"]
    fields["k"] = now + kick_ms
    return ["OK", "1"]


def park(store: Store, now: int, name: str, token: str, kind: str, reason: str) -> Reply:
    fields = held(store, now, name, token, 1000)
    if fields is None:
        return LOST
    fields["pk"], fields["why"] = kind, reason
    fields.setdefault("pkd", now)
    del fields["lk"], fields["lu"]
    store.parked.setdefault(name, now)
    store.owing.pop(name, None)
    store.watched.pop(name, None)
    store.version += 1
    return ["OK"]


def bury(
    store: Store, now: int, name: str, token: str, reason: str, longest_ms: int, remember_ms: int, lease_ms: int, most_letters: int, *_: str
) -> Reply:
    del reason
    fields = store.instances.get(name, {})
    if token:
        if held(store, now, name, token, lease_ms) is None:
            return LOST
    elif fields.get("g") != store.number or "pkd" not in fields:
        store.parked.pop(name, None)
        return ["OK", "0", "0"]
    elif fields["pkd"] + longest_ms > now or fields.get("lu", 0) > now:
        return ["OK", "0", "0"]
    aside = 0 if token else fields.get("aside", 0)
    count = fields.get("owed", 0) + aside
    if count > 0 and len(store.dead) >= most_letters:
        return FULL
    if count > 0:
        store.dead.append({"what": "counts", "instance": name, "count": count, "perhaps": fields.get("dl", 0) + aside})
    for field in ("owed", "dl", "bf", "im", "sent", "pk", "pkd", "unk", "ho", "hi"):
        fields.pop(field, None)
    store.owing.pop(name, None)
    store.parked.pop(name, None)
    if not token:
        for field in ("aside", "hb", "ha"):
            fields.pop(field, None)
        store.leisure.pop(name, None)
        fields["end"] = now
        store.followed.pop(name, None)
        store.watched.pop(name, None)
        store.finished[name] = now
        store.expire_at(f"i:{name}", now + remember_ms)
    store.version += 1
    return ["OK", str(count), "1"]


def finish(store: Store, now: int, name: str, token: str, state: str, remember_ms: int, kick_ms: int, job: str) -> Reply:
    fields = held(store, now, name, token, 1000)
    if fields is None:
        return LOST
    owes = fields.get("owed", 0) > 0 or "dl" in fields
    ours = "ps" in fields
    for field in ("lk", "lu", "why", "tr", "nb", "ps", "aside"):
        fields.pop(field, None)
    fields["end"] = fields["end"] if "end" in fields and fields.get("st") == state else now
    fields["st"] = state
    store.followed.pop(name, None)
    store.watched.pop(name, None)
    leisurely = store.leisure.pop(name, None) is not None and not ours
    expect(store, now, job)
    if fields.get("job") and fields["job"] != job:
        expect(store, now, fields["job"])
    store.version += 1
    if owes:
        fields["k"] = now + kick_ms
        store.owing[name] = now
        return ["OK", "1"]
    store.owing.pop(name, None)
    if leisurely and "counted" not in fields and not fields.get("hand", 0):
        del store.instances[name]
        store.persist(f"i:{name}")
    else:
        store.expire_at(f"i:{name}", now + remember_ms)
        store.finished[name] = now
    store.finished = {other: at for other, at in store.finished.items() if at > now - remember_ms}
    return ["OK", "0"]


def expect_job(store: Store, now: int, job: str) -> Reply:
    if not job:
        return WRONG
    expect(store, now, job)
    store.version += 1
    return ["OK"]


def take_job(store: Store, now: int, job: str, token: str, lease_ms: int) -> Reply:
    fields = store.job_fields.get(job, {})
    if "wanted" not in fields:
        return ["NONE", ""]
    lock = fields.get("until", 0)
    if now < lock <= now + lease_ms:
        return ["BUSY", str(lock - now)]
    if "token" in fields:
        store.failing_jobs.setdefault(job, now)
        fields["why"] = "the last look at it did not come to an end"
    fields["token"], fields["until"] = token, now + lease_ms
    sent = fields.get("sent")
    ago = "" if sent is None else str(now - min(sent, now))
    return ["OK", str(fields["wanted"]), ago, str(fields.get("open", 0)), str(fields.get("tries", 0))]


def job_put(store: Store, now: int, job: str, token: str, lease_ms: int, what: str) -> Reply:
    fields = store.job_fields.get(job, {})
    if fields.get("token") != token or fields.get("until", 0) <= now:
        return LOST
    fields["until"] = now + lease_ms
    if what == "sent":
        fields["sent"], fields["open"] = now, fields.get("open", 0) + 1
    elif fields.get("open", 0) > 0:
        fields["open"] -= 1
    store.version += 1
    return ["OK"]


def release_job(
    store: Store, now: int, job: str, token: str, outcome: str, wanted: str, state: str, reason: str, delay_ms: int, remember_ms: int
) -> Reply:
    fields = store.job_fields.get(job, {})
    if fields.get("token") != token:
        return LOST
    del fields["token"], fields["until"]
    fields["st"], fields["why"] = state, reason
    again = str(fields["wanted"]) != wanted
    if outcome == "later":
        store.failing_jobs.setdefault(job, now)
        store.persist(f"j:{job}")
        fields["tries"] = fields.get("tries", 0) + 1
        store.jobs[job] = now + delay_ms
    elif again:
        store.failing_jobs.pop(job, None)
        store.jobs[job] = now
    else:
        store.failing_jobs.pop(job, None)
        store.jobs.pop(job, None)
        fields.pop("tries", None)
        if outcome == "done":
            fields.pop("sent", None)
            fields.pop("open", None)
        if outcome == "parked":
            store.parked_jobs[job] = now
        else:
            store.parked_jobs.pop(job, None)
        store.expire_at(f"j:{job}", now + remember_ms)
        store.parked_jobs = {other: at for other, at in store.parked_jobs.items() if at > now - remember_ms}
    store.version += 1
    return ["OK", "1" if again else "0"]


def lowest(members: Mapping[str, float], most: int, now: int | None = None) -> list[str]:
    """What ZRANGE and ZRANGEBYSCORE give: by score, then by name."""
    found = [name for name, score in members.items() if now is None or score <= now]
    if len(found) > 1:
        found.sort(key=lambda name: (members[name], name))
    return found[:most]


def due(store: Store, now: int, most: int, kick_ms: int, hold_ms: int, leisurely: int, rest_ms: int, most_passing: int) -> Reply:
    push: list[str] = []
    passing: list[str] = []
    look: list[str] = []
    totals: list[str] = []
    jobs: list[str] = []
    ready = ready_at(store)
    if ready is not None and ready <= now:
        owing = lowest(store.owing, most, now)
        flows, rested = 0 <= now - store.flow <= 300, []
        if rest_ms > 0 and most_passing > 0 and not flows:
            later = lowest({name: at for name, at in store.owing.items() if at > now}, most, now + rest_ms)
            owing += [name for name in later if (held_back := store.instances.get(name, {})).get("rs", 0) > now and "nb" not in held_back]
        for name in lowest(store.leisure, leisurely):
            store.leisure[name] = now
            owing.append(name)
        for name in owing:
            fields = store.instances.get(name)
            if fields is None:
                store.owing.pop(name, None)
                store.leisure.pop(name, None)
                continue
            lock, kicked = fields.get("lu", 0), fields.get("k", 0)
            if now < lock <= now + 60_000:
                if name in store.owing:
                    store.owing[name] = lock
            elif kicked <= now or kicked > now + kick_ms:
                awaited = "ins" not in fields or "dl" in fields or "aside" in fields or "rs" not in fields
                awaited = awaited or is_all_in(fields, fields.get("owed", 0))
                if awaited:
                    touch(store, now, name)["k"] = now + kick_ms
                    push.append(name)
                else:
                    rested.append((fields["rs"], name))
        rested.sort(key=lambda each: each[0])
        room = most_passing if flows or most_passing == 0 else most
        for number, (since, name) in enumerate(rested, 1):
            if number <= room:
                touch(store, now, name)["k"] = now + kick_ms
                passing.append(name)
            elif since <= now and name in store.owing:
                store.owing[name] = round(now - 1 + (number - room) / 4096, 4)
        for name in lowest(store.watched, most, now):
            fields = store.instances.get(name)
            if fields is None:
                del store.watched[name]
                continue
            store.watched[name] = now + hold_ms
            (totals if fields.get("total", "") == "" else look).append(name)
        for job in lowest(store.jobs, most, now):
            if "wanted" not in store.job_fields.get(job, {}):
                del store.jobs[job]
                store.failing_jobs.pop(job, None)
                continue
            lock = store.job_fields[job].get("until", 0)
            if now < lock <= now + 600_000:
                store.jobs[job] = lock
            else:
                store.jobs[job] = now + hold_ms
                jobs.append(job)
    parked = [text for name in lowest(store.parked, 100) for text in (name, str(store.parked[name]))]
    return ["OK", push, look, totals, jobs, parked, str(ready) if ready is not None and ready <= now else "", passing]


def follow(store: Store, now: int, state: str, *listed: Any) -> Reply:
    ready = ready_at(store)
    is_ready = ready is not None and ready <= now
    new = 0
    for name, job, total, inserted, tasks in zip(*[iter(listed)] * 5, strict=True):
        fields = touch(store, now, name)
        if fields.pop("unk", None) is not None:
            fields.pop("nb", None)
            if fields.get("pk") == "unknown":
                del fields["pk"]
                fields.pop("pkd", None)
                store.parked.pop(name, None)
            for members in (store.owing, store.watched):
                if name in members:
                    members[name] = now
        if "end" in fields:
            store.watched.setdefault(name, now)
            continue
        fields["st"], fields["total"], fields["tasks"] = state, total, tasks
        if job:
            fields["job"] = job
        if fields.get("et", "") == "":
            fields["ins"] = inserted
        else:
            inserted = fields.get("ins", inserted)  # noqa: PLW2901 -- as the script does
        aside = fields.get("aside")
        if aside is not None and is_ready:
            if aside == 0:
                del fields["aside"]
                aside = None
                if inserted > 0:
                    fields.setdefault("unv", inserted)
            else:
                store.owing.setdefault(name, now)
        if isinstance(total, int) and 0 < total <= inserted and fields.get("owed", 0) == 0 and "dl" not in fields and aside is None:
            store.watched[name] = now
        if name not in store.followed:
            store.followed[name] = now
            new += 1
    return ["OK", str(new)]
