"""Free ports on the loopback interface."""

import socket


def free_port() -> int:
    """A port that nobody listens on now. It is not reserved: take it soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
