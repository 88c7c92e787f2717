"""
Measure the tracker against its goals, and write what was found down.

    python -m benchmarks [FIGURE …] [--runs 5] [--scale 1.0]     measure (default: every figure), then write the report
    python -m benchmarks --report                                write the report from what was measured before

Each figure's result is kept as soon as it is there, so that a run can be taken up again with the figures that are left.
`--scale` below 1 makes everything smaller, to try it out; such results go to another file and into no report.
Exit code 1 when a count at the API is not what was published.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks import latency, report, resting, throughput
from benchmarks.machine import machine
from benchmarks.rig import WrongCount
from sandbox.stack import ROOT

FIGURES = {
    "throughput": throughput.throughput,
    "followed": throughput.followed,
    "idle": latency.idle,
    "steady": latency.steady,
    "quiet": resting.quiet,
    "memory": resting.memory,
}

RESULTS = ROOT / "docs" / "performance" / "results.json"


def measure(names: list[str], runs: int, scale: float, results: Path) -> None:
    """Measure these figures, each kept as soon as it is there."""
    for name in names:
        began = time.monotonic()
        print(f"{name} …", flush=True)
        found = FIGURES[name](runs, scale)
        kept = json.loads(results.read_text()) if results.exists() else {"figures": {}, "machines": {}}
        kept["machines"][name] = machine()
        kept["figures"][name] = found
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(kept, indent=1) + "\n")
        print(f"{name}: {time.monotonic() - began:.0f} s\n{report.summary(name, found)}", flush=True)


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the tracker against its goals.")
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"what to measure: {', '.join(FIGURES)} (default: all)")
    parser.add_argument("--runs", type=int, default=5, help="how often each is measured (default: 5); medians are reported")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: everything smaller, to try it out; goes into no report")
    parser.add_argument("--report", action="store_true", help="only write the report from what was measured before")
    parser.add_argument("--output", type=Path, help="where results are kept (default: docs/performance/results.json)")
    chosen = parser.parse_args()
    if unknown := set(chosen.figures) - FIGURES.keys():
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(FIGURES)}")
    if chosen.runs < 1 or not 0 < chosen.scale <= 1:
        parser.error("expected --runs of at least 1, and --scale above 0, up to 1")
    results = chosen.output or (RESULTS if chosen.scale == 1 else ROOT / ".run" / "benchmarks.json")
    try:
        if not chosen.report:
            measure(chosen.figures or list(FIGURES), chosen.runs, chosen.scale, results)
    except WrongCount as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if results == RESULTS:
        report.write(json.loads(results.read_text()), ROOT / "docs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
