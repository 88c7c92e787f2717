"""The environment as the tracker reads it: defaults, refusals with one line each, and what is shown."""

import re
from urllib.parse import unquote

import pytest
from pydantic import SecretStr, ValidationError

from tracker.errors import BadInput
from tracker.settings import Settings, describe, env_name, load, secrets, to_event

PASSWORD = "hunter2-hunter2"

WRONG = {
    "BIND_ADDR": "21300",
    "INPUT_FILE_AVAILABLE_TOPIC": "no topic",
    "IMPORT_OBSERVATIONS_INSERTED_TOPIC": "",
    "INPUT_FILE_AVAILABLE_CONSUMER_GROUP": "",
    "IMPORT_OBSERVATIONS_INSERTED_CONSUMER_GROUP": "a b",
    "KAFKA_ADDR": "localhost:9092,,",
    "KAFKA_OFFSET_OLDEST": "oldest",
    "KAFKA_GROUP_INSTANCE_ID": "a b",
    "KAFKA_SESSION_TIMEOUT": "10",
    "KAFKA_SEC_PROTO": "tls",
    "KAFKA_SEC_CLIENT_CERT": "/nowhere/client.pem",
    "KAFKA_SEC_CA_CERTS": "/nowhere/ca.pem",
    "KAFKA_SEC_SKIP_VERIFY": "yes",
    "IMPORT_API_ADDR": "localhost:21800",
    "DATASET_API_ADDR": "ftp://localhost",
    "IMPORT_API_TIMEOUT": "0",
    "DATASET_API_TIMEOUT": "-5s",
    "API_MAX_REQUEST_AGE": "0s",
    "DATASET_API_MAX_CALLS": "0",
    "REDIS_URL": "localhost:6379",
    "CELERY_BROKER_URL": "somewhere",
    "REDIS_KEY_PREFIX": "*",
    "CHECK_COMPLETE_INTERVAL": "2000",
    "COMPLETE_AT_ONCE": "yes",
    "SYNC_INTERVAL": "soon",
    "INITIALISE_LIST_INTERVAL": "",
    "INITIALISE_LIST_ATTEMPTS": "-1",
    "FINISHED_INSTANCE_TTL": "0",
    "PARKED_TTL": "7d",
    "STUCK_AFTER": "20",
    "HISTORY_MAX_ENTRIES": "999",
    "DEAD_LETTERS_MAX": "0",
    "BRIDGE_WINDOW_RECORDS": "many",
    "BRIDGE_POLL_RECORDS": "0",
    "REPUBLISH_AFTER": "0s",
    "HEALTH_LAG_WARNING": "1e5",
    "HEALTHCHECK_CRITICAL_TIMEOUT": "90",
    "GRACEFUL_SHUTDOWN_TIMEOUT": "-1s",
    "LOG_LEVEL": "LOUD",
    "HUMAN_LOG": "on",
}


def test_an_empty_environment_gives_the_defaults():
    assert load({}) == Settings()
    assert load({"PATH": "/bin", "bind_addr": "nonsense"}) == Settings(), "variables that are not ours are passed over"


def test_the_defaults_are_those_of_the_original_where_it_has_them():
    defaults = {row.name: row.default for row in describe(Settings())}
    assert (
        defaults.items()
        >= {
            "BIND_ADDR": ":21300",
            "INPUT_FILE_AVAILABLE_TOPIC": "input-file-available",
            "IMPORT_OBSERVATIONS_INSERTED_TOPIC": "import-observations-inserted",
            "INPUT_FILE_AVAILABLE_CONSUMER_GROUP": "dp-import-tracker",
            "KAFKA_ADDR": "localhost:9092",
            "KAFKA_OFFSET_OLDEST": "true",
            "IMPORT_API_ADDR": "http://localhost:21800",
            "DATASET_API_ADDR": "http://localhost:22000",
            "GRACEFUL_SHUTDOWN_TIMEOUT": "10s",
            "CHECK_COMPLETE_INTERVAL": "2s",
            "INITIALISE_LIST_INTERVAL": "4s",
            "INITIALISE_LIST_ATTEMPTS": "20",
            "FINISHED_INSTANCE_TTL": "168h",
            "HEALTHCHECK_CRITICAL_TIMEOUT": "90s",
            "HUMAN_LOG": "false",
        }.items()
    )


def test_every_default_is_a_value_that_the_environment_could_hold():
    given = {row.name: row.default for row in describe(Settings()) if row.default not in {"none", "REDIS_URL"}}
    assert load(given).model_dump() == Settings().model_dump()


def test_values_arrive_in_their_python_form():
    settings = load(
        {
            "BIND_ADDR": "127.0.0.1:8080",
            "KAFKA_ADDR": "a:1,b:2",
            "SYNC_INTERVAL": "1m30s",
            "GRACEFUL_SHUTDOWN_TIMEOUT": "0",
            "HUMAN_LOG": "T",
            "LOG_LEVEL": "debug",
            "DATASET_API_MAX_CALLS": "16",
            "SERVICE_AUTH_TOKEN": PASSWORD,
        }
    )
    assert settings.bind == ("127.0.0.1", 8080)
    assert settings.kafka_addr == ("a:1", "b:2")
    assert settings.sync_interval_s == 90.0
    assert settings.graceful_shutdown_timeout_s == 0.0
    assert settings.human_log is True
    assert settings.log_level == "DEBUG"
    assert settings.dataset_api_max_calls == 16
    assert settings.service_auth_token is not None
    assert settings.service_auth_token.get_secret_value() == PASSWORD


def test_an_empty_optional_variable_is_none():
    names = (
        "HUMAN_LOG",
        "IMPORT_API_AUTH_TOKEN",
        "DATASET_API_AUTH_TOKEN",
        "SERVICE_AUTH_TOKEN",
        "DB_ACCESS",
        "KAFKA_GROUP_INSTANCE_ID",
        "KAFKA_SEC_PROTO",
        "KAFKA_SEC_CLIENT_CERT",
        "KAFKA_SEC_CLIENT_KEY",
        "KAFKA_SEC_CA_CERTS",
        "CELERY_BROKER_URL",
    )
    assert load(dict.fromkeys(names, "")) == Settings()


@pytest.mark.parametrize("name", sorted(WRONG))
def test_a_wrong_value_is_refused_in_one_line_with_name_value_and_expectation(name):
    with pytest.raises(BadInput) as refusal:
        load({name: WRONG[name]})
    line = str(refusal.value)
    assert line.startswith(f"{name}={WRONG[name]!r}: expected ")
    assert "\n" not in line
    assert "pydantic" not in line.lower()
    assert "Value error" not in line


def test_every_setting_that_can_be_wrong_is_tried_above():
    cannot_be_shown = {"IMPORT_API_AUTH_TOKEN", "DATASET_API_AUTH_TOKEN", "SERVICE_AUTH_TOKEN", "DB_ACCESS", "KAFKA_SEC_CLIENT_KEY"}
    assert WRONG.keys() == {env_name(field) for field in Settings.model_fields} - cannot_be_shown


def test_all_wrong_values_are_told_at_once():
    with pytest.raises(BadInput) as refusal:
        load(WRONG)
    assert [line.split("=")[0] for line in str(refusal.value).splitlines()] == [
        row.name for row in describe(Settings()) if row.name in WRONG
    ]


def test_a_line_break_or_a_very_long_value_stays_one_short_line():
    with pytest.raises(BadInput) as refusal:
        load({"LOG_LEVEL": "IN\nFO" * 1000})
    assert len(str(refusal.value).splitlines()) == 1
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("name", ["IMPORT_API_AUTH_TOKEN", "DATASET_API_AUTH_TOKEN", "SERVICE_AUTH_TOKEN", "KAFKA_SEC_CLIENT_KEY"])
def test_a_wrong_secret_is_not_repeated(name):
    with pytest.raises(BadInput) as refusal:
        load({name: f" {PASSWORD}\n"})
    assert str(refusal.value).startswith(f"{name}='***': expected ")


@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL"])
@pytest.mark.parametrize(
    "url", ["redis://:{}@h:x/0 ", "redis://{} ", "redis://h:{} ", "redis:u:{}@h ", "{} ", "redis://h/0?password={} ", "redis://u:{}/x@h "]
)
def test_a_password_in_a_malformed_url_is_not_repeated(name, url):
    with pytest.raises(BadInput) as refusal:
        load({name: url.format(PASSWORD)})
    assert str(refusal.value).startswith(f"{name}='***': expected ")


def test_the_two_topics_must_differ():
    with pytest.raises(BadInput, match=r"^IMPORT_OBSERVATIONS_INSERTED_TOPIC='x': expected another topic than INPUT_FILE_AVAILABLE_TOPIC"):
        load({"INPUT_FILE_AVAILABLE_TOPIC": "x", "IMPORT_OBSERVATIONS_INSERTED_TOPIC": "x"})


def test_one_poll_must_fit_into_the_window():
    with pytest.raises(BadInput, match=r"^BRIDGE_POLL_RECORDS='20000': expected no more than BRIDGE_WINDOW_RECORDS \(100\)"):
        load({"BRIDGE_WINDOW_RECORDS": "100"})


def test_several_mistakes_of_relation_are_told_at_once():
    with pytest.raises(BadInput) as refusal:
        load({"BRIDGE_WINDOW_RECORDS": "100", "IMPORT_OBSERVATIONS_INSERTED_TOPIC": "input-file-available"})
    assert len(str(refusal.value).splitlines()) == 2


def test_settings_cannot_be_changed_or_misspelt():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().human_log = True  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings(human_logs=True)  # type: ignore[call-arg]


def test_python_code_may_set_seconds_and_secrets_directly():
    settings = Settings(sync_interval_s=0.05, redis_url=SecretStr("redis://h:1/2"))
    assert settings.sync_interval_s == 0.05
    assert settings.broker_url == "redis://h:1/2"


@pytest.mark.parametrize(
    "url", ["foo://x", "http://h", "sqs://", "memory://", "amqp://h:1", "redis://h:port/0", "redis+socket:///x", "redis://", "REDIS://h"]
)
def test_a_broker_that_is_no_redis_is_refused(url: str) -> None:
    """Queues, priorities and what is handed out are looked at there; with another nothing of it was ever tried."""
    with pytest.raises(BadInput, match=r"CELERY_BROKER_URL=.*: expected redis://"):
        load({"CELERY_BROKER_URL": url})


def test_the_broker_is_redis_unless_celery_is_told_another():
    assert load({"REDIS_URL": "redis://h:1/2"}).broker_url == "redis://h:1/2"
    settings = load({"REDIS_URL": "redis://h:1/2", "CELERY_BROKER_URL": f"redis://:{PASSWORD}@other:1/3"})
    assert settings.broker_url == f"redis://:{PASSWORD}@other:1/3"
    row = next(row for row in describe(settings) if row.name == "CELERY_BROKER_URL")
    assert (row.value, row.default, row.source) == ("redis://:***@other:1/3", "REDIS_URL", "environment")


def test_the_broker_in_force_is_shown_also_where_it_is_the_ledgers_redis():
    settings = load({"REDIS_URL": f"redis://:{PASSWORD}@h:1/2"})
    row = next(row for row in describe(settings) if row.name == "CELERY_BROKER_URL")
    assert (row.value, row.default, row.source) == ("redis://:***@h:1/2", "REDIS_URL", "default")


def test_every_setting_is_described_by_one_sentence_and_a_reason():
    rows = describe(Settings())
    assert [row.name for row in rows] == [env_name(field) for field in Settings.model_fields]
    for row in rows:
        assert re.fullmatch(r"[A-Z][^\n]*\.", row.sentence), row
        assert re.fullmatch(r"[A-Z][^\n]*\.", row.reason), row


def test_where_a_value_comes_from_is_told():
    sources = {row.name: row.source for row in describe(load({"LOG_LEVEL": "INFO"}))}
    assert sources.pop("LOG_LEVEL") == "environment"
    assert set(sources.values()) == {"default"}


def test_no_secret_is_shown():
    settings = load(
        {
            "IMPORT_API_AUTH_TOKEN": PASSWORD,
            "DATASET_API_AUTH_TOKEN": PASSWORD,
            "SERVICE_AUTH_TOKEN": PASSWORD,
            "DB_ACCESS": f"user=dp password={PASSWORD}",
            "REDIS_URL": f"redis://u:{PASSWORD}@h/0",
            "CELERY_BROKER_URL": f"redis://:{PASSWORD}@h/1",
        }
    )
    assert PASSWORD not in f"{describe(settings)}{to_event(settings)}{settings}{settings!r}"
    assert to_event(settings)["REDIS_URL"] == "redis://u:***@h/0"
    assert to_event(settings)["SERVICE_AUTH_TOKEN"] == "***"


@pytest.mark.parametrize(
    "access, hidden",
    [
        ("user=dp dbname=ImportJobs sslmode=disable", set()),
        ("user=dp password=s3cret", {"s3cret"}),
        (r"password = 'it\'s s3cret' user=dp", {r"it\'s s3cret", "it's s3cret"}),
        ("postgresql://dp:s3%2Fcret@host:5432/ImportJobs?sslmode=disable", {"s3%2Fcret", "s3/cret"}),
        ("postgres://host/db?user=dp&password=s3cret", {"s3cret"}),
    ],
)
def test_a_database_is_named_as_libpq_takes_it_and_its_password_is_a_secret(access, hidden):
    settings = load({"DB_ACCESS": access})
    assert set(secrets(settings)) == {access, unquote(access)} | hidden


@pytest.mark.parametrize("access", ["ImportJobs", "user=dp s3cret", "user='dp", "mysql://dp:s3cret@host/db", "user=dp,password=s3cret x"])
def test_what_is_no_database_is_refused_without_being_shown(access):
    with pytest.raises(BadInput) as refusal:
        load({"DB_ACCESS": access})
    assert str(refusal.value) == "DB_ACCESS='***': expected libpq's keywords, such as user=dp dbname=ImportJobs, or a postgresql:// URL"


def test_the_secrets_to_mask_are_tokens_and_passwords_as_written_and_decoded():
    settings = load({"SERVICE_AUTH_TOKEN": "token-1", "DB_ACCESS": "user=dp", "REDIS_URL": "redis://u:p%40ss@h/0?password=other"})
    assert set(secrets(settings)) == {"token-1", "user=dp", "p%40ss", "p@ss", "other"}
    assert secrets(Settings()) == []
