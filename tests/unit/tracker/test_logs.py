"""What a line of the log looks like, whoever wrote it, and what never appears in one."""

import io
import json
import logging
import sys

import pytest
import structlog

from tracker import logs

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """Logging is global: give it back as it was, so that one test does not shape another's."""
    root, names = logging.getLogger(), ("httpx", "httpcore", "kafka", "asyncio", "urllib3")
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in names:
        logging.getLogger(name).setLevel(levels[name])
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logs._secrets = ()


class Written(io.StringIO):
    """What the process has logged so far."""

    def lines(self):
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def line(self):
        (line,) = self.lines()
        return line


@pytest.fixture
def written():
    written = Written()
    logs.configure(human=False, level="INFO", secrets=[SECRET], stream=written)
    return written


def test_an_event_is_one_json_object_with_its_identifiers(written):
    structlog.get_logger("tracker.tasks").info("instance_completed", instance_id="i-1", job_id=None, count=5)
    line = written.line()
    created_at = line.pop("created_at")
    assert line == {
        "namespace": "import-tracker",
        "severity": "INFO",
        "logger": "tracker.tasks",
        "event": "instance_completed",
        "instance_id": "i-1",
        "job_id": None,
        "count": 5,
    }
    assert len(created_at) == len("2026-01-31T12:00:00.123456Z")
    assert created_at.endswith("Z")


def test_time_namespace_severity_logger_and_event_stand_in_front(written):
    structlog.get_logger("x").warning("late", aardvark=1)
    assert list(written.line()) == ["created_at", "namespace", "severity", "logger", "event", "aardvark"]


def test_a_library_writes_the_same_form(written):
    logging.getLogger("celery.worker").warning("lost %s after %d s", "connection", 3)
    line = written.line()
    assert line["event"] == "lost connection after 3 s"
    assert (line["severity"], line["logger"], line["namespace"]) == ("WARNING", "celery.worker", "import-tracker")


def test_what_is_bound_to_a_task_is_in_our_lines_and_in_libraries_lines(written):
    with structlog.contextvars.bound_contextvars(task_id="t-1", batch="b-1"):
        structlog.get_logger("x").info("applied")
        logging.getLogger("celery").info("hello")
    structlog.get_logger("x").info("later")
    ours, theirs, later = written.lines()
    assert ours["task_id"] == theirs["task_id"] == "t-1"
    assert ours["batch"] == "b-1"
    assert "task_id" not in later


@pytest.mark.parametrize("log", [structlog.get_logger("x"), logging.getLogger("x")], ids=["structlog", "logging"])
def test_a_traceback_is_one_text_in_one_line(written, log):
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        log.exception("failed")
    line = written.line()
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("ValueError: first\nsecond")
    assert line["severity"] == "ERROR"


def test_line_breaks_of_every_kind_stay_inside_the_line(written):
    structlog.get_logger("x").info("odd", text="a\nb\r\u2028\u2029\x85\x0b", broken="\ud800")
    assert len(written.getvalue().splitlines()) == 1


def test_objects_that_json_does_not_know_become_text(written):
    circle: list[object] = []
    circle.append(circle)
    structlog.get_logger("x").info("odd", error=ValueError("no"), circle=circle, some={1}, by_number={1: (2, None)})
    line = written.line()
    assert line["error"] == "ValueError('no')"
    assert line["some"] == [1]
    assert line["by_number"] == {"1": [2, None]}


def test_what_is_below_the_level_is_not_written(written):
    structlog.get_logger("x").debug("detail")
    logging.getLogger("y").debug("detail")
    assert written.lines() == []


def test_libraries_that_log_every_call_write_warnings_only(written):
    for name in ("httpx", "kafka", "kafka.consumer.fetcher"):
        logging.getLogger(name).info("HTTP Request: GET …")
        logging.getLogger(name).warning("trouble")
    assert [line["severity"] for line in written.lines()] == ["WARNING"] * 3


def test_quiet_libraries_do_not_speak_up_when_only_errors_are_wanted():
    written = Written()
    logs.configure(human=False, level="ERROR", stream=written)
    logging.getLogger("kafka").warning("trouble")
    assert written.lines() == []


def test_a_secret_is_masked_wherever_it_appears(written):
    log = structlog.get_logger("x")
    log.info("settings", url=f"redis://:{SECRET}@h", nested={"deep": [{SECRET: (SECRET, b"x" + SECRET.encode())}]})
    log.info(f"wrong {SECRET}", error=ValueError(SECRET))  # noqa: G004 - careless code must not show it either
    logging.getLogger("celery").warning("Connected to %s", f"redis://:{SECRET}@h")
    try:
        raise ConnectionError(SECRET)
    except ConnectionError:
        log.exception("failed")
    assert len(written.lines()) == 4
    assert SECRET not in written.getvalue()
    assert written.lines()[0]["url"] == "redis://:***@h"


def test_a_longer_secret_is_masked_before_a_shorter_one_within_it():
    written = Written()
    logs.configure(human=False, level="INFO", secrets=["pass", "password-1"], stream=written)
    structlog.get_logger("x").info("e", text="password-1 pass")
    assert written.line()["text"] == "*** ***"


def test_a_secret_made_of_digits_is_masked_as_a_number_too():
    written = Written()
    logs.configure(human=False, level="INFO", secrets=["12345678"], stream=written)
    structlog.get_logger("x").info("e", number=12345678, other=123456789)
    assert (written.line()["number"], written.line()["other"]) == ("***", 123456789)


def test_a_secret_that_is_a_word_of_ours_does_not_break_the_form():
    written = Written()
    logs.configure(human=False, level="INFO", secrets=["event", "INFO", "import-tracker", "a"], stream=written)
    structlog.get_logger("x").info("an event", a="a")
    line = written.line()
    assert (line["namespace"], line["severity"], line["event"], line["a"]) == ("import-tracker", "INFO", "an ***", "a")


def test_for_reading_the_same_fields_are_written_without_braces():
    written = Written()
    logs.configure(human=True, level="INFO", secrets=[SECRET], stream=written)
    structlog.get_logger("tracker.tasks").info("instance_completed", instance_id="i-1", token=SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError:
        logging.getLogger("celery").exception("failed")
    text = written.getvalue()
    assert "instance_completed" in text
    assert "instance_id=i-1" in text
    assert "ValueError: ***" in text
    assert SECRET not in text
    assert "{" not in text
    assert "\x1b" not in text, "colours are for terminals"


def test_configuring_twice_writes_once(written):
    logs.configure(human=False, level="INFO", stream=written)
    structlog.get_logger("x").info("once")
    assert len(written.lines()) == 1


def test_the_lines_go_to_stdout_unless_told_otherwise(capsys):
    logs.configure(human=False, level="INFO")
    structlog.get_logger("x").info("here")
    out, err = capsys.readouterr()
    assert json.loads(out)["event"] == "here"
    assert err == ""


def test_celerys_handlers_take_our_form_and_keep_their_level_and_file(tmp_path):
    logger = logging.Logger("celery.redirected", level=logging.ERROR)  # noqa: LOG001 - one that nobody else has
    to_file = logging.FileHandler(tmp_path / "worker.log")
    logger.addHandler(to_file)
    logs.adopt(logger, human=False, secrets=[SECRET])
    logger.warning("below celery's own level")
    logger.error("trouble with %s", SECRET)
    to_file.close()
    line = json.loads((tmp_path / "worker.log").read_text())
    assert (line["event"], line["severity"]) == ("trouble with ***", "ERROR")


def test_celerys_handler_for_stderr_is_led_to_stdout():
    logger = logging.Logger("celery")  # noqa: LOG001 - one that nobody else has
    handler = logging.StreamHandler(sys.__stderr__)
    logger.addHandler(handler)
    logs.adopt(logger, human=False)
    assert handler.stream is sys.__stdout__


def test_a_trouble_is_said_when_it_comes_and_again_while_it_lasts():
    """Each of a worker's children has its own, and does not hear of the good news of the others."""
    clock = iter([0.0, 1.0, 59.0, 61.0, 62.0, 120.0, 122.0])
    spell = logs.Spell(lambda: next(clock))
    assert [spell.begins("away") for _ in range(4)] == [True, False, False, True]
    assert spell.begins("odd")
    assert not spell.begins("odd")
    spell.ends()
    assert spell.begins("odd")


def test_a_line_that_cannot_be_written_is_told_without_its_content(capsys):
    closed = io.StringIO()
    logs.configure(human=False, level="INFO", secrets=[SECRET], stream=closed)
    closed.close()
    structlog.get_logger("x").info("lost", token=SECRET)
    assert capsys.readouterr().err == "import-tracker: a log line of x is lost: ValueError\n"
