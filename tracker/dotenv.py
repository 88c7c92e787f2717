"""
Running a command with what its environment lacks from a file `.env`: `python -m tracker.dotenv COMMAND ARGUMENT…`.

The Makefile uses it. Values are taken literally: no shell looks at them, so that passwords and addresses need no thought.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from tracker.errors import BadInput

FILE = Path(".env")

_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")


def read(text: str, name: str = str(FILE)) -> dict[str, str]:
    """
    Read lines of NAME=value; of a name that comes twice the last counts. Lines that are empty or begin with # are passed over.

    A value goes to the end of its line, less trailing blanks and one pair of quotes around all of it; nothing in it is replaced.
    Raises BadInput with a line for each that is anything else. It never repeats the line: there may be a password in it.
    """
    values, wrong = {}, []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            variable, value = _split(stripped)
        except ValueError as error:
            wrong.append(f"{name}, line {number}: expected {error}")
        else:
            values[variable] = value
    if wrong:
        raise BadInput("\n".join(wrong))
    return values


def _split(line: str) -> tuple[str, str]:
    """Take a line apart. Raises ValueError with what was expected."""
    found = _LINE.fullmatch(line)
    if found is None:
        blanks = re.match(r"\w+\s+=", line)
        raise ValueError("NAME=value, without blanks around the =" if blanks else "NAME=value, or a comment that begins with #")
    variable, value = found.groups()
    if value != value.lstrip():
        raise ValueError("NAME=value, without blanks around the =")
    if "\0" in value:
        raise ValueError("text without a zero byte")
    if value[:1] in {"'", '"'}:
        if len(value) == 1 or value[-1] != value[0] or value[0] in value[1:-1]:
            raise ValueError("a value without quotes, or with the same quotes at both ends and none of these between them")
        return variable, value[1:-1]
    if re.search(r"\s#", value):
        # Compose takes this for a comment, a connection string may mean it: whoever wrote it decides.
        raise ValueError("a comment on a line of its own, and quotes around a value with a blank before a #")
    return variable, value


def complete(environ: Mapping[str, str], file: Path = FILE) -> dict[str, str]:
    """The environment, and what it lacks from the file, if there is one. Raises BadInput."""
    try:
        text = file.read_text("utf-8-sig")
    except FileNotFoundError:
        return dict(environ)
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}; expected a file that can be read") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{file}: expected text in UTF-8") from error
    return {**read(text, str(file)), **environ}


def main() -> NoReturn:
    """Become the command that the arguments give; exit code 2 where the file is wrong."""
    try:
        environ = complete(os.environ)
    except BadInput as error:
        for line in str(error).splitlines():
            print(f"tracker: {line}", file=sys.stderr)  # noqa: T201 -- there is no log yet
        sys.exit(2)
    sys.stdout.flush()
    os.execvpe(sys.argv[1], sys.argv[1:], environ)  # noqa: S606 -- the command that was given


if __name__ == "__main__":
    main()
