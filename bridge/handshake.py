"""
Why a broker that takes connections cannot be spoken to, as far as TLS goes: kafka-python tells of a time-out alone.

Asked only after a client has failed. A broker that is away, or silent, is no trouble of this kind.
"""

import socket
import ssl
from collections.abc import Iterable

CONNECT_S = 1.0
"""How long one broker may take to connect and to shake hands."""

ALERT_S = 0.5
"""How long a broker may take, after a handshake of TLS 1.3, to say that it wants another certificate than ours."""


def trouble(servers: Iterable[str], context: ssl.SSLContext | None) -> str | None:
    """The first broker's trouble in words, None where there is none. `context` None: we speak without TLS."""
    for server in servers:
        host, _, port = server.rpartition(":")
        host = host.strip("[]")
        try:
            with socket.create_connection((host, int(port)), CONNECT_S) as connection:
                why = _speaks_tls(connection) if context is None else _refusal(connection, context, host)
        except OSError:
            continue
        if why:
            return f"{server} {why}"
    return None


def _speaks_tls(connection: socket.socket) -> str | None:
    """Whether a handshake gets anywhere with a broker that we would speak to without TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(connection):
            return "expects TLS: KAFKA_SEC_PROTO=TLS"
    except OSError:  # an SSLError, too, is one
        return None


def _refusal(connection: socket.socket, context: ssl.SSLContext, host: str) -> str | None:
    try:
        with context.wrap_socket(connection, server_hostname=host) as secured:
            secured.settimeout(ALERT_S)
            if not secured.recv(1):
                return "closes TLS connections: does it take the certificate in KAFKA_SEC_CLIENT_CERT?"
    except TimeoutError:
        return None  # it waits for us to speak: no trouble of TLS
    except ssl.SSLCertVerificationError as error:
        return f"has a certificate that is refused: {error.verify_message.rstrip('.')} (KAFKA_SEC_CA_CERTS, KAFKA_ADDR)"
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
        return "does not speak TLS, or hangs up: KAFKA_SEC_PROTO, KAFKA_ADDR"
    except ssl.SSLError as error:
        reason = (error.reason or "failed").lower().replace("_", " ")
        if "certificate" in reason:
            return f"refuses our certificate, or wants one: {reason} (KAFKA_SEC_CLIENT_CERT)"
        return f"cannot be spoken to by TLS: {reason}"
    return None
