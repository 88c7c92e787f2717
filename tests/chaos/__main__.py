"""
Faults at random on the whole system, with real Kafka and Valkey, until something is wrong or the time is over.

    python -m tests.chaos run --seed 1 --rounds 4         rounds of faults; exit code 1 when one ends wrong
    python -m tests.chaos run --minutes 9 --output FILE   as many rounds as fit
    python -m tests.chaos run --scenarios original        what the original was measured with, at its rates
    python -m tests.chaos endurance --minutes 60          steady load with faults; exit code 1 when anything grows
    python -m tests.chaos report FILE…                    add up the lines of several runs
"""

import argparse
import random
import sys
from dataclasses import replace
from pathlib import Path

from tests.chaos import endurance, original
from tests.chaos.campaign import Campaign, Options
from tests.chaos.report import read, report
from tests.chaos.rounds import KINDS


def say(text: str) -> None:
    """Tell a person."""
    print(text, flush=True)  # noqa: T201


def main() -> int:
    """Run a campaign, or sum up several."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="rounds of faults")
    endure = commands.add_parser("endurance", help="steady load with faults, memory sampled")
    summing = commands.add_parser("report", help="tables in Markdown from the lines of several runs")
    summing.add_argument("files", type=Path, nargs="+")
    endure.add_argument("--minutes", type=float, default=60.0)
    endure.add_argument("--series", type=Path, help="write samples and trends to this JSON file")
    for command in (run, endure):
        command.add_argument("--seed", type=int, help="default: drawn, and told")
        command.add_argument("--first", type=int, default=0, help="the first round's number")
        command.add_argument("--rate", type=int, default=Options.rate, help="records a second")
        command.add_argument("--active", type=int, default=Options.active, help="jobs at once")
        command.add_argument("--generation", choices=("today", "2017", "both"), default="both")
        command.add_argument("--output", type=Path, help="append a JSON line per round")
    run.add_argument("--rounds", type=int, default=Options.rounds)
    run.add_argument("--minutes", type=float, help="instead of a number of rounds: begin none after so long")
    run.add_argument("--total", type=int, help="instead of a number of rounds: as many as hold so many faults")
    run.add_argument("--faults", type=int, default=Options.faults, help="in each round's storm")
    run.add_argument("--alone", type=int, default=Options.alone, help="faults one by one in each round, for their recovery times")
    run.add_argument("--gap", type=float, default=Options.gap_s, help="seconds between faults on average")
    run.add_argument("--only", default="", help="names of faults, separated by commas")
    run.add_argument("--scenarios", help="original: what the original was measured with; original:NAME,…: those whose name holds NAME")
    return _do(parser.parse_args())


def _do(given: argparse.Namespace) -> int:
    if given.command == "report":
        try:
            say(report(read(given.files)))
        except (OSError, ValueError) as error:
            say(f"report: {error}")
            return 2
        return 0
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1_000_000)
    say(f"seed {seed}")
    options = Options(seed=seed, first=given.first, rate=given.rate, active=given.active, generation=given.generation, output=given.output)
    if given.command == "endurance":
        return 0 if endurance.run(Campaign(options, say), given.minutes, given.series) else 1
    only = tuple(each for each in given.only.split(",") if each)
    if unknown := set(only) - KINDS.keys():
        say(f"--only: no faults named {', '.join(sorted(unknown))}; there are {', '.join(sorted(KINDS))}")
        return 2
    rounds = -(-given.total // (given.faults + given.alone)) if given.total else given.rounds
    options = replace(options, rounds=rounds, minutes=given.minutes, faults=given.faults, alone=given.alone, gap_s=given.gap, only=only)
    campaign = Campaign(options, say)
    if given.scenarios:
        family, _, names = given.scenarios.partition(":")
        if family != "original":
            say(f"--scenarios {given.scenarios}: expected original or original:NAME,…")
            return 2
        well = original.run(campaign, tuple(each for each in names.split(",") if each))
    else:
        well = campaign.run()
    say("\n" + report(campaign.lines))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
