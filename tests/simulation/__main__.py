"""
Run schedules, each from its seed: `python -m tests.simulation [--seeds 1000] [--first 0] [--jobs 2]`.

Prints every seed that ends wrong with what is wrong, and a sum of what happened; exits with 1 if any did. One seed again:
`python -m tests.simulation --first SEED --seeds 1`.
"""

import argparse
import logging
import multiprocessing
import os
import sys
from collections import Counter

import structlog

from tests.simulation.world import World


def one(seed: int) -> tuple[int, list[str], Counter[str]]:
    """One run."""
    outcome = World(seed).run()
    return seed, outcome.wrong, outcome.happened


def quiet() -> None:
    """A million schedules need no log."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def main() -> int:
    """Run them on all cores."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    options = parser.parse_args()
    wrong, happened = 0, Counter[str]()
    with multiprocessing.Pool(options.jobs, initializer=quiet) as pool:
        for seed, faults, counts in pool.imap_unordered(one, range(options.first, options.first + options.seeds), chunksize=4):
            happened.update(counts)
            if faults:
                wrong += 1
                print(f"seed {seed}: {'; '.join(faults)}", flush=True)  # noqa: T201
    print(f"{options.seeds} schedules, {wrong} wrong; {', '.join(f'{n:,} {what}' for what, n in sorted(happened.items()))}")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
