"""What the settings say of TLS: PEM as text or file, checked at the start with one line for each mistake, and no key in any of them."""

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tracker.errors import BadInput
from tracker.settings import Settings, describe, load, secrets, to_event


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, and of two clients: one.pem and one.key, other.pem and other.key."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name in ("one", "other"):
        made = authority.issue_cert(f"{name}.test")
        made.private_key_pem.write_to_path(folder / f"{name}.key")
        made.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
    (folder / "nothing.pem").write_text("nothing\n")
    key = serialization.load_pem_private_key((folder / "one.key").read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"open sesame")
    )
    (folder / "locked.key").write_bytes(locked)
    return folder


def environment(folder: Path, **changes: str | None) -> dict[str, str]:
    given: dict[str, str | None] = {"PROTO": "TLS", "CA_CERTS": str(folder / "ca.pem")}
    given |= {"CLIENT_CERT": str(folder / "one.pem"), "CLIENT_KEY": str(folder / "one.key")}
    given |= changes
    return {f"KAFKA_SEC_{name}": value for name, value in given.items() if value is not None}


def refusal(environ: dict[str, str]) -> list[str]:
    with pytest.raises(BadInput) as refused:
        load(environ)
    return str(refused.value).splitlines()


def test_without_the_protocol_there_is_no_tls() -> None:
    assert Settings().kafka_tls.context() is None


def test_files_and_texts_with_real_or_written_line_ends_all_serve(folder: Path) -> None:
    names = {"CA_CERTS": "ca.pem", "CLIENT_CERT": "one.pem", "CLIENT_KEY": "one.key"}
    texts = {name: (folder / file).read_text() for name, file in names.items()}
    for changes in ({}, texts, {name: text.replace("\n", "\\n") for name, text in texts.items()}):
        context = load(environment(folder, **changes)).kafka_tls.context()
        assert context is not None
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert len(context.get_ca_certs()) == 1, "nobody is trusted beside the one named"


def test_the_servers_certificate_is_left_unverified_only_where_that_is_asked_for(folder: Path) -> None:
    context = load(environment(folder, SKIP_VERIFY="true")).kafka_tls.context()
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_without_authorities_those_of_this_machine_are_trusted(folder: Path) -> None:
    context = load(environment(folder, CA_CERTS=None)).kafka_tls.context()
    assert context is not None
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_renewed_files_are_read_by_the_next_client(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes((folder / "ca.pem").read_bytes())
    tls = load(environment(folder, CA_CERTS=str(tmp_path / "ca.pem"))).kafka_tls
    (tmp_path / "ca.pem").unlink()
    with pytest.raises(ValueError, match=r"^KAFKA_SEC_CA_CERTS: expected certificates in PEM form \(No such file or directory\)$"):
        tls.context()


@pytest.mark.parametrize(
    "changes, begins",
    [
        ({"PROTO": "SSL"}, "KAFKA_SEC_PROTO='SSL': expected TLS, or nothing"),
        ({"PROTO": None}, "KAFKA_SEC_CLIENT_CERT: expected KAFKA_SEC_PROTO=TLS beside it"),
        ({"CLIENT_KEY": None}, "KAFKA_SEC_CLIENT_CERT and KAFKA_SEC_CLIENT_KEY: expected both or neither"),
        ({"CLIENT_CERT": None}, "KAFKA_SEC_CLIENT_CERT and KAFKA_SEC_CLIENT_KEY: expected both or neither"),
        ({"CA_CERTS": "{folder}/nothing.pem"}, "KAFKA_SEC_CA_CERTS='{folder}/nothing.pem': expected PEM text"),
        ({"CA_CERTS": "{folder}/one.key"}, "KAFKA_SEC_CA_CERTS: expected certificates in PEM form ("),
        ({"CA_CERTS": "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----"}, "KAFKA_SEC_CA_CERTS: expected certificates"),
        ({"CA_CERTS": "{folder}"}, "KAFKA_SEC_CA_CERTS='{folder}': expected PEM text"),
        ({"CLIENT_KEY": "{folder}/other.key"}, "KAFKA_SEC_CLIENT_KEY: expected the unencrypted private key in PEM form of the certificate"),
        ({"CLIENT_KEY": "{folder}/one.pem"}, "KAFKA_SEC_CLIENT_KEY: expected the unencrypted private key"),
        ({"CLIENT_KEY": "{folder}/locked.key"}, "KAFKA_SEC_CLIENT_KEY: expected the unencrypted private key"),
        ({"CLIENT_KEY": "MIGHAgEAMBMGByqGSM49"}, "KAFKA_SEC_CLIENT_KEY='***': expected PEM text"),
    ],
)
def test_what_cannot_be_used_is_said_at_the_start(folder: Path, changes: dict[str, str | None], begins: str) -> None:
    named = {name: value and value.replace("{folder}", str(folder)) for name, value in changes.items()}
    first, *others = refusal(environment(folder, **named))
    assert first[:150].startswith(begins.replace("{folder}", str(folder))[:100])
    assert len(others) == (2 if changes == {"PROTO": None} else 0), "each setting without use has its line"
    assert "rubbish" not in first
    assert "MIGH" not in first


def test_the_key_is_a_secret_in_each_of_its_lines_and_its_path_is_none(folder: Path) -> None:
    key = (folder / "one.key").read_text()
    by_text = load(environment(folder, CLIENT_KEY=key.replace("\n", "\\n"), CLIENT_CERT=(folder / "one.pem").read_text()))
    shown = to_event(by_text)
    assert (shown["KAFKA_SEC_CLIENT_KEY"], shown["KAFKA_SEC_CLIENT_CERT"]) == ("***", "PEM text")
    inner = key.splitlines()[1:-1]
    assert set(inner) <= set(secrets(by_text))
    assert not any(line in f"{describe(by_text)}{by_text!r}" for line in inner)
    by_path = load(environment(folder))
    assert to_event(by_path)["KAFKA_SEC_CLIENT_KEY"] == str(folder / "one.key")
    assert secrets(by_path) == []


def test_authorities_of_the_environment_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    """Python itself would trust nobody, and every call would fail for a reason that is none."""
    (line,) = refusal({"SSL_CERT_FILE": str(tmp_path / "none.pem")})
    assert line.startswith(f"SSL_CERT_FILE='{tmp_path}/none.pem': expected a readable file")


@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL"])
@pytest.mark.parametrize(
    "url, expected",
    [
        ("redis://h/0?ssl_cert_reqs=none", "rediss:// where ssl_cert_reqs is given"),
        ("rediss://h/0?ssl_cert_reqs=CERT_NONE", "ssl_cert_reqs=required or none"),
        ("rediss://h/0?ssl_check_hostname=no", "ssl_check_hostname=true or false"),
        ("rediss://h/0?ssl_min_version=2", "of the parameters that begin with ssl_ only ssl_ca_certs, ssl_certfile"),
        ("rediss://h/0?ssl_ca_certs=/nowhere.pem", "in ssl_ca_certs the path of a readable file"),
        ("rediss://h/0?ssl_certfile=/etc/hostname", "ssl_certfile and ssl_keyfile, both or neither"),
    ],
)
def test_what_a_redis_url_cannot_say_of_tls_to_both_clients_is_refused(name: str, url: str, expected: str) -> None:
    (line,) = refusal({name: url})
    assert f": expected {expected}" in line
