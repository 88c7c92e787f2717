"""What it costs to follow instances that do nothing, and whether memory grows with what waits."""

import threading
import time
from typing import Any

from benchmarks.rig import Rig
from benchmarks.throughput import FAR, INSTANCES

SAMPLED = ("bridge", "apply", "push", "valkey")


def quiet(runs: int, scale: float) -> list[dict[str, Any]]:
    """Measure minutes in which 10,000 followed instances get no record."""
    seconds, instances = 60 * min(1.0, max(scale, 0.2)), int(10_000 * scale)
    with Rig() as rig:
        rig.seed(0, instances, total=FAR)
        rig.wait_followed(instances)
        time.sleep(5)
        found = []
        for _ in range(runs):
            calls, cpu, by = rig.calls(), rig.cpu_s(), rig.ask("stats")["by"]
            time.sleep(seconds)
            spent = {name: (value - cpu[name]) * 60 / seconds for name, value in rig.cpu_s().items()}
            by = {name: count - by.get(name, 0) for name, count in rig.ask("stats")["by"].items()}
            found.append({"instances": instances, "calls": (rig.calls() - calls) * 60 / seconds, "by": by, "cpu_s": spent})
        rig.check()
        return found


def memory(_runs: int, scale: float) -> list[dict[str, Any]]:
    """Work off 5 million waiting records once, and look at every process' memory all the while."""
    records = int(5_000_000 * scale)
    samples: list[dict[str, float]] = []
    ended = threading.Event()
    with Rig() as rig:
        rig.seed(0, INSTANCES, total=FAR)
        rig.publish(20_000, INSTANCES)
        rig.wait_counted()
        client, prefix = rig.redis(), rig.stack.environment["REDIS_KEY_PREFIX"]

        def part_bytes() -> int:
            return max(int(client.memory_usage(key)) for key in client.scan_iter(f"{prefix}part:{rig.stack.inserted_topic}:*"))

        def sample() -> None:
            began = time.monotonic()
            while not ended.wait(0.5):
                done = float(rig.redis().hget(f"{prefix}counters", "records") or 0)
                samples.append({"at_s": time.monotonic() - began, "records": done} | {name: float(rig.resident(name)) for name in SAMPLED})

        before = part_bytes()
        with rig.outage("bridge"):
            rig.publish(records, INSTANCES)
        thread = threading.Thread(target=sample)
        thread.start()
        try:
            rig.wait_counted()
        finally:
            ended.set()
            thread.join()
        return [{"records": records, "samples": samples, "bytes_per_partition": [before, part_bytes()]}]
