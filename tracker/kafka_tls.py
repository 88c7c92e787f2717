"""
TLS to Kafka as a client, from the original's settings: PEM text or files are read, checked, and made into one context.

Every mistake is a ValueError that names the setting and what was expected, and never repeats a value.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_PEM = "-----BEGIN"
_MOST_SHOWN = 200
"""Characters of a path that an error repeats."""

_LARGEST_FILE = 1 << 20
"""Bytes of a file that is read as PEM: all authorities that Debian trusts take a fifth of it."""


def is_pem(text: str) -> bool:
    """Whether a setting holds PEM text itself; else it is the path of a file with it."""
    return text.startswith(_PEM)


def pem_text(text: str) -> str:
    r"""Give the text with real line ends: in an environment they may be written as `\n`."""
    return text.replace("\\n", "\n")


def pem_or_path(text: str) -> str:
    """Read PEM text, or the path of a readable file that holds some; the value itself is kept as it is."""
    try:
        content = pem_text(text) if is_pem(text) else _read(text)
    except (OSError, ValueError):
        content = ""
    if _PEM not in content or not content.isascii():
        raise ValueError(f"PEM text (from {_PEM} on, line ends may be \\n), or the path of a readable file with it")
    return text


def wrong_authorities(path: str | None) -> list[str]:
    """Python takes whom it trusts from SSL_CERT_FILE, and would trust nobody, in silence, if that cannot be read: a line that says so."""
    if path:
        try:
            ssl.create_default_context(cafile=path)
        except OSError:
            return [f"SSL_CERT_FILE={path[:_MOST_SHOWN]!r}: expected a readable file with certificates in PEM form"]
    return []


def key_lines(text: str) -> tuple[str, ...]:
    """The key as it is written, and each of its lines, as a part of it is secret, too; of a path, nothing."""
    lines = (line.strip() for line in pem_text(text).splitlines())
    return (text, *(line for line in lines if line and not line.startswith("-----"))) if is_pem(text) else ()


def _read(path: str) -> str:
    with Path(path).open(encoding="utf-8") as file:
        return file.read(_LARGEST_FILE)


@dataclass(frozen=True, slots=True)
class KafkaTls:
    """How to be a client of Kafka, with `on` by TLS. The values are those of the settings; `ca_certs` None: whom this machine trusts."""

    on: bool
    ca_certs: str | None
    client_cert: str | None
    client_key: str | None
    skip_verify: bool

    def problems(self) -> list[str]:
        """What is wrong with the settings together, one line each."""
        given = {"CLIENT_CERT": self.client_cert, "CLIENT_KEY": self.client_key, "CA_CERTS": self.ca_certs}
        if not self.on:
            return [f"KAFKA_SEC_{name}: expected KAFKA_SEC_PROTO=TLS beside it: without TLS it has no use" for name in given if given[name]]
        if (self.client_cert is None) != (self.client_key is None):
            return ["KAFKA_SEC_CLIENT_CERT and KAFKA_SEC_CLIENT_KEY: expected both or neither"]
        try:
            self.context()
        except ValueError as error:
            return [str(error)]
        return []

    def context(self) -> ssl.SSLContext | None:
        """
        What makes a connection a TLS one; None: without.

        Reads everything now, so that a client made later has renewed files. Raises ValueError for what cannot be used.
        """
        if not self.on:
            return None
        context = ssl.create_default_context()
        if self.ca_certs:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                context.load_verify_locations(cadata=pem_text(self.ca_certs) if is_pem(self.ca_certs) else _read(self.ca_certs))
            except (ssl.SSLError, OSError, ValueError) as error:
                raise ValueError(f"KAFKA_SEC_CA_CERTS: expected certificates in PEM form ({_reason(error)})") from None
        if self.skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_cert and self.client_key:
            self._identify(context, self.client_cert, self.client_key)
        return context

    @staticmethod
    def _identify(context: ssl.SSLContext, cert: str, key: str) -> None:
        def no_pass_phrase() -> str:
            raise ValueError("the key is encrypted")  # OpenSSL would ask for the pass phrase on the terminal

        try:
            with ExitStack() as files:
                cert_file, key_file = (files.enter_context(_in_memory(text)) if is_pem(text) else text for text in (cert, key))
                context.load_cert_chain(cert_file, key_file, no_pass_phrase)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise ValueError(
                "KAFKA_SEC_CLIENT_KEY: expected the unencrypted private key in PEM form of the certificate "
                f"in KAFKA_SEC_CLIENT_CERT ({_reason(error)})"
            ) from None


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """A path for text that OpenSSL takes from files alone; no key is written to a disk."""
    number = os.memfd_create("pem")
    try:
        with os.fdopen(os.dup(number), "w") as file:
            file.write(pem_text(text))
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)


def _reason(error: Exception) -> str:
    """What OpenSSL or the system says, in words; never what was in a file."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM").lower().replace("_", " ")
    return (error.strerror or "unreadable") if isinstance(error, OSError) else str(error)[:100]
