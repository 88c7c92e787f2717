"""
The scenarios that the original Go service was measured with, at its rates, on this tracker: 40 instances in 20 jobs.

What is killed there is its one process; here it is all of the tracker's processes at once, started again at once.
"""

import dataclasses
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sandbox.stack import Generation, Stack
from tests.chaos.book import LARGEST_COUNT, Instance, Job
from tests.chaos.campaign import Campaign, Options, about, line_of, system_up
from tests.chaos.faults import World
from tests.chaos.rounds import Round, Wrong
from tests.chaos.traffic import TrafficFailed
from tests.system import System

JOBS, INSTANCES = 20, 40
RATES: dict[Generation, int] = {"2017": 300, "today": 60}
"""Records a second, by the generation that was measured with them."""


@dataclass(frozen=True)
class Scenario:
    """One row. `does` is done every `every_s`, or once in the middle where that is None; `original` is what was seen there."""

    name: str
    generation: Generation
    seconds: int
    does: Callable[[Stack], None] | None
    every_s: float | None
    original: str


def _each(stack: Stack, do: Callable[[str], object]) -> None:
    with ThreadPoolExecutor(len(stack.names())) as pool:
        list(pool.map(do, stack.names()))


def kill_all(stack: Stack) -> None:
    """SIGKILL to every process of the tracker, and started again."""
    _each(stack, stack.kill)
    _each(stack, stack.start)


def stop_all(stack: Stack) -> None:
    """SIGTERM to every process of the tracker, and started again when all have ended."""
    _each(stack, stack.stop)
    _each(stack, stack.start)


def dataset_api_away(stack: Stack) -> None:
    """For 5 s."""
    stack.dataset_api.be_away(5)
    time.sleep(5)


def lie_now_and_then(stack: Stack) -> None:
    """500 after applying, for 1 % of the calls, until the end."""
    stack.dataset_api.fault("answer", when="after", status=500, body="internal error\n", probability=0.01)


SCENARIOS = (
    Scenario("2017: no fault", "2017", 60, None, None, "0 wrong"),
    Scenario(
        "2017: SIGKILL every 5 s", "2017", 60, kill_all, 5, "40 wrong, 0 / 5,968 of 18,000; without a commit 16,510 / 0, none completed"
    ),
    Scenario("2017: SIGKILL every 45 s", "2017", 150, kill_all, 45, "40 wrong, 0 / 44,988; 7 completed too early"),
    Scenario("2017: SIGTERM every 5 s", "2017", 60, stop_all, 5, "9 wrong, 0 / 1,488"),
    Scenario("2017: Dataset API away for 5 s", "2017", 60, dataset_api_away, None, "2 wrong, 2 / 0; 8 never completed"),
    Scenario("2017: 500 after applying, 1 % of calls", "2017", 60, lie_now_and_then, 0, "40 wrong, 0 / 165; 1 completed too early"),
    Scenario("today: no fault", "today", 60, None, None, "–"),
    Scenario("today: SIGKILL every 5 s", "today", 60, kill_all, 5, "19 wrong, 0 / 1,026 (SIGKILL or SIGTERM)"),
    Scenario("today: SIGTERM every 5 s", "today", 60, stop_all, 5, "19 wrong, 0 / 1,026 (SIGKILL or SIGTERM)"),
    Scenario("today: SIGKILL every 20 s", "today", 60, kill_all, 20, "2 wrong, 0 / 2"),
    Scenario("today: Dataset API away for 5 s", "today", 60, dataset_api_away, None, "2 wrong, 2 / 0; 17 never completed"),
    Scenario("today: 500 after applying, 1 % of calls", "today", 60, lie_now_and_then, 0, "23 wrong, 0 / 36"),
)


def run(campaign: Campaign, names: tuple[str, ...] = ()) -> bool:
    """All scenarios, or those whose name holds one of `names`, each on a system of its own. Returns whether all ended right."""
    chosen = [each for each in SCENARIOS if not names or any(name in each.name for name in names)]
    ended = [_one(campaign, number, scenario) for number, scenario in enumerate(chosen)]
    return all(ended)


def _one(campaign: Campaign, number: int, scenario: Scenario) -> bool:
    options = dataclasses.replace(campaign.options, rate=RATES[scenario.generation], active=JOBS)
    with system_up(options, scenario.generation, number, bridges=1, push_workers=1, beats=1) as (world, system):
        line = play(world, system, options, scenario)
        campaign.write(line)
        world.keep = bool(line["wrong"])
    return not line["wrong"]


def play(world: World, system: System, options: Options, scenario: Scenario) -> dict[str, Any]:
    """Publish at the rate, do the fault all the while, then see that everything comes right. Returns the round's line."""
    begun = time.monotonic()
    this = Round(world, system, seed=options.seed, number=0, settle_timeout_s=options.settle_timeout_s, note=lambda _: None)
    hits = world.stack.dataset_api.stats()["faults_hit"]
    times = 0
    try:
        this.open(_jobs(random.Random(options.seed), options.rate * scenario.seconds // INSTANCES))
        last = time.monotonic()
        while world.traffic.busy():
            this.look()
            now = time.monotonic() - begun
            due = scenario.every_s is not None and time.monotonic() - last >= scenario.every_s and (scenario.every_s or not times)
            if scenario.does and (due or (scenario.every_s is None and not times and now >= scenario.seconds / 2)):
                last, times = time.monotonic(), times + 1
                thread = threading.Thread(target=scenario.does, args=(world.stack,))
                thread.start()
                thread.join()
            time.sleep(0.05)
        this.close()
    except Wrong as wrong:
        this.outcome.wrong = this.outcome.wrong or str(wrong).splitlines()
    except TrafficFailed as error:
        this.outcome.wrong = [f"the load, not the tracker: {error}"]
    if scenario.does is not None and scenario.does is not lie_now_and_then:
        this.outcome.faults[scenario.name.partition(": ")[2]] = times
    this.outcome.hits["calls"] = world.stack.dataset_api.stats()["faults_hit"] - hits
    world.stack.dataset_api.end_faults()
    return (
        line_of(this, options.seed, 0, time.monotonic() - begun)
        | _compared(this)
        | about()
        | {"scenario": scenario.name, "original": scenario.original}
    )


def _jobs(random_numbers: random.Random, records: int) -> list[Job]:
    jobs = [Job(f"o-{number + 1}", []) for number in range(JOBS)]
    for number in range(INSTANCES):
        job = jobs[number % JOBS]
        plan = [random_numbers.randint(1, LARGEST_COUNT) for _ in range(records)]
        job.instances.append(Instance(f"{job.id}-{number // JOBS + 1}", job.id, plan, told_early=True, fails=False))
    return jobs


def _compared(this: Round) -> dict[str, Any]:
    """The figures that the original was measured by. Records lost or doubled are told only as far as their instances name them."""
    counts, states = this.stack.dataset_api.counts(), this.stack.dataset_api.states()
    wrong = [each for each in this.book.instances.values() if counts.get(each.id, 0) != each.expected]
    said = [this.book.explain(each, counts.get(each.id, 0)) for each in wrong]
    return {
        "instances_wrong": [each.id for each in wrong],
        "records_lost": sum("lost" in text for text in said),
        "records_doubled": sum("doubled" in text for text in said),
        "never_completed": sum(states.get(each) != "completed" for each in this.book.instances),
    }
