"""`python -m tests.fuzz --minutes 5`: throw random input at every target in turn until the time is over, or something breaks."""

import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

import click

from sandbox.valkey import Valkey
from tests.fuzz.targets import TARGETS, Messages, Target

ROUND = 50
"""Inputs that a target gets before the next one has its turn."""


@click.command()
@click.option("--minutes", default=5.0, show_default=True, help="How long to go on.")
@click.option("--first", default=0, show_default=True, help="The first seed; each input is made from its number alone.")
@click.option("--target", type=click.Choice([*TARGETS, "messages"]), help="Only this one.")
def main(minutes: float, first: int, target: str | None) -> None:
    """Fuzz what foreign input can reach. Exit code 1, with the seed, when something is not as it must be."""
    ends = time.monotonic() + minutes * 60
    tried: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="import-tracker-fuzz-") as folder, Valkey(Path(folder)) as valkey:
        messages = Messages(valkey.url)
        targets: dict[str, Target] = {**TARGETS, "messages": messages}
        chosen = {target: targets[target]} if target else targets
        seed = first
        while time.monotonic() < ends:
            for name, run in chosen.items():
                for number in range(seed, seed + ROUND):
                    try:
                        run(Random(number))
                    except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
                        traceback.print_exc()
                        click.echo(f"\n{name} broke; again with: python -m tests.fuzz --target {name} --first {number}")
                        sys.exit(1)
                    tried[name] += 1
            seed += ROUND
        messages.close()
    click.echo(", ".join(f"{name} {count:,}" for name, count in tried.items()) + " inputs; nothing broke")


if __name__ == "__main__":
    main()
