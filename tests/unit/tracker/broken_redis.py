"""A Redis that refuses to be connected to."""

import fakeredis
import redis


def away() -> "redis.Redis":
    """A client whose server is away."""
    server = fakeredis.FakeServer()
    server.connected = False
    client: redis.Redis = fakeredis.FakeRedis(server=server, decode_responses=True)
    return client
