"""The bridge: Kafka records into Celery tasks, committing only what the ledger says is applied."""
