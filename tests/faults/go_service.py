"""
A stand-in for the original: what it does with the counts topic, one record after the other, and no more.

    python -m tests.faults.go_service BROKER TOPIC GROUP API TOKEN [DIES_AFTER]

It starts at the group's commits, else at the oldest record; sends each count with a PUT of its own; then commits that record's
offset, without metadata. With DIES_AFTER it is gone after so many PUTs, before the last one is committed.
"""

import os
import signal
import sys
from io import BytesIO
from typing import Any, cast

import fastavro
import httpx
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition

FIELDS = [{"name": "instance_id", "type": "string"}, {"name": "observations_inserted", "type": "int"}]
SCHEMA: Any = fastavro.parse_schema({"type": "record", "name": "inserted", "fields": FIELDS})


def main(broker: str, topic: str, group: str, api: str, token: str, dies_after: str = "") -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # whatever was done is committed
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=1,
        session_timeout_ms=3_000,  # 10 s in the original: how long its successor waits for its partitions when it was killed
        heartbeat_interval_ms=1_000,
    )
    client = httpx.Client(base_url=api, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    for number, record in enumerate(consumer, start=1):
        fields = cast("dict[str, Any]", fastavro.schemaless_reader(BytesIO(record.value), SCHEMA, None))
        path = f"/instances/{fields['instance_id']}/inserted_observations/{fields['observations_inserted']}"
        client.put(path, headers={"If-Match": "*"}).raise_for_status()
        if dies_after and number == int(dies_after):
            os._exit(9)
        consumer.commit({TopicPartition(record.topic, record.partition): OffsetAndMetadata(record.offset + 1, "", -1)})


if __name__ == "__main__":
    main(*sys.argv[1:])
