"""A message is data, never code: only JSON is taken from a queue, and what is refused is said."""

import base64
import json
import pickle
import uuid

import pytest
import redis

from tests.system import System


class Harmful:
    """Would make a file, were it ever unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize("queue, worker", [("tracker.apply", "apply"), ("tracker.push", "push")])
def test_a_pickled_message_is_refused_and_said_and_the_worker_lives_on(secured: System, queue: str, worker: str) -> None:
    stack = secured.stack
    before, mark = stack.pid(worker), stack.folder / f"harm-{worker}"
    task = str(uuid.uuid4())
    message = {
        "body": base64.b64encode(pickle.dumps(((Harmful(str(mark)),), {}, {}))).decode(),
        "content-encoding": "binary",
        "content-type": "application/x-python-serialize",
        "headers": {"lang": "py", "task": "tracker.push_counts", "id": task, "retries": 0, "eta": None, "expires": None},
        "properties": {
            "correlation_id": task,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    with redis.Redis.from_url(stack.valkey.url) as owner:
        owner.lpush(f"import-tracker:{queue}", json.dumps(message))
    refusal = "Refusing to deserialize untrusted content of type pickle"
    stack.wait_until(lambda: refusal in stack.logs(worker), 15, "the refusal in the log")
    (instance,) = job = secured.new_job(f"after-pickle-{worker}")
    secured.announce(instance)
    secured.count(instance, 10)
    secured.tell_totals(instance)
    secured.wait_ended(job)
    assert not mark.exists()
    assert stack.pid(worker) == before
    (line,) = [line for line in stack.logs(worker).splitlines() if refusal in line][:1]
    assert "ERROR" in line.upper() or "CRITICAL" in line.upper()
