"""
What the rules are worth: each is switched off in turn, and the schedules must then end wrong. `make mutants`.

A rule is switched off by replacing a few words in the source of the production function (or of the model's script) that
keeps it, in this process alone. The words must stand there exactly once, so a mutant cannot outlive its rule. Prints
mutant, first seed that shows it, failures and schedules; exits with 1 when one is not found within its budget.
"""

import argparse
import importlib
import inspect
import multiprocessing
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.simulation.__main__ import quiet
from tests.simulation.ledger_model import SCRIPTS
from tests.simulation.world import World


@dataclass(frozen=True)
class Patch:
    """In the source of `where`, `module:name` or `module:Class.name`, `old` becomes `new`."""

    where: str
    old: str
    new: str


MUTANTS: dict[str, tuple[Patch, ...]] = {
    "commit at publish time": (
        Patch("bridge.loop:Bridge._take_in", "= (following, metadata)", "= (place.start if place else following, metadata)"),
    ),
    "no If-Match": (Patch("tracker.pushing:_send", "intent.delta, intent.etag, allowed_at", "intent.delta, None, allowed_at"),),
    "no quarantine": (Patch("tracker.pushing:Rules.quarantine_s", "return self.timeout_s + self.max_request_age_s", "return 0.0"),),
    "a fresh count under an old ETag": (
        Patch("tests.simulation.scripts_turns:copy_intent", 'fields["sent"] = now', 'fields["sent"], fields["dl"] = now, fields["owed"]'),
    ),
    "any copy's answer clears the intent": (Patch("tracker.pushing:_send", "if not first_copy:", "if False:"),),
    "409 clears the intent": (
        Patch(
            "tracker.pushing:_send",
            "except OutcomeUnknown as error:\n",
            "except OutcomeUnknown as error:\n        if error.status == 409:\n"
            "            return ledger.close_intent(turn, applied=False, etag=None)\n",
        ),
    ),
    "no age check before the first byte": (Patch("tests.simulation.apis:too_late", "now - allowed_at > timeout_s", "False"),),
    "no wait after a birth": (Patch("bridge.starting:plan_birth", "0.0 if untouched else wait_s", "0.0"),),
    "no horizon": (Patch("bridge.starting:plan_birth", "else bounds.end, bounds.end)", "else bounds.end, None)"),),
    "no seek at a birth": (
        Patch(
            "bridge.loop:Bridge._find_places",
            "self._mine[partition].seek(partition, start)",
            "start = self._mine[partition].position(partition) or start",
        ),
    ),
    "ledger ids without order": (
        Patch("bridge.starting:_behind", "Stamp(state.number, state.version) < highest[0]", "state.version < highest[0].version"),
    ),
    "no commit when only the version moved": (
        Patch("bridge.loop:Bridge._commit", "self._committed.get(p) != commit", "self._committed.get(p, (-1,))[0] != commit[0]"),
    ),
    "no verification after a reconnect": (
        Patch("tests.simulation.ledger_model:ModelLedger.run", "store.verified_run != store.run", 'store.verified_run.startswith("void")'),
        Patch("tests.simulation.scripts_bridge:positions", '"1" if store.id and store.verified_run == store.run else "0"', '"1"'),
    ),
    "position not chained": (
        Patch(
            "bridge.loop:Bridge._publish",
            "self._batches(partition, place,",
            "self._batches(partition, Place(place.epoch, records[0].offset if records else place.start),",
        ),
    ),
    "no second publishing": (Patch("bridge.loop:Bridge._publish_again", "if now >= self._again_at else []", "if False else []"),),
    "a Redis client that tries again by itself": (
        Patch(
            "tests.simulation.faults:Doorway._ask",
            'raise LedgerUnavailable("time-out, everything has happened")',
            "return getattr(self._ledger, name)(*args, **named)",
        ),
    ),
    "siblings read before the PUT": (
        Patch(
            "tracker.completing:Advancing.put_state",
            "if wait_s is not None:\n",
            "await self.jobs([turn.job_id])\n    if wait_s is not None:\n",
        ),
        Patch("tests.simulation.scripts_turns:finish", "expect(store, now, job)", "pass"),
        Patch("tracker.completing:Advancing.many", "if advanced.job_id:", "if False:"),
    ),
    "no epoch": (Patch("bridge.starting:Evidence.recreated", "return bool(topic_id and state.epoch) and", "return False and"),),
    "no fencing token": (Patch("tests.simulation.scripts_prelude:held", 'fields.get("lk") != token', "False"),),
    "no sweep": (Patch("tracker.following:find_jobs", "ledger.expect_job(job.id)", "pass"),),
    "a record counts each time": (Patch("tests.simulation.scripts_bridge:apply", "return offset < reached or", "return False and"),),
    "a published instance is sent to for ever": (Patch("tracker.pushing:_resolve", " and instance.state != PUBLISHED", ""),),
    "an end that does not tell of its last commit": (Patch("bridge.loop:Bridge.close", "left == 0 and committed", "left == 0"),),
    "completed before all is in": (Patch("tracker.instance:judge", "if owes or not all_in", "if owes"),),
}


def mutated(patch: Patch) -> tuple[Any, str, Any, Any]:
    """Owner, name, the function as it is and as it would be."""
    module_name, _, path = patch.where.partition(":")
    module = importlib.import_module(module_name)
    owner: Any = module
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    before = vars(owner)[name]
    plain: Any = before.fget if isinstance(before, property) else getattr(before, "__func__", before)
    source = textwrap.dedent(getattr(plain, "mutated_source", None) or inspect.getsource(plain))
    if source.count(patch.old) != 1:
        raise LookupError(f"{patch.where}: {patch.old!r} stands there {source.count(patch.old)} times: the mutant needs to follow the code")
    source = source.replace(patch.old, patch.new)
    made: dict[str, Any] = {}
    exec(compile(source, f"<mutant of {patch.where}>", "exec"), vars(module), made)
    after = made[name]
    changed: Any = after.fget if isinstance(after, property) else getattr(after, "__func__", after)
    changed.mutated_source = source
    return owner, name, before, after


@contextmanager
def mutant(name: str) -> Iterator[None]:
    """Switch a rule off, wherever its function has been imported to."""
    undo: list[tuple[Any, str, Any]] = []
    script_undo = dict(SCRIPTS)
    try:
        for patch in MUTANTS[name]:
            owner, attribute, before, after = mutated(patch)
            owners = [owner]
            if inspect.ismodule(owner):
                ours = [m for key, m in sys.modules.items() if key.startswith(("tracker.", "bridge.", "tests.simulation"))]
                owners = [m for m in ours if vars(m).get(attribute) is before]
            for each in owners:
                undo.append((each, attribute, before))
                setattr(each, attribute, after)
            for script, function in list(SCRIPTS.items()):
                if function is before:
                    SCRIPTS[script] = after
        yield
    finally:
        for owner, attribute, before in reversed(undo):
            setattr(owner, attribute, before)
        SCRIPTS.update(script_undo)


def hunt(name: str, *, first: int, seeds: int, enough: int) -> tuple[str, int | None, int, int, str]:
    """Run schedules under a mutant until `enough` have ended wrong: the first of them, how many, of how many, and what was wrong."""
    found, shown, why = 0, None, ""
    with mutant(name):
        for seed in range(first, first + seeds):
            wrong = World(seed).run().wrong
            if wrong:
                found += 1
                shown, why = (seed, wrong[0]) if shown is None else (shown, why)
                if found >= enough:
                    return name, shown, found, seed - first + 1, why
    return name, shown, found, seeds, why


def main() -> int:
    """Hunt all of them, on all cores."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants")
    parser.add_argument("--seeds", type=int, default=20_000, help="the budget of each")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--enough", type=int, default=5, help="how often each must show")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("names", nargs="*", help="some of them only")
    options = parser.parse_args()
    survived = 0
    with multiprocessing.Pool(options.jobs, initializer=quiet) as pool:
        search = partial(hunt, first=options.first, seeds=options.seeds, enough=options.enough)
        print(f"{'mutant':46} {'first seed':>10} {'wrong':>6} {'of':>7}  what was wrong first")  # noqa: T201
        for name, seed, found, of, why in pool.imap_unordered(search, options.names or MUTANTS):
            survived += seed is None
            print(f"{name:46} {'SURVIVED' if seed is None else seed:>10} {found:>6} {of:>7}  {why[:100]}", flush=True)  # noqa: T201
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
