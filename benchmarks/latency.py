"""From the produce call of an import's last record to its job's `completed`."""

import time
from typing import Any

from kafka import KafkaProducer

from benchmarks.rig import Rig
from benchmarks.throughput import FAR, INSTANCES, warm
from benchmarks.writer import EACH
from sandbox import publishers

RECORDS = 5
RATE = 10_000

FIRST = 10**6
"""The imports' instances are numbered from here on."""


def imports(rig: Rig, first: int, number: int, pause_s: float) -> list[float]:
    """Run so many imports one after another; returns the seconds of each."""
    took = []
    names = rig.seed(first, number, total=RECORDS * EACH)
    producer = KafkaProducer(bootstrap_servers=rig.stack.kafka.address, acks="all", linger_ms=0)
    for name in names:
        publishers.publish_file(producer, rig.stack.file_topic, name, f"job-{name}", "s3://sandbox/observations.csv")
        publishers.publish_inserted(producer, rig.stack.inserted_topic, name, (RECORDS - 1) * EACH, EACH)
        producer.flush()
        time.sleep(pause_s)
        last = time.time()
        publishers.publish_inserted(producer, rig.stack.inserted_topic, name, EACH, EACH)
        producer.flush()
        rig.expected[name] = RECORDS * EACH
        took.append(float(rig.ask("completed", {"job": f"job-{name}"})["at"]) - last)
    producer.close()
    return took


def idle(runs: int, scale: float) -> list[dict[str, Any]]:
    """Measure on a system that does nothing else."""
    number = max(5, int(100 * scale))
    with Rig() as rig:
        imports(rig, FIRST - number, number // 5, 0.1)  # to warm up
        found = [{"seconds": imports(rig, FIRST + run * number, number, 0.1)} for run in range(runs)]
        rig.check()
    return found


def steady(runs: int, scale: float) -> list[dict[str, Any]]:
    """Measure while 10,000 records a second of 1,000 other instances flow."""
    seconds = max(8, int(25 * scale))
    found = []
    with Rig() as rig:
        rig.seed(0, INSTANCES, total=FAR)
        warm(rig, INSTANCES)
        imports(rig, FIRST - 100, 10, 0.1)
        for run in range(runs):
            calls, cpu, began = rig.calls(), rig.cpu_s(), time.monotonic()
            writer = rig.write(RATE * seconds, INSTANCES, rate=RATE)
            time.sleep(2)
            took: list[float] = []
            while time.monotonic() - began < seconds - 2:
                took += imports(rig, FIRST + 1000 * run + len(took), 1, 1.0)
            published = rig.note(writer.communicate()[0])
            rig.wait_counted()
            spent = {name: value - cpu[name] for name, value in rig.cpu_s().items()}
            rate = published["records"] / published["took_s"]
            found.append({"seconds": took, "records": published["records"], "rate": rate, "cpu_s": spent, "calls": rig.calls() - calls})
    return found
