"""From Kafka to Celery: polls, decodes, publishes batches as tasks, and commits what the ledger says is applied."""
