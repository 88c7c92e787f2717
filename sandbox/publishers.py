"""
What the tracker's neighbours publish to Kafka.

The Import API says that an input file is available, the observation importer that observations have been inserted.

A value is a bare Avro datum (no container header, no schema id), the key is null, and there are no headers.

    python -m sandbox.publishers --kafka localhost:9092 inserted i-1 1510 [--batch-size 1000]
    python -m sandbox.publishers --kafka localhost:9092 file i-1 [--job j-1] [--url s3://bucket/file.csv]
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import click
from fastavro import parse_schema, schemaless_writer

INPUT_FILE_AVAILABLE = "input-file-available"
OBSERVATIONS_INSERTED = "import-observations-inserted"

FLUSH_TIMEOUT_S = 30.0
"""How long the command line waits for the brokers to take what was published."""


def _schema(name: str, **fields: str) -> Any:  # noqa: ANN401 - fastavro's parsed schemas are any shape
    return parse_schema({"type": "record", "name": name, "fields": [{"name": field, "type": kind} for field, kind in fields.items()]})


_FILE_V1 = _schema(INPUT_FILE_AVAILABLE, file_url="string", instance_id="string")
_FILE_V2 = _schema(INPUT_FILE_AVAILABLE, file_url="string", instance_id="string", job_id="string")
_INSERTED = _schema(OBSERVATIONS_INSERTED, instance_id="string", observations_inserted="int")


class Producer(Protocol):
    """The part of kafka-python's KafkaProducer that publishing needs."""

    def send(self, topic: str, value: bytes) -> object:
        """Queue one record with a null key."""
        ...


def encode_file(instance_id: str, job_id: str | None, url: str) -> bytes:
    """An `input-file-available` datum: with a job id in the schema since 2018, with None in the one before."""
    record = {"file_url": url, "instance_id": instance_id}
    return _encode(_FILE_V1, record) if job_id is None else _encode(_FILE_V2, record | {"job_id": job_id})


def encode_inserted(instance_id: str, count: int) -> bytes:
    """An `import-observations-inserted` datum. `count` is signed and of 32 bits; ValueError beyond."""
    if not -(2**31) <= count < 2**31:
        raise ValueError(f"count {count}: expected 32 bits")
    return _encode(_INSERTED, {"instance_id": instance_id, "observations_inserted": count})


def in_batches(total: int, batch_size: int = 1000) -> Iterator[int]:
    """Cut a total as the importer does: full batches, then the remainder. Nothing for 0."""
    for _ in range(total // batch_size):
        yield batch_size
    if total % batch_size:
        yield total % batch_size


def publish_file(producer: Producer, topic: str, instance_id: str, job_id: str | None, url: str) -> int:
    """Publish that the instance's file is available. Returns the number of records, 1; flushing is the caller's."""
    producer.send(topic, encode_file(instance_id, job_id, url))
    return 1


def publish_inserted(producer: Producer, topic: str, instance_id: str, total: int, batch_size: int = 1000) -> int:
    """Publish that `total` observations were inserted, in batches. Returns the number of records; flushing is the caller's."""
    records = 0
    for count in in_batches(total, batch_size):
        producer.send(topic, encode_inserted(instance_id, count))
        records += 1
    return records


def _encode(schema: Any, record: dict[str, Any]) -> bytes:  # noqa: ANN401 - as `_schema`
    datum = io.BytesIO()
    schemaless_writer(datum, schema, record)
    return datum.getvalue()


@click.group()
@click.option("--kafka", default="localhost:9092", show_default=True, help="Brokers, separated by commas.")
@click.pass_context
def main(context: click.Context, kafka: str) -> None:
    """Publish to Kafka what the tracker's neighbours would."""
    context.obj = kafka


@main.command()
@click.argument("instance_id")
@click.argument("total", type=click.IntRange(min=0))
@click.option("--batch-size", type=click.IntRange(min=1, max=2**31 - 1), default=1000, show_default=True)
@click.option("--topic", default=OBSERVATIONS_INSERTED, show_default=True)
@click.pass_obj
def inserted(kafka: str, instance_id: str, total: int, batch_size: int, topic: str) -> None:
    """Say that TOTAL observations of INSTANCE_ID have been inserted."""
    with _connected(kafka) as producer:
        records = publish_inserted(producer, topic, instance_id, total, batch_size)
    click.echo(f"{records} records published")


@main.command()
@click.argument("instance_id")
@click.option("--job", "job_id", help="Job id; without it the record is in the schema used before 2018.")
@click.option("--url", default="s3://sandbox/observations.csv", show_default=True)
@click.option("--topic", default=INPUT_FILE_AVAILABLE, show_default=True)
@click.pass_obj
def file(kafka: str, instance_id: str, job_id: str | None, url: str, topic: str) -> None:
    """Say that a file for INSTANCE_ID is available."""
    with _connected(kafka) as producer:
        records = publish_file(producer, topic, instance_id, job_id, url)
    click.echo(f"{records} records published")


@contextmanager
def _connected(kafka: str) -> Iterator[Producer]:
    """Lend a producer, and flush it. Raises ClickException when no broker answers or they do not take the records in time."""
    from kafka import KafkaProducer, errors  # noqa: PLC0415 - who only encodes needs no client

    try:
        producer = KafkaProducer(bootstrap_servers=kafka.split(","), acks="all", bootstrap_timeout_ms=10_000)
    except errors.KafkaError as error:
        raise click.ClickException(f"no broker answers at {kafka}: {error}") from error
    try:
        yield producer
        producer.flush(timeout=FLUSH_TIMEOUT_S)
    except errors.KafkaError as error:
        raise click.ClickException(f"not published: {error}") from error
    finally:
        producer.close()


if __name__ == "__main__":
    main()
