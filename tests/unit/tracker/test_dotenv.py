"""What `make up`, `debug` and `flower` take from `.env`: each value as it is written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracker import dotenv
from tracker.errors import BadInput

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "line, value",
    [
        ("A=host=db.example dbname=imports user=tracker", "host=db.example dbname=imports user=tracker"),
        ("A=redis://h:6379/0?a=1&b=2", "redis://h:6379/0?a=1&b=2"),
        ("A=pa$sw$(id)`id`\\n", "pa$sw$(id)`id`\\n"),
        ("A=x#y;z", "x#y;z"),
        ("A='a # b'", "a # b"),
        ('A="it\'s $HOME"', "it's $HOME"),
        ("A=it's", "it's"),
        ("  A=5s \t\r", "5s"),
        ("A=", ""),
        ("A=''", ""),
        ("A=1\nA=2", "2"),
        ("# a comment\n\n   # another\nA=1\n", "1"),
    ],
)
def test_a_value_is_taken_literally(line, value):
    assert dotenv.read(line) == {"A": value}


@pytest.mark.parametrize(
    "line, expected",
    [
        ("A = secret", "NAME=value, without blanks around the ="),
        ("A= secret", "NAME=value, without blanks around the ="),
        ("A =secret", "NAME=value, without blanks around the ="),
        ("export A=secret", "NAME=value, or a comment that begins with #"),
        ("A-B=secret", "NAME=value, or a comment that begins with #"),
        ("secret", "NAME=value, or a comment that begins with #"),
        ("1A=secret", "NAME=value, or a comment that begins with #"),
        ("A='secret", "the same quotes at both ends"),
        ("A='secret\"", "the same quotes at both ends"),
        ("A='sec'ret'", "none of these between them"),
        ("A='", "the same quotes at both ends"),
        ("A=secret # why", "a comment on a line of its own"),
        ("A=secret\0", "text without a zero byte"),
    ],
)
def test_anything_else_is_told_with_its_line_and_never_repeated(line, expected):
    with pytest.raises(BadInput, match=re.escape(expected)) as raised:
        dotenv.read(f"B=1\n{line}\nC=2")
    assert str(raised.value).startswith(".env, line 2: expected ")
    assert "secret" not in str(raised.value)


def test_all_mistakes_are_told_together():
    with pytest.raises(BadInput) as raised:
        dotenv.read("A = 1\nB=2\nC")
    assert [line.partition(":")[0] for line in str(raised.value).splitlines()] == [".env, line 1", ".env, line 3"]


def run(folder, *, given):
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given}
    return subprocess.run(
        [sys.executable, "-m", "tracker.dotenv", sys.executable, "-c", code],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_gets_what_its_environment_lacks(tmp_path):
    assert "A" not in json.loads(run(tmp_path, given={}).stdout)
    (tmp_path / ".env").write_text("A=from file & more\nB=from file\nC=from file\n")
    found = json.loads(run(tmp_path, given={"B": "given", "C": ""}).stdout)
    assert (found["A"], found["B"], found["C"]) == ("from file & more", "given", "")


@pytest.mark.parametrize("content", [b"A = 1", b"A=\xff"])
def test_a_wrong_file_ends_it_before_the_command_starts(tmp_path, content):
    (tmp_path / ".env").write_bytes(content)
    ended = run(tmp_path, given={})
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"tracker: \.env.*expected .*\n", ended.stderr)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / ".env").mkdir()
    with pytest.raises(BadInput, match=r"\.env: .*expected a file"):
        dotenv.complete({}, tmp_path / ".env")


@pytest.mark.parametrize("target", ["up", "debug", "flower"])
def test_make_hands_it_to_no_shell_and_echoes_nothing(target):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    lines = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert lines is not None
    assert all(line.startswith("@") for line in lines[1].replace("\\\n", "").replace("\t", "").splitlines())
    assert "$(DOTENV) " in lines[1]
    assert re.search(r"^DOTENV := \$\(BIN\)/python -m tracker\.dotenv$", makefile, re.MULTILINE)
