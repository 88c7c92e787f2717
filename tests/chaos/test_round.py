"""A short round of the campaign: every cheap fault once, several at a time, on a whole system under load."""

import random
from pathlib import Path

import pytest

from sandbox.kafka import Kafka
from sandbox.stack import Generation
from tests.chaos.campaign import Options, system_up
from tests.chaos.rounds import KINDS, Round

CHEAP = sorted(name for name, kind in KINDS.items() if not kind.slow and kind.disrupts == "none" and name != "celery_purge")


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("generation, seed", [("today", 75), ("2017", 147)])
def test_every_cheap_fault_in_one_round(kafka: Kafka, tmp_path: Path, generation: Generation, seed: int):
    """
    Which fault comes when, and to what, is the seed's; these two have no long waits. Kafka is other tests', too, so it is left alone.
    """
    options = Options(seed=seed, rate=250, active=15, folder=tmp_path)
    with system_up(options, generation, 0, kafka=kafka, push_workers=1, beats=1) as (world, system):
        this = Round(world, system, seed=seed, number=0, settle_timeout_s=90, note=print)
        this.open()
        numbers = random.Random(seed)
        faults = [KINDS[name](world, numbers) for name in numbers.sample(CHEAP, len(CHEAP))]
        this.storm_of(faults, gap_s=0.15)
        this.close()
    assert sum(this.outcome.faults.values()) + sum(this.outcome.not_done.values()) == len(faults)
    assert sum(this.outcome.faults.values()) >= len(faults) - 3, f"could not be done: {this.outcome.not_done}"
    assert this.book.records > 0
