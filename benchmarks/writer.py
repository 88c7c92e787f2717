"""
Publishes many counts at once, the same way each time, from a process of its own.

    python -m benchmarks.writer KAFKA TOPIC PARTITIONS RECORDS INSTANCES SEED FIRST

Records go round the partitions; the instance of each is drawn, each count is 1000. Prints how many each instance got.
"""

import json
import random
import sys
import uuid
from collections import Counter

from kafka import KafkaProducer

from sandbox.publishers import encode_inserted

EACH = 1000
"""Observations to a record: what the observation importer sends, but for the last of an instance."""


def instance_name(number: int) -> str:
    """An id like the real ones: a UUID's 36 characters."""
    return str(uuid.UUID(int=random.Random(number).getrandbits(128)))


def main(address: str, topic: str, partitions: int, records: int, instances: int, seed: int, first: int) -> None:
    """Publish, and print by instance how many observations that were."""
    producer = KafkaProducer(bootstrap_servers=address, acks="all", linger_ms=50, batch_size=1 << 16)
    chosen = random.Random(seed).choices(range(first, first + instances), k=records)
    values = {number: encode_inserted(instance_name(number), EACH) for number in range(first, first + instances)}
    for at, number in enumerate(chosen):
        producer.send(topic, values[number], partition=at % partitions)
    producer.flush(120)
    producer.close()
    print(json.dumps({instance_name(number): times * EACH for number, times in Counter(chosen).items()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(text) for text in sys.argv[3:]))
