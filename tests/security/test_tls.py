"""TLS to Kafka, Redis and the APIs: what does not verify is refused in words, before a byte of ours has left."""

import asyncio
import os
import re
import subprocess
import sys

import httpx
import pytest

from bridge.consumer import Cluster, Tls
from sandbox.kafka import Kafka
from sandbox.stack import ROOT
from tests.security.conftest import SECRETS
from tests.security.neighbours import Authority, redis_url
from tests.system import System
from tracker.api_client import ApiClient, clock
from tracker.errors import LedgerUnavailable, NotSent, Transient
from tracker.kafka_tls import KafkaTls
from tracker.ledger import Ledger
from tracker.ledger_scripts import connect


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody here trusts."""
    return Authority(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="session")
def kafka(secured: System) -> Kafka:
    return secured.stack.kafka


def as_client(trusted: Authority, own: Authority | None, *, skip_verify: bool = False) -> Tls:
    identity = own.identity("tracker-bridge") if own else None
    return KafkaTls(
        on=True,
        ca_certs=str(trusted.file),
        client_cert=str(identity.certificate) if identity else None,
        client_key=str(identity.key) if identity else None,
        skip_verify=skip_verify,
    ).context


def refusal(server: str, tls: Tls) -> str:
    cluster = Cluster([server], tls)
    try:
        with pytest.raises(Transient) as refused:
            cluster.topics(["import-observations-inserted"])
    finally:
        cluster.close()
    return str(refused.value)


# -- Kafka --------------------------------------------------------------------------------------------------------


def test_kafka_with_a_certificate_of_an_unknown_authority_is_refused(kafka: Kafka, authority: Authority, strangers: Authority) -> None:
    said = refusal(kafka.tls_address, as_client(strangers, authority))
    assert said.startswith(f"Kafka: {kafka.tls_address} has a certificate that is refused: ")
    assert re.search("self-signed certificate|unable to get local issuer", said)


def test_kafka_under_another_name_than_its_certificates_is_refused(kafka: Kafka, authority: Authority) -> None:
    said = refusal(kafka.tls_address.replace("127.0.0.1", "localhost"), as_client(authority, authority))
    assert "has a certificate that is refused: Hostname mismatch" in said
    assert "'localhost'" in said


@pytest.mark.parametrize("own", [None, "strangers"])
def test_a_kafka_that_wants_another_certificate_of_ours_is_named(
    kafka: Kafka, authority: Authority, strangers: Authority, own: str | None
) -> None:
    said = refusal(kafka.tls_address, as_client(authority, strangers if own else None))
    assert said.startswith(f"Kafka: {kafka.tls_address} ")
    assert "KAFKA_SEC_CLIENT_CERT" in said


def test_a_kafka_without_tls_is_refused(kafka: Kafka, authority: Authority) -> None:
    assert "does not speak TLS" in refusal(kafka.address, as_client(authority, authority))


def test_a_kafka_that_expects_tls_is_named_where_we_speak_without(kafka: Kafka) -> None:
    assert refusal(kafka.tls_address, lambda: None) == f"Kafka: {kafka.tls_address} expects TLS: KAFKA_SEC_PROTO=TLS"


def test_files_that_have_gone_bad_are_said_and_read_again(kafka: Kafka) -> None:
    def gone() -> None:
        raise ValueError("KAFKA_SEC_CA_CERTS: expected certificates in PEM form (No such file or directory)")

    assert refusal(kafka.tls_address, gone).startswith("Kafka: KAFKA_SEC_CA_CERTS: expected")


def test_an_unverified_kafka_can_be_asked_for(kafka: Kafka, authority: Authority, strangers: Authority) -> None:
    cluster = Cluster([kafka.tls_address], as_client(strangers, authority, skip_verify=True))
    assert cluster.topics(["import-observations-inserted"])
    cluster.close()


def test_a_bridge_that_is_refused_says_so_in_log_and_health_and_tries_on(secured: System, strangers: Authority) -> None:
    stack = secured.stack
    env = {**stack.environment, **stack._env_of["bridge"], "PYTHONPATH": str(ROOT), "KAFKA_SEC_CA_CERTS": str(strangers.file)}
    log = stack.folder / "refused.log"
    with log.open("w") as output:
        bridge = subprocess.Popen([sys.executable, "-m", "bridge"], env=env | {"HUMAN_LOG": "0"}, stdout=output, stderr=output)
    said = f"Kafka: {stack.kafka.tls_address} has a certificate that is refused: "

    def bridge_check() -> str:
        checks = httpx.get(f"{stack.web_url}/health", trust_env=False).json()["checks"]
        return next(str(check["message"]) for check in checks if check["name"] == "Bridge")

    try:
        stack.wait_until(lambda: said in bridge_check(), 20, "the reason in health")
        assert bridge.poll() is None
    finally:
        bridge.kill()
        bridge.wait(20)
    (line,) = [line for line in log.read_text().splitlines() if "neighbour_away" in line]
    assert said in line
    assert "Traceback" not in log.read_text()


# -- Redis: the ledger's client and Celery's --------------------------------------------------------------------------


@pytest.fixture
def wrong_redis_urls(secured: System, authority: Authority, strangers: Authority) -> dict[str, str]:
    """URL by what must be said of it."""
    right = redis_url("tracker-command", "password-of-command", secured.stack.valkey.port, authority)
    return {
        "certificate verify failed: (self-signed certificate|unable to get local issuer)": right.replace(
            str(authority.file), str(strangers.file)
        ),
        "Hostname mismatch": right.replace("127.0.0.1", "localhost"),
        "CERTIFICATE_VERIFY_FAILED": right.partition("?")[0],
        "onnection closed|onnection reset": right.replace("rediss", "redis").partition("?")[0],
        "invalid username-password pair": right.replace("password-of-command", "another-password"),
    }


def test_redis_is_refused_in_words(wrong_redis_urls: dict[str, str]) -> None:
    for expected, url in wrong_redis_urls.items():
        client = connect(url)
        with pytest.raises(LedgerUnavailable, match=expected) as refused:
            Ledger(client, "import-tracker:").sync_state()
        assert "password" not in str(refused.value).replace("username-password", "")
        client.close()


def connected(**environment: str) -> subprocess.CompletedProcess[str]:
    """Connect as Celery does before it sends: by the app's settings alone."""
    command = "from tracker.celery import app; app.connection_for_write().channel().client.ping(); print('connected')"
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | environment
    return subprocess.run([sys.executable, "-c", command], env=env, capture_output=True, text=True, timeout=60, check=False)


def test_celery_verifies_redis_also_where_the_url_says_nothing_of_it(wrong_redis_urls: dict[str, str], authority: Authority) -> None:
    """By itself, kombu takes a rediss:// server unverified."""
    bare = next(url for url in wrong_redis_urls.values() if url.startswith("rediss") and "?" not in url)
    refused = connected(REDIS_URL=bare)
    assert refused.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
    assert "password-of-command" not in refused.stderr
    assert connected(REDIS_URL=bare, SSL_CERT_FILE=str(authority.file)).stdout == "connected\n"


# -- the APIs -------------------------------------------------------------------------------------------------------------


def put(url: str) -> str:
    async def run() -> str:
        api = ApiClient(url, token=None, service_token=SECRETS["SERVICE_AUTH_TOKEN"], timeout_s=5, max_calls=1)
        try:
            await api.put("/instances/none", {"state": "completed"}, allowed_at=clock())
        except NotSent as error:
            return f"not sent: {error}"
        except Exception as error:  # noqa: BLE001 -- whatever else it is, it was sent
            return f"sent: {error}"
        finally:
            await api.aclose()
        return "sent"

    return asyncio.run(run())


def test_an_api_that_does_not_verify_is_sent_nothing(
    secured: System, authority: Authority, strangers: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = secured.stack.dataset_api.url
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert put(url).startswith("sent: PUT /instances/none: 404 instance not found")
    assert "not sent" in put(url.replace("127.0.0.1", "localhost"))
    assert "Hostname mismatch" in put(url.replace("127.0.0.1", "localhost"))
    assert put(url.replace("https", "http")).startswith("sent: "), "that a server wants TLS shows only after the first byte"
    monkeypatch.setenv("SSL_CERT_FILE", str(strangers.file))
    said = put(url)
    assert said.startswith("not sent: PUT /instances/none: ")
    assert re.search("certificate verify failed: (self-signed certificate|unable to get local issuer)", said)
