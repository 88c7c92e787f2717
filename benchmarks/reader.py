"""
The bare loop: kafka-python's poll and fastavro, nothing else. What any Python consumer of these records pays at least.

    python -m benchmarks.reader KAFKA TOPIC START… (one offset per partition) RECORDS

Prints one JSON line: seconds from the moment it has its partitions, and its CPU seconds from there on.
"""

import io
import json
import sys
import time
from typing import Any

from fastavro import parse_schema, schemaless_reader
from kafka import KafkaConsumer, TopicPartition

SCHEMA = parse_schema(
    {
        "type": "record",
        "name": "import_observations_inserted",
        "fields": [{"name": "instance_id", "type": "string"}, {"name": "observations_inserted", "type": "int"}],
    }
)


def main(address: str, topic: str, starts: list[int], records: int) -> None:
    """Read so many records from these offsets on."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=address,
        group_id=f"bare-{time.time_ns()}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=2000,
        fetch_max_bytes=16 << 20,
        max_partition_fetch_bytes=4 << 20,
    )
    while not consumer.assignment():
        consumer.poll(100)
    for number, start in enumerate(starts):
        consumer.seek(TopicPartition(topic, number), start)
    began, cpu = time.perf_counter(), time.process_time()
    seen = observations = 0
    while seen < records:
        for polled in consumer.poll(500).values():
            for record in polled:
                event: Any = schemaless_reader(io.BytesIO(record.value), SCHEMA, None)
                observations += event["observations_inserted"]
            seen += len(polled)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    consumer.close()
    print(json.dumps({"records": seen, "observations": observations, "seconds": took, "cpu_s": cpu}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(text) for text in sys.argv[3:-1]], int(sys.argv[-1]))
