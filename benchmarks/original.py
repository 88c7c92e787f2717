"""
A stand-in for the original: one PUT per record over one kept-alive connection, offsets committed after each poll.

    python -m benchmarks.original KAFKA TOPIC API START… (one offset per partition) RECORDS

Prints one JSON line: records and the seconds from the moment it has its partitions. It leaves out everything that the original
does besides, so it is no slower than a program of its kind has to be.
"""

import http.client
import io
import json
import sys
import time
from typing import Any

from fastavro import schemaless_reader
from kafka import KafkaConsumer, TopicPartition

from benchmarks.reader import SCHEMA


def main(address: str, topic: str, api: str, starts: list[int], records: int) -> None:
    """Count so many records from these offsets on."""
    consumer = KafkaConsumer(
        topic, bootstrap_servers=address, group_id=f"original-{time.time_ns()}", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    connection = http.client.HTTPConnection(api)
    while not consumer.assignment():
        consumer.poll(100)
    for number, start in enumerate(starts):
        consumer.seek(TopicPartition(topic, number), start)
    began, seen = time.perf_counter(), 0
    while seen < records:
        for polled in consumer.poll(500, max_records=min(500, records - seen)).values():
            for record in polled:
                event: Any = schemaless_reader(io.BytesIO(record.value), SCHEMA, None)
                connection.request("PUT", f"/instances/{event['instance_id']}/inserted_observations/{event['observations_inserted']}")
                with connection.getresponse() as answer:
                    answer.read()
                    if answer.status != http.client.OK:
                        raise RuntimeError(f"{event['instance_id']}: {answer.status}")
            seen += len(polled)
        consumer.commit()
    took = time.perf_counter() - began
    consumer.close()
    print(json.dumps({"records": seen, "seconds": took}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], [int(text) for text in sys.argv[4:-1]], int(sys.argv[-1]))
