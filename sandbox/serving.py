"""
Runs a stand-in on uvicorn: the command line of both, the ready line, connections that can be cut, and outages.

    listening on http://HOST:PORT        the one line on stdout, when ready; --port 0 takes a free port
"""

import argparse
import asyncio
import json
import socket
import struct
import sys
from pathlib import Path
from typing import Literal, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sandbox.control import StandIn

Generation = Literal["2017", "today"]

_LINGER_RESET = struct.pack("ii", 1, 0)


class Options(argparse.Namespace):
    """The options that both stand-ins have."""

    host: str
    port: int
    generation: Generation
    token: str | None
    seed_file: Path | None
    journal: int
    random_seed: int | None
    certificate: Path | None


def option_parser(description: str) -> argparse.ArgumentParser:
    """The command line that both stand-ins have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on; 0: a free one")
    parser.add_argument("--generation", choices=("2017", "today"), default="today", help="which generation of the API (default: today)")
    parser.add_argument("--token", help="the token that callers must send (default: not checked)")
    parser.add_argument("--seed-file", type=Path, help="JSON as GET /sandbox/state gives it, loaded at the start")
    parser.add_argument("--journal", type=int, default=20_000, help="calls kept for GET /sandbox/calls (default: 20000)")
    parser.add_argument("--random-seed", type=int, help="makes faults with a probability repeatable")
    parser.add_argument("--certificate", type=Path, help="PEM file with certificate and key: answer by HTTPS (default: HTTP)")
    return parser


class CuttableProtocol(H11Protocol):
    """HTTP/1.1 whose application can close its own connection: `scope["state"]["cut"](reset)`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the requests of this connection the means to cut it."""
        super().connection_made(transport)

        def cut(reset: bool) -> None:  # noqa: FBT001 - called by position across the ASGI scope
            _cut(transport, reset=reset)

        self.app_state = {**self.app_state, "cut": cut}


def _cut(transport: asyncio.Transport, *, reset: bool) -> None:
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        transport.abort()
    else:
        transport.close()


class Server(uvicorn.Server):
    """A uvicorn server that says when it is ready and can be away for a while."""

    def __init__(self, config: uvicorn.Config, stand_in: StandIn) -> None:
        super().__init__(config)
        self._background: set[asyncio.Task[None]] = set()
        stand_in.outage = self._start_outage

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then print the ready line."""
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        sys.stdout.write(f"listening on http{'s' if self.config.is_ssl else ''}://{self.config.host}:{port}\n")
        sys.stdout.flush()

    def _start_outage(self, seconds: float) -> None:
        task = asyncio.get_running_loop().create_task(self._be_away(seconds))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _be_away(self, seconds: float) -> None:
        await asyncio.sleep(0.01)  # lets the answer to the outage call leave
        port = self.servers[0].sockets[0].getsockname()[1]
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            transport = cast("CuttableProtocol", connection).transport
            if transport is not None:
                _cut(transport, reset=False)
        await asyncio.sleep(seconds)
        listening = await asyncio.get_running_loop().create_server(
            self._protocol, self.config.host, port, reuse_address=True, ssl=self.config.ssl
        )
        self.servers = [listening]

    def _protocol(self) -> CuttableProtocol:
        return CuttableProtocol(self.config, self.server_state, self.lifespan.state)


def serve(stand_in: StandIn, options: Options) -> None:
    """Load the seed file and serve until SIGTERM or SIGINT. Calls still held a second later are dropped."""
    if options.seed_file is not None:
        stand_in.api.load(json.loads(options.seed_file.read_text()))
    config = uvicorn.Config(
        stand_in,
        host=options.host,
        port=options.port,
        http=CuttableProtocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=60,
        ssl_certfile=options.certificate,
    )
    Server(config, stand_in).run()
