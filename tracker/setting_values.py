"""
The forms a setting's text may have: durations, booleans, whole numbers, lists, addresses, URLs, names.

Pure, except that files that a URL names are looked for.

Every reader takes the text and returns its value, and raises ValueError whose message is what was expected, to be put
behind "expected". Durations and booleans are read as Go reads them, since the original tracker was written in Go and
its environments are to work unchanged.
"""

import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

MASK = "***"
"""Shown in place of a secret."""

_UNITS_NS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[+-]?(?:{_PART.pattern})+")

_MAX_NS = 2**63 - 1
"""Go keeps a duration in a signed 64-bit number of nanoseconds: about 292 years."""

_MAX_DURATION_CHARACTERS = 100
_MAX_PORT = 65_535
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def parse_duration(text: str) -> float:
    """
    Read a Go duration such as `10s`, `2000ms`, `1m30s`, `-1.5h` or `0` into seconds.

    Digits below a nanosecond are cut off, as in Go. Raises ValueError, also for a bare number other than 0 and for
    what does not fit into 64 bits.
    """
    expected = "a duration such as 10s, 2000ms or 1m30s (units: ns us ms s m h)"
    if text in {"0", "+0", "-0"}:
        return 0.0
    if len(text) > _MAX_DURATION_CHARACTERS or not _DURATION.fullmatch(text):
        raise ValueError(expected)
    total = sum(int(Fraction(number) * _UNITS_NS[unit]) for number, unit in _PART.findall(text))
    if total > _MAX_NS:
        raise ValueError(f"{expected}, at most 292 years")
    return (-total if text.startswith("-") else total) / 10**9


def format_duration(seconds: float) -> str:
    """Write seconds as a Go duration in the largest unit that gives a whole number: 604800 → `168h`, 90 → `90s`, 0.5 → `500ms`."""
    nanoseconds = round(seconds * 10**9)
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        number, rest = divmod(nanoseconds, _UNITS_NS[unit])
        if number and not rest:
            return f"{number}{unit}"
    return "0s"


def duration(value: object) -> float:
    """Read a duration of 0 or more into seconds. A number is taken as seconds: Python code may set a field directly."""
    seconds = parse_duration(value) if isinstance(value, str) else _number(value)
    if seconds < 0:
        raise ValueError("a duration of 0 or more")
    return seconds


def positive_duration(value: object) -> float:
    """Read a duration above 0 into seconds. A number is taken as seconds."""
    seconds = parse_duration(value) if isinstance(value, str) else _number(value)
    if seconds <= 0:
        raise ValueError("a duration above 0")
    return seconds


def boolean(value: object) -> bool:
    """Read a Go boolean: 1 t T TRUE true True, 0 f F FALSE false False."""
    if isinstance(value, bool):
        return value
    if value in {"1", "t", "T", "TRUE", "true", "True"}:
        return True
    if value in {"0", "f", "F", "FALSE", "false", "False"}:
        return False
    raise ValueError("true or false (or 1, t, T, TRUE, True; 0, f, F, FALSE, False)")


def integer(low: int, high: int) -> Callable[[object], int]:
    """Make the reader of a whole number between `low` and `high`, both included."""

    def read(value: object) -> int:
        text = str(value)
        if isinstance(value, bool) or not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return read


def address(text: str) -> tuple[str, int]:
    """Read `host:port` or `[IPv6]:port` into host and port (1 … 65535)."""
    host, port = _split_address(text)
    if not host or not port:
        raise ValueError("host:port, with a port from 1 to 65535")
    return host, port


def bind_address(text: str) -> tuple[str, int]:
    """Read `host:port` or `:port` into host and port. Host "" is every interface; port 0 lets the system choose one."""
    host, port = _split_address(text)
    if port is None:
        raise ValueError("host:port, or :port for every interface, with a port from 0 to 65535")
    return host, port


def addresses(value: object) -> tuple[str, ...]:
    """Read a comma-separated list of `host:port`. Blanks and empty entries are refused, as is an address named twice."""
    entries = tuple(value.split(",")) if isinstance(value, str) else _texts(value)
    try:
        for entry in entries:
            address(entry)
    except ValueError:
        entries = ()
    if not entries or len(set(entries)) != len(entries):
        raise ValueError("one or more different host:port, separated by commas, without blanks")
    return entries


def api_url(text: str) -> str:
    """Read an API's base URL and take a closing slash away. User, password, query, fragment: refused, as logged or lost."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    plain = "@" not in parts.netloc and not parts.query and not parts.fragment
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or not plain or not _printable(text):
        raise ValueError("http://host:port or https://host:port, without user, query or fragment")
    return text.rstrip("/")


def redis_url(text: str) -> str:
    """Read the URL of a Redis server: redis:// or rediss://, a host, and nothing or a database's number as the path."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    database = re.fullmatch(r"/?[0-9]{0,5}", parts.path)
    if not text.startswith(("redis://", "rediss://")) or not parts.hostname or port == 0 or not database or not _printable(text):
        raise ValueError("redis://[[user]:password@]host[:port][/database number], or rediss:// for TLS")
    redis_tls(text)
    return text


def redis_tls(url: str) -> dict[str, str | bool] | None:
    """
    Read what a Redis URL says of TLS, None for redis://: what redis-py and kombu both call the same, and nothing else.

    Server and host name are verified unless the URL says otherwise; kombu by itself would verify neither.
    """
    parts = urlsplit(url)
    given = {key: value for key, value in parse_qsl(parts.query, keep_blank_values=True) if key.startswith("ssl_")}
    if parts.scheme != "rediss":
        if given:
            raise ValueError(f"rediss:// where {min(given)} is given: redis:// is not TLS")
        return None
    for key, value in given.items():
        allowed = _REDIS_TLS.get(key)
        if allowed is None:
            raise ValueError(f"of the parameters that begin with ssl_ only {', '.join(_REDIS_TLS)}")
        if allowed and value not in allowed:
            raise ValueError(f"{key}={' or '.join(allowed)}")
        if not allowed and not _readable(value):
            raise ValueError(f"in {key} the path of a readable file")
    if ("ssl_certfile" in given) != ("ssl_keyfile" in given):
        raise ValueError("ssl_certfile and ssl_keyfile, both or neither")
    verified: dict[str, str | bool] = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    return verified | given | {"ssl_check_hostname": given.get("ssl_check_hostname") != "false"}


_REDIS_TLS: dict[str, tuple[str, ...]] = {
    "ssl_ca_certs": (),
    "ssl_certfile": (),
    "ssl_keyfile": (),
    "ssl_cert_reqs": ("required", "none"),
    "ssl_check_hostname": ("true", "false"),
}
"""What a rediss:// URL may say, and which values; none: the path of a file."""


def topic(text: str) -> str:
    """Read a Kafka topic's name by Kafka's own rule."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) or text in {".", ".."}:
        raise ValueError("a Kafka topic: 1 to 249 letters, digits, '.', '_' or '-'")
    return text


def name(text: str) -> str:
    """Read a name that Kafka keeps for us, such as a consumer group's: 1 to 249 printable characters without blanks."""
    if len(text) not in range(1, 250) or not _printable(text):
        raise ValueError("1 to 249 printable characters without blanks")
    return text


def key_prefix(text: str) -> str:
    """Read a prefix of Redis keys. What is special in key patterns is refused, since keys are searched by pattern."""
    if not re.fullmatch(r"[A-Za-z0-9._:/-]{1,100}", text):
        raise ValueError("1 to 100 letters, digits, '.', '_', ':', '/' or '-'")
    return text


def token(text: str) -> str:
    """Read what travels in an HTTP header: printable ASCII, no blank at either end."""
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", text):
        raise ValueError("printable ASCII characters, no blank at either end")
    return text


def kafka_protocol(text: str) -> str:
    """Read the original's name for TLS. It took anything else for none, in silence: a slip of the pen sent everything in the clear."""
    if text != "TLS":
        raise ValueError("TLS, or nothing")
    return text


def log_level(text: str) -> str:
    """Read a log level's name, in capitals or not."""
    if text.upper() not in _LOG_LEVELS:
        raise ValueError(f"one of {', '.join(_LOG_LEVELS)}")
    return text.upper()


def mask_url(url: str) -> str:
    """
    Hide the password of a URL, in `user:password@` and in `?password=`, also where the URL is otherwise malformed.

    A user without a password is hidden too, as it may be a token; the scheme stays, unless it is no such thing.
    """
    url = re.sub(r"(?i)([?&][a-z_]*password=)[^&#]*", rf"\1{MASK}", url)
    head, at, tail = url.rpartition("@")
    if not at:
        return url
    scheme, slashes, account = head.partition("://")
    user, colon, _ = account.partition(":")
    if not slashes or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return f"{MASK}@{tail}"
    return f"{scheme}://{user}:{MASK}@{tail}" if colon else f"{scheme}://{MASK}@{tail}"


def url_secrets(url: str) -> tuple[str, ...]:
    """List what in a URL must not be shown: its passwords as they are written."""
    found = re.findall(r"(?i)[?&][a-z_]*password=([^&#]+)", url)
    head, at, _ = url.rpartition("@")
    _, colon, password = head.partition("://")[2].partition(":")
    return (*found, password) if at and colon and password else tuple(found)


_KEYWORD = re.compile(r"\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)")


def database_access(text: str) -> str:
    """Read how libpq is told of a database: keywords such as `user=dp dbname=ImportJobs`, or a postgresql:// URL."""
    end = 0
    while found := _KEYWORD.match(text, end):
        end = found.end()
    keywords = end and not text[end:].strip()
    if not keywords and not (re.match(r"postgres(?:ql)?://", text) and _printable(text)):
        raise ValueError("libpq's keywords, such as user=dp dbname=ImportJobs, or a postgresql:// URL")
    return text


def database_secrets(text: str) -> tuple[str, ...]:
    """List what of a database's access must not be shown: all of it, and its passwords as written and as meant; longest first."""
    written = [quoted or plain for name, quoted, plain in _KEYWORD.findall(text) if name.endswith("password")]
    meant = [re.sub(r"\\(.)", r"\1", password) for password in written]
    urls = [password for secret in url_secrets(text) for password in (secret, unquote(secret))]
    return tuple(sorted({each for each in (text, *written, *meant, *urls) if each}, key=len, reverse=True))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a duration such as 10s")  # noqa: TRY004 - the one error that all readers raise
    return float(value)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(entry) for entry in value) if isinstance(value, tuple | list) else ()


def _split_address(text: str) -> tuple[str, int | None]:
    """Split `host:port`; the port is None where the text is no address at all. Brackets around IPv6 are taken away."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]*)):([0-9]{1,5})", text)
    if not found or int(found[3]) > _MAX_PORT:
        return "", None
    return found[1] or found[2], int(found[3])


def _readable(path: str) -> bool:
    return Path(path).is_file() and os.access(path, os.R_OK)


def _printable(text: str) -> bool:
    return bool(re.fullmatch(r"[!-~]+", text))
