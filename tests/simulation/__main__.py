"""
Run schedules, each from its seed: `python -m tests.simulation [--seeds 1000] [--first 0] [--jobs 2] [--on model|scripts] [--verbose]`.

Prints every seed that ends wrong with what is wrong and the command that replays it, and a sum of what happened; exits
with 1 if any did. `--verbose` tells one seed's story line by line, on virtual time.
"""

# ruff: noqa: T201 -- a program for people

import argparse
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from functools import partial

import structlog

from tests.simulation.world import World

FEW = 2000
"""Up to so many schedules run on the scripts unless told otherwise, more on their model, which is some 40 times as quick."""


def one(seed: int, *, scripts: bool) -> tuple[int, list[str], Counter[str]]:
    """One run."""
    outcome = World(seed, scripts=scripts).run()
    return seed, outcome.wrong, outcome.happened


def quiet(*, for_good: bool = True) -> None:
    """A million schedules need no log; not `for_good` where other tests of the process read theirs later."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=for_good)


def tell(first: int, seeds: int, *, scripts: bool) -> int:
    """Run seeds one by one and tell what happens in them."""
    renderer = structlog.processors.KeyValueRenderer(key_order=["event"])
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        processors=[renderer],
        logger_factory=structlog.PrintLoggerFactory(),
    )
    wrong = 0
    for seed in range(first, first + seeds):
        outcome = World(seed, scripts=scripts, tell=print).run()
        print("\n".join(["", *outcome.wrong]) if outcome.wrong else "all is right")
        wrong += bool(outcome.wrong)
    return 1 if wrong else 0


def main() -> int:
    """Run them on all cores."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=10_000, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--on", choices=["model", "scripts"], help=f"the ledger's scripts or their model (default: model above {FEW})")
    parser.add_argument("--verbose", action="store_true", help="tell what happens")
    options = parser.parse_args()
    on = options.on or ("model" if options.seeds > FEW or options.seeds == 1 else "scripts")
    if options.verbose:
        return tell(options.first, options.seeds, scripts=on == "scripts")
    wrong, happened, started = 0, Counter[str](), time.monotonic()
    seeds = range(options.first, options.first + options.seeds)
    with multiprocessing.Pool(options.jobs, initializer=quiet) as pool:
        for seed, faults, counts in pool.imap_unordered(partial(one, scripts=on == "scripts"), seeds, chunksize=16):
            happened.update(counts)
            if faults:
                wrong += 1
                print(f"seed {seed}: {'; '.join(faults[:3])}\n    make simulate FIRST={seed} SEEDS=1 ON={on} VERBOSE=1", flush=True)
    rate = options.seeds / (time.monotonic() - started)
    print(", ".join(f"{what}: {n:,}" for what, n in sorted(happened.items())))
    print(f"{options.seeds:,} schedules on the {on}, {wrong} wrong; {rate:.0f} a second")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
