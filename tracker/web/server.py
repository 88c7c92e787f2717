"""Runs the web application with uvicorn, from the settings alone, until it is told to stop."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Generator
from types import FrameType

import structlog
import uvicorn

from tracker.errors import Transient
from tracker.health import ROUND_S, Board, make_examiner
from tracker.history.reading import make_database
from tracker.overview import make_overview
from tracker.settings import Settings
from tracker.web.app import Web

log = structlog.get_logger(__name__)

HEARTBEAT_TTL_S = 4 * ROUND_S
"""How long a sign of life holds: longer than the slowest round of checks, since it is given once a round."""


SILENT_MS = 20_000
"""How long a connection may take nothing of what it was sent before the kernel ends it, where the kernel can."""


class _Server(uvicorn.Server):
    """
    A uvicorn that ends with exit code 0 when asked to; its own dies of the signal it was sent.

    `ending` is called first: open streams have to be ended, since it waits for them.
    """

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        self._ending()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop on SIGTERM and SIGINT; a second one does not wait for open connections."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def listen(settings: Settings) -> socket.socket:
    """Open the socket at `BIND_ADDR`: without a host, every interface of both IP versions. Raises Transient."""
    listener = _listen(settings)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; each connection takes it over
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_MS)
    return listener


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.bind
    try:
        if not host and socket.has_dualstack_ipv6():
            with contextlib.suppress(OSError):  # a machine without IPv6; should the port be taken, the next line says so
                return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise Transient(f"BIND_ADDR={settings.bind_addr!r}: cannot listen there: {os.strerror(error.errno or 0)}") from error


def make_web(settings: Settings) -> Web:
    """Build what the application needs from the settings."""
    overview = make_overview(settings)
    host, pid = socket.gethostname(), os.getpid()

    def beat() -> None:
        overview.ledger.beat("web", f"{host}-{pid}", {"pid": pid, "host": host, "bind_addr": settings.bind_addr}, ttl_s=HEARTBEAT_TTL_S)

    board = Board(critical_timeout_s=settings.healthcheck_critical_timeout_s)
    return Web(overview, board, make_examiner(settings, overview).examine, beat, database=make_database(settings.db_access))


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish within `GRACEFUL_SHUTDOWN_TIMEOUT`. Raises Transient where it cannot listen."""
    listener = listen(settings)
    web = make_web(settings)
    config = uvicorn.Config(
        web.app(),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, int(settings.graceful_shutdown_timeout_s)),
    )
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, logging.getLogger().level))  # our own events say it
    log.info("web_started", bind_addr=settings.bind_addr, port=listener.getsockname()[1])
    with listener:
        asyncio.run(_Server(config, web.live.close).serve(sockets=[listener]))
    log.info("web_stopped")
