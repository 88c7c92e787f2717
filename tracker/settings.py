"""
The settings: read once from the environment when a process starts, checked wholly, shown with their secrets masked.

A field's environment name is its own name in capitals, less the unit: `sync_interval_s` is `SYNC_INTERVAL`. The text
below a field gives its meaning in the first paragraph and the reason for its default in the second.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError, model_validator

from tracker import setting_values as forms
from tracker.errors import BadInput
from tracker.kafka_tls import KafkaTls, is_pem, key_lines, pem_or_path, wrong_authorities

_MAX_SHOWN_CHARACTERS = 80
"""How much of a wrong value an error repeats."""


def _text(read: Callable[[str], object]) -> BeforeValidator:
    """Make a reader of text into a field's check; a secret's text is unwrapped first."""

    def check(value: object) -> object:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(text, str):
            raise ValueError("text")  # noqa: TRY004 - pydantic gathers ValueErrors, a TypeError would escape
        return read(text)

    return BeforeValidator(check)


def _bind(text: str) -> str:
    forms.bind_address(text)
    return text


_none_if_empty = BeforeValidator(lambda value: None if value == "" else value)

Topic = Annotated[str, _text(forms.topic)]
Name = Annotated[str, _text(forms.name)]
ApiUrl = Annotated[str, _text(forms.api_url)]
Token = Annotated[Annotated[SecretStr, _text(forms.token)] | None, _none_if_empty]
Pem = Annotated[Annotated[str, _text(pem_or_path)] | None, _none_if_empty]
SecretPem = Annotated[Annotated[SecretStr, _text(pem_or_path)] | None, _none_if_empty]
Switch = Annotated[bool, BeforeValidator(forms.boolean)]
Duration = Annotated[float, BeforeValidator(forms.duration)]
PositiveDuration = Annotated[float, BeforeValidator(forms.positive_duration)]


class Settings(BaseModel):
    """
    Every setting of every process, frozen. `Settings()` is the defaults, whatever the environment says.

    Durations are seconds. Raises pydantic's ValidationError, which `load` turns into a BadInput for a person.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)

    bind_addr: Annotated[str, _text(_bind)] = ":21300"
    """Where `tracker web` answers: host:port, or :port for every interface.

    The original's port, so that what watches it finds this one."""

    input_file_available_topic: Topic = "input-file-available"
    """The topic that announces which instances have a file to load.

    The name its publishers use."""

    import_observations_inserted_topic: Topic = "import-observations-inserted"
    """The topic that announces how many observations were inserted for an instance.

    The name its publisher uses."""

    input_file_available_consumer_group: Name = "dp-import-tracker"
    """The consumer group that reads the announced files.

    The original's group, so that its commits are found when this tracker takes over, and ours when it takes back."""

    import_observations_inserted_consumer_group: Name = "dp-import-tracker"
    """The consumer group that reads the inserted counts.

    The original's group, for the same reason."""

    kafka_addr: Annotated[tuple[str, ...], BeforeValidator(forms.addresses)] = ("localhost:9092",)
    """The Kafka brokers to ask first: host:port, separated by commas.

    A broker on this machine, as the original's README has it."""

    kafka_offset_oldest: Switch = True
    """Whether a group without commits starts at the oldest record, else at the newest.

    Oldest: what was announced before the first start still counts, and no record counts twice."""

    kafka_group_instance_id: Annotated[Name | None, _none_if_empty] = None
    """The static member id of this bridge, different for each bridge of a group.

    None: members then come and go freely; a fixed one spares a rebalance at each restart."""

    kafka_session_timeout_s: PositiveDuration = 10.0
    """How long Kafka waits for a silent bridge before it gives its partitions to another.

    The original's value: a killed bridge is replaced in 10 s, and a busy one is not thrown out."""

    kafka_sec_proto: Annotated[Annotated[str, _text(forms.kafka_protocol)] | None, _none_if_empty] = None
    """How Kafka is spoken to: TLS, or without it where this is not set.

    None: the original's default."""

    kafka_sec_client_cert: Pem = None
    """The certificate that we show to Kafka: PEM text, or the path of a file with it.

    None: not every Kafka asks its clients for one."""

    kafka_sec_client_key: SecretPem = None
    """The private key of KAFKA_SEC_CLIENT_CERT: PEM text, or the path of a file with it.

    None: it goes with the certificate."""

    kafka_sec_ca_certs: Pem = None
    """The authorities that Kafka's certificates are verified by: PEM text, or the path of a file with it.

    None: those that this machine trusts."""

    kafka_sec_skip_verify: Switch = False
    """Whether Kafka's certificates and host names are taken unverified.

    Off: whoever sits in between could read and change everything."""

    import_api_addr: ApiUrl = "http://localhost:21800"
    """The base URL of the Import API.

    The port it listens on by default."""

    dataset_api_addr: ApiUrl = "http://localhost:22000"
    """The base URL of the Dataset API.

    The port it listens on by default."""

    import_api_auth_token: Token = None
    """The Import API's `Internal-token` of 2017.

    None: later APIs do not look at it."""

    dataset_api_auth_token: Token = None
    """The Dataset API's `Internal-token` of 2017.

    None: later APIs do not look at it."""

    service_auth_token: Token = None
    """The bearer token that says who is calling, for today's two APIs.

    None: a default known to everybody would protect nothing."""

    import_api_timeout_s: PositiveDuration = 5.0
    """How long one whole call of the Import API may take.

    The same as for the Dataset API: the two share their fate."""

    dataset_api_timeout_s: PositiveDuration = 5.0
    """How long one whole call of the Dataset API may take.

    Above the 2.5 s that this API spends waiting for its lock before it answers 500 all the same."""

    api_max_request_age_s: PositiveDuration = 10.0
    """How long a request can live between our socket and an API's database; beyond it an unanswered one is dead.

    Twice the call's own time-out: room for a proxy that queues. Too low a value lets a late copy count twice."""

    dataset_api_max_calls: Annotated[int, BeforeValidator(forms.integer(1, 1000))] = 8
    """How many calls of the Dataset API one process may have under way at once.

    The API takes a lock for each instance, so a few in parallel help and many only queue."""

    redis_url: Annotated[SecretStr, _text(forms.redis_url)] = SecretStr("redis://localhost:6379/0")
    """The Redis server that keeps the ledger, and carries the tasks unless CELERY_BROKER_URL is set.

    A server on this machine, first database."""

    celery_broker_url: Annotated[Annotated[SecretStr, _text(forms.redis_url)] | None, _none_if_empty] = None
    """The Redis that carries the tasks, where it is not the ledger's. No other kind of broker is supported.

    None: one Redis for both is enough. Celery itself heeds this variable, so it is checked and shown here."""

    redis_key_prefix: Annotated[str, _text(forms.key_prefix)] = "import-tracker:"
    """What the names of all our keys in Redis begin with, tasks included.

    Lets several trackers, or other programs, share one server."""

    check_complete_interval_s: PositiveDuration = 2.0
    """The time between two checks for what can be completed without an event of ours, and for counts that have waited to be sent together.

    The original's tick."""

    complete_at_once: Switch = True
    """Whether completion is also checked as soon as a push has reached the total.

    On: milliseconds after the last record instead of up to one interval. Off shows that the check alone is enough."""

    sync_interval_s: PositiveDuration = 30.0
    """The time between two full listings of the submitted instances.

    They find what others did; at 0.9 kB an instance, 30 s keeps ten thousand of them below 0.3 MB/s."""

    initialise_list_interval_s: PositiveDuration = 4.0
    """The pause before the start-up listing is tried again.

    The original's value."""

    initialise_list_attempts: Annotated[int, BeforeValidator(forms.integer(1, 100_000))] = 20
    """How often the start-up listing is tried before health calls it failed; it is tried on all the same.

    The original's value: with 4 s between them, 80 s for the Dataset API to come up."""

    finished_instance_ttl_s: PositiveDuration = 7 * 24 * 3600.0
    """How long a finished instance that owes nothing is remembered.

    A week, as long as Kafka keeps records by default: nothing that can still be read meets a forgotten instance."""

    parked_ttl_s: PositiveDuration = 7 * 24 * 3600.0
    """How long a parked instance waits for a person before what it owes becomes a dead letter, which is kept and shown.

    A week, so that it outlives a holiday weekend."""

    stuck_after_s: PositiveDuration = 20 * 60.0
    """How long a submitted instance may be without a record, a push or news from the API, or looks at a job fail, before health says so.

    Longer than a restart of anything on the way or a slow extractor takes, and seen within the hour."""

    history_max_entries: Annotated[int, BeforeValidator(forms.integer(1000, 100_000_000))] = 100_000
    """How many entries of what has happened Redis keeps; older ones go.

    As entries with two UUIDs measured 113 to 133 bytes, 11 to 13 MB. An instance that is pushed three times leaves seven."""

    dead_letters_max: Annotated[int, BeforeValidator(forms.integer(1, 1_000_000))] = 10_000
    """How many dead letters are kept; beyond it nothing that would make another goes on, and nothing is lost.

    More than a person looks through, some 10 MB of Redis; a faulty release that can decode nothing stops there."""

    bridge_window_records: Annotated[int, BeforeValidator(forms.integer(1, 10_000_000))] = 200_000
    """How many records a bridge may have published as tasks and not yet seen applied.

    About a second of the fastest worker's work: it never idles, and little is published again after a loss."""

    bridge_poll_records: Annotated[int, BeforeValidator(forms.integer(1, 1_000_000))] = 20_000
    """The most records that one poll, and so one task, takes.

    Large enough that what a task and each of its instances cost is shared by many records, and applied in some milliseconds."""

    republish_after_s: PositiveDuration = 5.0
    """How long a published batch may stay unapplied before it is published again; doubled each time.

    Well above the time a healthy worker needs: publishing twice is harmless, but costs."""

    health_lag_warning: Annotated[int, BeforeValidator(forms.integer(1, 10**15))] = 100_000
    """How many records may wait in Kafka before health warns.

    Two full windows: a bridge that keeps up never has as many."""

    healthcheck_critical_timeout_s: PositiveDuration = 90.0
    """How long a neighbour or a part may be unwell before health is critical.

    The original's value: shorter troubles, such as a restart, pass by themselves."""

    graceful_shutdown_timeout_s: Duration = 10.0
    """How long a process that is told to stop may finish what it has begun.

    The original's value."""

    log_level: Annotated[str, _text(forms.log_level)] = "INFO"
    """The least severity that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL.

    Each step that changes something is logged at INFO."""

    human_log: Annotated[bool, BeforeValidator(lambda value: False if value == "" else forms.boolean(value))] = False
    """Whether logs are written for reading instead of one JSON object per line.

    Off: in production programs read them."""

    db_access: Annotated[Annotated[SecretStr, _text(forms.database_access)] | None, _none_if_empty] = None
    """The PostgreSQL database that keeps the history for good: libpq's keywords or URL.

    None: Redis keeps the newest part by itself. The original's README names a value; it is used only where it is set."""

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """Check what each value may be only in view of another. Raises ValueError with one line per mistake."""
        wrong = []
        if self.input_file_available_topic == self.import_observations_inserted_topic:
            wrong.append(
                f"IMPORT_OBSERVATIONS_INSERTED_TOPIC={self.import_observations_inserted_topic!r}: expected another topic than "
                "INPUT_FILE_AVAILABLE_TOPIC: their records have different forms"
            )
        if self.bridge_poll_records > self.bridge_window_records:
            wrong.append(
                f"BRIDGE_POLL_RECORDS='{self.bridge_poll_records}': expected no more than BRIDGE_WINDOW_RECORDS "
                f"({self.bridge_window_records}): one poll must fit into the window"
            )
        wrong += self.kafka_tls.problems()
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    @property
    def kafka_tls(self) -> KafkaTls:
        """How Kafka is spoken to, as far as TLS goes."""
        key = self.kafka_sec_client_key.get_secret_value() if self.kafka_sec_client_key else None
        tls = self.kafka_sec_proto is not None
        return KafkaTls(tls, self.kafka_sec_ca_certs, self.kafka_sec_client_cert, key, self.kafka_sec_skip_verify)

    @property
    def bind(self) -> tuple[str, int]:
        """`bind_addr` as host and port. Host "" is every interface, port 0 one that the system chooses."""
        return forms.bind_address(self.bind_addr)

    @property
    def broker_url(self) -> str:
        """The broker in force, password included: CELERY_BROKER_URL, else REDIS_URL."""
        return (self.celery_broker_url or self.redis_url).get_secret_value()


@dataclass(frozen=True, slots=True)
class SettingRow:
    """
    One setting as it is shown to a person: all texts, secrets masked.

    `value` and `default` are written as in the environment, "none" where there is none.
    """

    name: str
    value: str
    default: str
    source: Literal["environment", "default"]
    sentence: str
    reason: str


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """
    Read the settings from environment variables; those that are not ours are passed over.

    Raises BadInput with one line for each wrong variable: its name, its value (secrets masked) and what was expected.
    """
    given = {field: environ[env_name(field)] for field in Settings.model_fields if env_name(field) in environ}
    lines = wrong_authorities(environ.get("SSL_CERT_FILE"))
    mistakes: list[Any] = []
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        mistakes += error.errors(include_url=False)
    else:
        if not lines:
            return settings
    for mistake in mistakes:
        expected = str(mistake.get("ctx", {}).get("error", mistake["msg"]))
        # Pydantic names the path to the value; checks of several fields together have none and name them themselves.
        field = str(mistake["loc"][0]) if mistake["loc"] else None
        lines.append(f"{env_name(field)}={_repeat(field, given[field])}: expected {expected}" if field else expected)
    raise BadInput("\n".join(lines)) from None


def env_name(field: str) -> str:
    """Name the environment variable of a field: `sync_interval_s` → `SYNC_INTERVAL`."""
    return field.removesuffix("_s").upper()


def describe(settings: Settings) -> list[SettingRow]:
    """List every setting in the order of the fields, ready to be shown. CELERY_BROKER_URL shows the broker in force."""
    rows = []
    for field, info in Settings.model_fields.items():
        sentence, _, reason = " ".join((info.description or "").split("\n")).partition("  ")
        value, default = _shown(field, getattr(settings, field)), _shown(field, info.default)
        if field == "celery_broker_url":
            value, default = forms.mask_url(settings.broker_url), "REDIS_URL"
        source: Literal["environment", "default"] = "environment" if field in settings.model_fields_set else "default"
        rows.append(SettingRow(env_name(field), value, default, source, sentence.strip(), " ".join(reason.split())))
    return rows


def to_event(settings: Settings) -> dict[str, str]:
    """Give the settings as the fields of the start-up log's event `settings`: environment name → value, secrets masked."""
    return {row.name: row.value for row in describe(settings)}


def secrets(settings: Settings) -> list[str]:
    """List every text that must not be logged: tokens, DB_ACCESS, and the passwords in URLs, as written and decoded."""
    found: set[str] = set()
    for field in _SECRETS:
        secret: SecretStr | None = getattr(settings, field)
        if secret is not None:
            text = secret.get_secret_value()
            if field == "kafka_sec_client_key":
                passwords = key_lines(text)
            elif field == "db_access":
                passwords = forms.database_secrets(text)
            else:
                passwords = forms.url_secrets(text) if field in _URLS else (text,)
            found.update(passwords, map(unquote, passwords))
    return sorted(found, key=len, reverse=True)


_URLS = frozenset({"redis_url", "celery_broker_url"})
"""Secrets of which only the password is hidden."""

_SURELY_NO_PASSWORD = re.compile(r"([a-z+]+://)?[A-Za-z0-9.-]*(:[0-9]{0,5})?(/[A-Za-z0-9]{0,5})?")

_SECRETS = frozenset({"import_api_auth_token", "dataset_api_auth_token", "service_auth_token", "db_access", "kafka_sec_client_key"}) | _URLS


def _shown(field: str, value: object) -> str:
    """Write a checked value as the environment would hold it, its secrets masked."""
    match value:
        case None:
            return "none"
        case SecretStr() if field == "kafka_sec_client_key" and not is_pem(value.get_secret_value()):
            return value.get_secret_value()
        case str() if is_pem(value):
            return "PEM text"
        case SecretStr():
            return forms.mask_url(value.get_secret_value()) if field in _URLS else forms.MASK
        case bool():
            return "true" if value else "false"
        case float():
            return forms.format_duration(value)
        case tuple():
            return ",".join(value)
        case _:
            return str(value)


def _repeat(field: str, text: str) -> str:
    """Repeat a wrong value on one line, cut where it is long, its secrets masked."""
    if field in _URLS:
        # In what is no proper URL, a password may stand anywhere: only what surely holds none is shown.
        text = text if _SURELY_NO_PASSWORD.fullmatch(text) else forms.MASK
    elif field in _SECRETS:
        text = forms.MASK
    return repr(text if len(text) <= _MAX_SHOWN_CHARACTERS else f"{text[:_MAX_SHOWN_CHARACTERS]}…")
