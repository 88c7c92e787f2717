"""The forms a setting's text may have, against what Go and the neighbours accept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker import setting_values as forms

UNITS_NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("10s", 10.0),
        ("2000ms", 2.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("+3s", 3.0),
        ("-1.5h", -5400.0),
        ("1h1m1s1ms1us1ns", 3661.001001001),
        ("7µs", 7e-6),
        ("7μs", 7e-6),
        ("30s1m", 90.0),
        ("0.3ns", 0.0),
        ("0", 0.0),
        ("-0", 0.0),
        ("0s", 0.0),
        ("168h", 604_800.0),
        ("9223372036854775807ns", 9_223_372_036.854775807),
    ],
)
def test_durations_are_read_as_go_reads_them(text, seconds):
    assert forms.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "00",
        "s",
        ".s",
        "+",
        "-",
        "1e3s",
        "10 s",
        " 10s",
        "10s ",
        "10s\n",
        "--1s",
        "1s-1s",
        "1d",
        "1S",
        "1,5s",
        "1..5s",
        "\u0661s",
        "1m30",
        "10sec",
    ],
)
def test_what_go_refuses_as_a_duration_is_refused(text):
    with pytest.raises(ValueError, match="a duration such as 10s"):
        forms.parse_duration(text)


@pytest.mark.parametrize("text", ["9223372036854775808ns", "2562048h", "9" * 99 + "s", "1" * 5000 + "s"])
def test_a_duration_beyond_64_bits_of_nanoseconds_is_refused(text):
    with pytest.raises(ValueError, match="a duration such as 10s"):
        forms.parse_duration(text)


@given(st.integers(min_value=0, max_value=90 * 24 * 3600 * 10**9))
def test_a_formatted_duration_reads_back_as_itself(nanoseconds):
    seconds = nanoseconds / 10**9
    assert forms.parse_duration(forms.format_duration(seconds)) == seconds


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(UNITS_NS))), min_size=1, max_size=6), st.sampled_from(["", "+", "-"])
)
def test_the_parts_of_a_duration_add_up(parts, sign):
    text = sign + "".join(f"{number}{unit}" for number, unit in parts)
    nanoseconds = sum(number * UNITS_NS[unit] for number, unit in parts)
    assert forms.parse_duration(text) == (-nanoseconds if sign == "-" else nanoseconds) / 10**9


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text):
    try:
        assert isinstance(forms.parse_duration(text), float)
    except ValueError as error:
        assert str(error).startswith("a duration such as")  # noqa: PT017 - most texts raise, some do not


@pytest.mark.parametrize(
    "seconds, text", [(604_800, "168h"), (90, "90s"), (60, "1m"), (0.5, "500ms"), (2, "2s"), (1e-6, "1us"), (1e-9, "1ns"), (0, "0s")]
)
def test_a_duration_is_written_in_the_largest_unit_that_fits(seconds, text):
    assert forms.format_duration(seconds) == text


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_gos_six_words_for_true(text):
    assert forms.boolean(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_gos_six_words_for_false(text):
    assert forms.boolean(text) is False


@pytest.mark.parametrize("text", ["", "yes", "on", "tRUE", " true", "2", None, 1.0, 1])
def test_any_other_word_is_no_boolean(text):
    with pytest.raises(ValueError, match="true or false"):
        forms.boolean(text)


@pytest.mark.parametrize("text", ["", "0", "11", "1.0", "1_0", " 5", "٣", "5\n", "9" * 5000, True, None])
def test_a_whole_number_out_of_form_or_bounds_is_refused(text):
    with pytest.raises(ValueError, match="a whole number from 1 to 10"):
        forms.integer(1, 10)(text)


@pytest.mark.parametrize("text, number", [("1", 1), ("10", 10), ("+7", 7), ("007", 7), (7, 7)])
def test_a_whole_number_within_bounds_is_read(text, number):
    assert forms.integer(1, 10)(text) == number


@pytest.mark.parametrize(
    "text, pair",
    [(":21300", ("", 21300)), ("127.0.0.1:80", ("127.0.0.1", 80)), ("localhost:0", ("localhost", 0)), ("[::1]:80", ("::1", 80))],
)
def test_a_bind_address_is_split_into_host_and_port(text, pair):
    assert forms.bind_address(text) == pair


@pytest.mark.parametrize(
    "text", ["", "21300", "localhost", "localhost:", ":65536", "a b:80", "::1:80", "http://localhost:80", ":80\n", ":-1"]
)
def test_what_is_no_bind_address_is_refused(text):
    with pytest.raises(ValueError, match="host:port"):
        forms.bind_address(text)


@pytest.mark.parametrize(
    "text, entries",
    [("a:1", ("a:1",)), ("a:1,b:2", ("a:1", "b:2")), ("[::1]:9092,kafka-0.kafka.svc:9092", ("[::1]:9092", "kafka-0.kafka.svc:9092"))],
)
def test_a_list_of_addresses_is_split_at_commas(text, entries):
    assert forms.addresses(text) == entries


@pytest.mark.parametrize("text", ["", ",", "a:1,", "a:1,,b:2", "a:1, b:2", "a:1;b:2", "a", ":1", "a:0", "a:1,a:1", (), None])
def test_a_list_with_blanks_gaps_or_non_addresses_is_refused(text):
    with pytest.raises(ValueError, match="separated by commas"):
        forms.addresses(text)


@pytest.mark.parametrize("text", ["http://localhost:22000", "https://api.example/v1", "http://[::1]:80"])
def test_an_api_url_is_kept_as_it_is(text):
    assert forms.api_url(text) == text


def test_a_closing_slash_of_an_api_url_is_taken_away():
    assert forms.api_url("http://localhost:22000/") == "http://localhost:22000"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:22000",
        "http://",
        "ftp://h",
        "http://h:x",
        "http://h:0",
        "http://h:99999",
        "http://u:p@h",
        "http://h/?a=1",
        "http://h#a",
        "http://h /",
        "http://[::1",
    ],
)
def test_what_is_no_plain_api_url_is_refused(text):
    with pytest.raises(ValueError, match="http://host:port"):
        forms.api_url(text)


@pytest.mark.parametrize("text", ["redis://h", "redis://h:6379/15", "rediss://user:pw@h:6380/", "redis://:pw@h/0?socket_timeout=5"])
def test_a_redis_url_may_carry_password_port_database_and_options(text):
    assert forms.redis_url(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "h:6379", "http://h", "redis://", "redis:///0", "redis://h/x", "redis://h:0", "redis://h:99999", "unix:///s", "redis://h h"],
)
def test_what_is_no_redis_url_is_refused(text):
    with pytest.raises(ValueError, match="redis://"):
        forms.redis_url(text)


@pytest.mark.parametrize("text", ["", "topic with blank", ".", "..", "a/b", "a" * 250, "ä"])
def test_what_kafka_refuses_as_a_topic_is_refused(text):
    with pytest.raises(ValueError, match="a Kafka topic"):
        forms.topic(text)


@pytest.mark.parametrize("text", ["", "*", "a?", "a[b]", "a b", "a\\"])
def test_a_key_prefix_must_not_hold_what_patterns_treat_specially(text):
    with pytest.raises(ValueError, match="letters, digits"):
        forms.key_prefix(text)


@pytest.mark.parametrize("text", ["a\nb", "ä", " a", "a ", "a\r\nX-Evil: 1", ""])
def test_a_token_that_an_http_header_cannot_carry_is_refused(text):
    with pytest.raises(ValueError, match="printable ASCII"):
        forms.token(text)


@pytest.mark.parametrize(
    "url, shown",
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://u:pw@h:6379/0", "redis://u:***@h:6379/0"),
        ("redis://:pw@h", "redis://:***@h"),
        ("redis://:p:w@x@h", "redis://:***@h"),
        ("redis://token@h", "redis://***@h"),
        ("amqp://guest@127.0.0.1:1//", "amqp://***@127.0.0.1:1//"),
        ("a secret://u:pw@h", "***@h"),
        ("redis://h/0?password=pw&db=1", "redis://h/0?password=***&db=1"),
        ("redis://h/0?password=p@w", "redis://h/0?password=***"),
        ("u:pw@h", "***@h"),
    ],
)
def test_the_password_of_a_url_is_masked(url, shown):
    assert forms.mask_url(url) == shown
    assert not any(secret in forms.mask_url(url) for secret in forms.url_secrets(url) if len(secret) > 1)
