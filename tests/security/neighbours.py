"""Neighbours that ask who is there: Kafka, Redis and the two APIs on TLS only, with the rules of `docs/acl` and no others."""

import argparse
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from sandbox.kafka import Kafka
from sandbox.ports import free_port
from sandbox.stack import ROOT, Certificate
from sandbox.valkey import Valkey

RULES = ROOT / "docs" / "acl"
KINDS = ("bridge", "apply", "push", "beat", "web", "flower", "command")
"""The processes with rules of their own."""

READABLE = {"bridge", "push"}
"""Those that log for reading: both forms are looked through for secrets."""

OWNER = "password-of-the-sandbox"
"""Of the Redis user that starts and watches the server: not one of the tracker's."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate, its key, and both in one file, as Kafka and uvicorn want them."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """Makes certificates; `file` vouches for them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._ca = trustme.CA()
        self.file = folder / "authority.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def identity(self, name: str, *hosts: str) -> Identity:
        """The identity of that common name, for these hosts, the same one each time."""
        found = Identity(*(self.folder / f"{name}{end}" for end in (".crt", ".key", ".pem")))
        if found.both.exists():
            return found
        made = self._ca.issue_cert(*(hosts or (f"{name}.test",)), common_name=name)
        key = serialization.load_pem_private_key(made.private_key_pem.bytes(), None)
        # Kafka reads PKCS 8 alone.
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        found.certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        found.key.write_bytes(key.private_bytes(*form))
        found.both.write_bytes(found.key.read_bytes() + found.certificate.read_bytes())
        return found


def secured_kafka(data: Path, authority: Authority, server: Identity) -> Kafka:
    """A broker that lets nobody do anything by TLS, except by rules; its listener for the sandbox may do everything."""
    return Kafka(
        data,
        tls={
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(server.both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(authority.file),
            "ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([a-z-]+).*$/$1/",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": "User:ANONYMOUS",
        },
    )


def allow(kafka: Kafka, rules: Iterable[str]) -> None:
    """Add rules, each written as options of Kafka's own tool `kafka-acls.sh --add`."""
    parser = argparse.ArgumentParser()
    for name in ("--allow-principal", "--topic", "--group"):
        parser.add_argument(name)
    parser.add_argument("--operation", action="append")
    acls = []
    for rule in rules:
        given = parser.parse_args(shlex.split(rule))
        resource = ResourcePattern(ResourceType.TOPIC if given.topic else ResourceType.GROUP, given.topic or given.group)
        acls += [
            ACL(given.allow_principal, "*", ACLOperation[operation.upper()], ACLPermissionType.ALLOW, resource)
            for operation in given.operation
        ]
    admin = KafkaAdminClient(bootstrap_servers=kafka.address)
    try:
        answer = admin.create_acls(acls)
        assert not answer.get("failed"), answer
    finally:
        admin.close()


def secured_redis(data: Path, binary: Path, authority: Authority, server: Identity, rules: str) -> Valkey:
    """A Redis that speaks TLS alone and knows the users of these rules, and its owner."""
    data.mkdir(parents=True, exist_ok=True)
    users = data / "users.acl"
    users.write_text(f"{rules.strip()}\nuser owner on >{OWNER} ~* &* +@all\n")
    port = free_port()
    options = {
        "port": "0",
        "tls-port": str(port),
        "tls-cert-file": str(server.certificate),
        "tls-key-file": str(server.key),
        "tls-ca-cert-file": str(authority.file),
        "tls-auth-clients": "no",
        "aclfile": str(users),
    }
    return Valkey(data, port, binary=binary, options=options, url=redis_url("owner", OWNER, port, authority))


def redis_url(user: str, password: str, port: int, authority: Authority) -> str:
    """How to reach it as one user."""
    return f"rediss://{user}:{password}@127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"


def environments(authority: Authority, kafka: Kafka, redis: Valkey) -> Mapping[str, Mapping[str, str]]:
    """What each kind of process is told of the neighbours: its own account, and TLS everywhere."""
    bridge = authority.identity("tracker-bridge")
    of_kafka = {
        "KAFKA_ADDR": kafka.tls_address,
        "KAFKA_SEC_PROTO": "TLS",
        "KAFKA_SEC_CA_CERTS": str(authority.file),
        "KAFKA_SEC_CLIENT_CERT": str(bridge.certificate),
        # As text, its line ends written as in an environment file: this way it is a secret of the environment.
        "KAFKA_SEC_CLIENT_KEY": bridge.key.read_text().replace("\n", "\\n"),
    }
    return {
        kind: {
            "REDIS_URL": redis_url(f"tracker-{kind}", f"password-of-{kind}", redis.port, authority),
            "SSL_CERT_FILE": str(authority.file),
        }
        | (of_kafka if kind == "bridge" else {})
        | {"HUMAN_LOG": str(kind in READABLE).lower()}
        for kind in KINDS
    }


def certificate(authority: Authority, server: Identity) -> Certificate:
    """What the stand-ins of the APIs answer by HTTPS with."""
    return Certificate(server.both, authority.file)
