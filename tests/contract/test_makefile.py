"""What `make` hands on, and what it says before it starts something in vain."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


# A make that runs these tests hands its own options on, which are none of ours.
ENVIRON = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "KEEP", "PORT"}}


def make(*arguments):
    """Run make with this Python, taking what is installed as it is."""
    command = ["make", "--old-file=.venv/.runnable", f"BIN={Path(sys.executable).parent}", *arguments]
    return subprocess.run(command, cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    "given, kept", [((), False), (("KEEP=",), False), (("KEEP=0",), False), (("KEEP=1",), True), (("KEEP=yes",), True)]
)
def test_a_demo_is_kept_for_any_value_but_0(given, kept):
    assert ("--keep" in make("--dry-run", "demo", *given).stdout) == kept


def test_a_port_that_is_taken_is_told_by_the_name_of_its_setting():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = make("flower", f"PORT={port}")
    assert ended.returncode == 2  # make's own, for a line that has failed
    assert ended.stderr.splitlines()[0] == f"make: cannot listen at 127.0.0.1:{port}; name a free port with: make flower PORT=5600"
    assert "Traceback" not in ended.stderr + ended.stdout


def test_installing_says_what_takes_so_long():
    told = subprocess.run(
        ["make", "--dry-run", "--always-make", "install"], cwd=ROOT, env=ENVIRON, capture_output=True, text=True, check=False
    ).stdout
    assert len(re.findall(r"^echo \"make: installing .* into \.venv", told, re.MULTILINE)) == 2


def test_no_command_line_of_pip_is_shown():
    lines = (ROOT / "Makefile").read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("\t$(PIP)")] == []
