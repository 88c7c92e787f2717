"""A day without push workers does not fill Redis: what is owed stands in the ledger, not in messages."""

from functools import partial
from pathlib import Path

import redis

from sandbox.kafka import Kafka
from sandbox.stack import Stack

BACKLOG = 200
"""Messages beyond which the tracker adds none; a check or a batch that is under way may still add its own."""


def test_without_push_workers_messages_are_bounded_and_everything_is_counted_when_they_come(kafka: Kafka, tmp_path: Path) -> None:
    env = {"CHECK_COMPLETE_INTERVAL": "100ms", "SYNC_INTERVAL": "1s"}
    with Stack(kafka=kafka, folder=tmp_path, held_back=("push",), processes=("bridge", "apply", "push", "beat"), env=env) as stack:
        ids = [f"i-{n}" for n in range(40)]
        stack.import_api.add_job("j-1", ids)
        for instance_id in ids:
            stack.dataset_api.add_instance(instance_id, "j-1", total=500)
        client = redis.Redis.from_url(stack.valkey.url)
        queue = f"{stack.environment['REDIS_KEY_PREFIX']}tracker.push"
        client.lpush(queue, *(["{}"] * (BACKLOG + 1)))  # as many as wait after a long time
        part = f"{stack.environment['REDIS_KEY_PREFIX']}i:i-0"

        def owes(count: int) -> bool:
            return client.hget(part, "owed") == str(count).encode()

        for number in range(5):
            for instance_id in ids:
                stack.publish_inserted(instance_id, 100, flush=False)
            stack.flush()
            stack.wait_until(partial(owes, 100 * (number + 1)), 20, "applying")
        assert client.llen(queue) == BACKLOG + 1
        assert stack.dataset_api.counts() == dict.fromkeys(ids, 0)
        client.delete(queue)
        stack.start("push")
        stack.wait_until(lambda: stack.import_api.states() == {"j-1": "completed"}, 40, "the job's end")
        assert stack.dataset_api.counts() == dict.fromkeys(ids, 500)
