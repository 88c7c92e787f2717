"""Records a second after an outage, beside the bare loop and the stand-in for the original; and with many instances followed."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from benchmarks.rig import Rig, WrongCount
from benchmarks.writer import instance_name
from sandbox.ports import free_port
from sandbox.stack import ROOT

INSTANCES = 1000
FAR = 10**12
"""A total that is never reached: the figure is about counting, not about completing."""

DELAY_S = 0.005


def backlog(rig: Rig, records: int, instances: int, *, delay_s: float = 0.0, references: bool = True) -> dict[str, Any]:
    """
    One run: the bridge is stopped, records are published, the bridge is started and works them off.

    Counted from the moment it has its partitions until the API has every count.
    """
    run: dict[str, Any] = {"records": records, "instances": instances, "delay_s": delay_s}
    rig.ask("delay", {"seconds": 0})
    with rig.outage("bridge"):
        starts = rig.ends()
        rig.publish(records, instances)
        if references:
            run["bare"] = rig.read_bare(starts, records)
            run["original"] = [original(rig, starts, 10_000, 0.0), original(rig, starts, 600, DELAY_S)]
        rig.ask("delay", {"seconds": delay_s})
        cpu, calls, since = rig.cpu_s(), rig.calls(), time.time()
        cpu["bridge"] = 0.0
    counted = rig.wait_counted()
    assigned = rig.assigned_at(since)
    run |= {"seconds": counted - assigned, "seconds_with_start": counted - since, "calls": rig.calls() - calls}
    run["cpu_us"] = {name: 1e6 * (spent - cpu[name]) / records for name, spent in rig.cpu_s().items()}
    return run


def original(rig: Rig, starts: list[int], records: int, delay_s: float) -> dict[str, Any]:
    """Run the stand-in for the original over the first of these records, against an API of its own."""
    with _apis(delay_s) as (address, client):
        seeds = [[instance_name(number), "", None] for number in range(INSTANCES)]
        client.post("/bench/seed", content=json.dumps({"instances": seeds}))
        argv = [sys.executable, "-m", "benchmarks.original", rig.stack.kafka.address, rig.stack.inserted_topic, address]
        done = subprocess.run([*argv, *map(str, starts), str(records)], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        stats = client.get("/bench/stats").json()
    if stats["calls"] != records:
        raise WrongCount(f"the stand-in for the original made {stats['calls']} calls for {records} records")
    return {**json.loads(done.stdout), "delay_s": delay_s}


@contextmanager
def _apis(delay_s: float) -> Iterator[tuple[str, httpx.Client]]:
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", "benchmarks.lean_apis", str(port)], cwd=ROOT, stdout=subprocess.PIPE) as apis:
        try:
            assert apis.stdout is not None
            apis.stdout.readline()
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                client.post("/bench/delay", content=json.dumps({"seconds": delay_s}))
                yield f"127.0.0.1:{port}", client
        finally:
            apis.kill()


def warm(rig: Rig, instances: int) -> None:
    """Have every instance known, counted once, and every process warm."""
    rig.publish(20 * instances, instances)
    rig.wait_counted()


def throughput(runs: int, scale: float) -> list[dict[str, Any]]:
    """Measure a million records over 1,000 instances, without and with 5 ms added to every API call."""
    records = int(1_000_000 * scale)
    with Rig() as rig:
        rig.seed(0, INSTANCES, total=FAR)
        warm(rig, INSTANCES)
        found = [backlog(rig, records, INSTANCES, delay_s=0.0) for _ in range(runs)]
        return found + [backlog(rig, records, INSTANCES, delay_s=DELAY_S, references=False) for _ in range(runs)]


def followed(runs: int, scale: float) -> list[dict[str, Any]]:
    """Measure records over 100 instances while 100 are followed, then while 100,000 are; and what one of these takes in Redis."""
    # So many that the second or two which the last counts wait for the periodic check do not decide.
    records, many = int(2_000_000 * scale), int(100_000 * scale)
    found = []
    with Rig() as rig:
        rig.seed(0, 100, total=FAR)
        warm(rig, 100)
        memory = rig.redis().info("memory")["used_memory"]
        found += [backlog(rig, records, 100, references=False) | {"followed": 100} for _ in range(runs)]
        before = rig.redis().info("memory")["used_memory"]
        rig.seed(100, many - 100, total=FAR)
        rig.wait_followed(many)
        taken = (rig.redis().info("memory")["used_memory"] - before) / (many - 100)
        found += [backlog(rig, records, 100, references=False) | {"followed": many} for _ in range(runs)]
        for run in found:
            run |= {"bytes_per_instance": taken, "memory_before": memory}
    return found
