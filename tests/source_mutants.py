"""
What the rules in Lua, in clients and in settings are worth: each is switched off in a copy of the source, where the tests must then fail.

`make mutants` runs this beside the schedules' mutants (tests/simulation/mutants.py), which change Python in one process
and reach neither scripts nor what a process is started with. Prints a line for each; exits with 1 when one is missed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS_FAILED = 1


@dataclass(frozen=True)
class Change:
    """In this file `old`, which stands there once, becomes `new`; then some of these tests must fail."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]


LEDGER, TURNS, LETTERS = "tests/contract/test_ledger.py", "tests/contract/test_ledger_turns.py", "tests/contract/test_letters.py"
API_CLIENT, API_WIRE = "tests/unit/tracker/test_api_client.py", "tests/contract/test_api_wire.py"
SCRIPTS = "tracker/scripts"

MUTANTS: dict[str, Change] = {
    "no fencing token": Change(f"{SCRIPTS}/prelude.lua", "v[2] ~= token or ", "", (TURNS,)),
    "no lease": Change(f"{SCRIPTS}/prelude.lua", " or (tonumber(v[3]) or 0) <= NOW then return nil end", " then return nil end", (TURNS,)),
    "a turn outlives its ledger": Change(f"{SCRIPTS}/prelude.lua", "if v[1] ~= NUMBER or v[2]", "if v[2]", (LEDGER, TURNS, LETTERS)),
    "a record counts each time": Change(f"{SCRIPTS}/apply.lua", "if offset < p.next then return true end", "", (LEDGER,)),
    "a batch seen in part counts whole": Change(
        f"{SCRIPTS}/apply.lua", "if r[1] < stop and r[2] > start then fresh = false end", "", (LEDGER,)
    ),
    "no horizon": Change(f"{SCRIPTS}/apply.lua", "local horizon = p.horizon or 0", "local horizon = 0", (LEDGER,)),
    "batches of another ledger count": Change(f"{SCRIPTS}/apply.lua", "if ID ~= ARGV[1] then", "if false then", (LEDGER,)),
    "an epoch begins twice": Change(
        f"{SCRIPTS}/start_partition.lua", "if redis.call('EXISTS', part) == 1 then", "if false then", (LEDGER,)
    ),
    "a restart of Redis passes unseen": Change(f"{SCRIPTS}/prelude.lua", "if LEDGER[5] ~= run then", "if false then", (LEDGER,)),
    "the version stands still": Change(f"{SCRIPTS}/prelude.lua", "'version', 1)", "'version', 0)", (LEDGER,)),
    "pushes before the horizons are passed": Change(
        f"{SCRIPTS}/prelude.lua", "if tonumber(LEDGER[8]) > 0 or LEDGER[10]", "if LEDGER[10]", (LEDGER,)
    ),
    "a copy takes a fresh count": Change(
        f"{SCRIPTS}/copy_intent.lua",
        "redis.call('HSET', k, 'sent', int(NOW))",
        "redis.call('HSET', k, 'sent', int(NOW), 'dl', redis.call('HGET', k, 'owed'))",
        (TURNS,),
    ),
    "an intent that was applied stays owed": Change(f"{SCRIPTS}/close_intent.lua", "owed, owed - delta)", "owed, owed)", (TURNS,)),
    "a dead letter counts each time": Change(f"{SCRIPTS}/replay_letter.lua", "redis.call('XDEL', P .. 'dead', letter)", "", (LETTERS,)),
    "a replay is not marked": Change(f"{SCRIPTS}/replay_letter.lua", "if name then\n  mark(", "if false then\n  mark(", (LETTERS,)),
    "a count by hand counts each time": Change(
        f"{SCRIPTS}/add_by_hand.lua", "if redis.call('EXISTS', P .. 'k:' .. ARGV[3]) == 1 then return", "if false then return", (TURNS,)
    ),
    "the Redis client tries again": Change("tracker/ledger_scripts.py", "Retry(NoBackoff(), 0)", "Retry(NoBackoff(), 3)", (TURNS,)),
    "no If-Match": Change(
        "tracker/api_client.py", "        if etag:\n", "        if False:\n", (API_CLIENT, "tests/contract/test_api_clients.py")
    ),
    "no age check before the first byte": Change(
        "tracker/api_client.py", "latest=allowed_at + self._timeout_s", "latest=None", (API_CLIENT, API_WIRE)
    ),
    "a 500 has done nothing": Change(
        "tracker/api_client.py",
        "        if answer.status == HTTPStatus.BAD_REQUEST or published:",
        "        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.BAD_REQUEST or published:",
        (API_CLIENT,),
    ),
    "a 409 has done nothing": Change(
        "tracker/api_client.py",
        "            raise TurnedAway(message, answer.status)\n        raise OutcomeUnknown",
        "            raise TurnedAway(message, answer.status)\n        raise (TurnedAway if answer.status == 409 else OutcomeUnknown)",
        (API_CLIENT,),
    ),
    "completed whatever is owed": Change(
        "tracker/instance.py", "if owes or not all_in", "if not all_in", ("tests/unit/tracker/test_completing.py",)
    ),
    "the commit decides": Change(
        "bridge/consumer.py", "            self._consumer.seek(partition, 0)\n", "", ("tests/contract/test_consumer.py",)
    ),
    "Kafka's client commits by itself": Change(
        "bridge/consumer.py", '"enable_auto_commit": False', '"enable_auto_commit": True', ("tests/contract/test_consumer.py",)
    ),
    "a task ends with its worker": Change(
        "tracker/celery.py",
        "task_acks_late=True,\n    task_reject_on_worker_lost=True",
        "task_acks_late=False,\n    task_reject_on_worker_lost=False",
        ("tests/celery",),
    ),
}


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the files under version control, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                target = Path(folder) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        yield Path(folder)


def run(tree: Path, tests: tuple[str, ...]) -> int:
    """Run these tests on that copy, up to the first that fails; returns pytest's exit code."""
    command = [sys.executable, "-m", "pytest", "--exitfirst", "--quiet", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]
    done = subprocess.run(command, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, check=False, capture_output=True, text=True)
    (tree / "output.txt").write_text(done.stdout + done.stderr)
    return done.returncode


def first_failure(tree: Path) -> str:
    """The name of the test that failed first."""
    lines = (tree / "output.txt").read_text().splitlines()
    return next((line.split(" - ")[0].partition("::")[2] for line in lines if line.startswith(("FAILED ", "ERROR "))), "?")


def mutated(text: str, change: Change) -> str:
    """The text of the file with the rule switched off. Raises LookupError where the words stand there not once."""
    if text.count(change.old) != 1:
        raise LookupError(f"{change.file}: {change.old!r} stands there {text.count(change.old)} times: the mutant needs to follow the code")
    return text.replace(change.old, change.new)


def caught(name: str) -> tuple[bool, str]:
    """Whether tests fail with the rule switched off, and which first; or what else became of the run."""
    change = MUTANTS[name]
    with copied() as tree:
        file = tree / change.file
        file.write_text(mutated(file.read_text(), change))
        code = run(tree, change.tests)
        return code == TESTS_FAILED, first_failure(tree) if code == TESTS_FAILED else f"exit code {code} of pytest"


def main() -> int:
    """Run the tests as they are, which must pass, and then with each rule switched off."""
    parser = argparse.ArgumentParser(prog="python -m tests.source_mutants")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of them only: {', '.join(MUTANTS)}")
    names = parser.parse_args().names or list(MUTANTS)
    if unknown := set(names) - MUTANTS.keys():
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(MUTANTS)}")
    files = tuple(dict.fromkeys(test for name in names for test in MUTANTS[name].tests))
    with copied() as tree:
        if run(tree, files) != 0:
            print(f"the tests fail as they are, {first_failure(tree)} first: nothing can be told from them", file=sys.stderr)  # noqa: T201
            return 1
    survived = 0
    for name in names:
        dead, why = caught(name)
        survived += not dead
        print(f"{name:40} {'caught by' if dead else 'SURVIVED:'} {why}", flush=True)  # noqa: T201
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
