"""
Publishes many counts at once, the same way each time, from a process of its own.

    python -m benchmarks.writer KAFKA TOPIC PARTITIONS RECORDS INSTANCES SEED FIRST RATE

Records go round the partitions, RATE of them a second (0: as fast as it goes); the instance of each is drawn, each count
is 1000. Prints one JSON line: how many each instance got, and how long it took.
"""

import json
import random
import sys
import time
import uuid
from collections import Counter

from kafka import KafkaProducer

from sandbox.publishers import encode_inserted

EACH = 1000
"""Observations to a record: what the observation importer sends, but for the last of an instance."""


def instance_name(number: int) -> str:
    """An id like the real ones: a UUID's 36 characters."""
    return str(uuid.UUID(int=random.Random(number).getrandbits(128)))


def main(address: str, topic: str, partitions: int, records: int, instances: int, seed: int, first: int, rate: int) -> None:
    """Publish, and print by instance how many observations that were."""
    producer = KafkaProducer(bootstrap_servers=address, acks="all", linger_ms=5 if rate else 50, batch_size=1 << 16)
    chosen = random.Random(seed).choices(range(first, first + instances), k=records)
    values = {number: encode_inserted(instance_name(number), EACH) for number in range(first, first + instances)}
    began = time.perf_counter()
    for at, number in enumerate(chosen):
        if rate and at % 100 == 0:
            time.sleep(max(0.0, began + at / rate - time.perf_counter()))
        producer.send(topic, values[number], partition=at % partitions)
    producer.flush(120)
    took = time.perf_counter() - began
    producer.close()
    counts = {instance_name(number): times * EACH for number, times in Counter(chosen).items()}
    print(json.dumps({"records": records, "took_s": took, "counts": counts}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(text) for text in sys.argv[3:]))
