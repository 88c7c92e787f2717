"""How dead letters are shown in a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tracker.cli.tables import plain_table
from tracker.findings import age_in_words
from tracker.views import DeadLetter

MOST_BYTES = 256
"""Bytes of a record that are shown; a file takes all of them."""

BYTES_A_LINE = 16


def letters_table(letters: Sequence[DeadLetter], total: int, now_s: float) -> RenderableType:
    """A list of dead letters."""
    table = plain_table("letter", "age", "what", "from", "instance", ">count", "reason")
    for letter in letters:
        count = "" if letter.count is None else f"{letter.count:,}"
        table.add_row(
            letter.id,
            age_in_words(now_s - letter.at_s),
            letter.what,
            escape(place(letter)),
            escape(letter.instance_id or ""),
            count,
            escape(reason(letter)),
        )
    left = total - len(letters)
    return Group(table, *([Text(f"… and {left:,} more (--limit)", "dim")] if left > 0 else []))


def letter_view(letter: DeadLetter, raw: bytes, meaning: str, now_s: float) -> RenderableType:
    """All there is to say of one dead letter."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in (
        ("letter", letter.id),
        ("age", f"{age_in_words(now_s - letter.at_s)}, made under ledger {letter.ledger or 'not known'}"),
        ("what", letter.what),
        ("from", place(letter)),
        ("epoch", letter.epoch or ""),
        ("instance", letter.instance_id or ""),
        ("job", letter.job_id or ""),
        ("count", "" if letter.count is None else f"{letter.count:,}"),
        ("reason", reason(letter)),
        ("a replay", meaning),
        ("bytes", hex_dump(raw) if letter.raw is not None else ""),
    ):
        if text:
            table.add_row(name, escape(text))
    return table


def place(letter: DeadLetter) -> str:
    """Which record it was."""
    return f"{letter.topic}:{letter.partition} at {letter.offset}" if letter.topic else ""


def reason(letter: DeadLetter) -> str:
    """Why it is a dead letter, and why a replay may count twice."""
    doubts = [f"{letter.perhaps:,} perhaps counted"] if letter.perhaps and "perhaps" not in letter.reason else []
    return "; ".join(text for text in (letter.reason, *doubts, letter.doubt) if text)


def hex_dump(raw: bytes) -> str:
    """The first bytes of a record: offset, hexadecimal, and what can be read of it."""
    lines = []
    for at in range(0, min(len(raw), MOST_BYTES), BYTES_A_LINE):
        some = raw[at : at + BYTES_A_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in some)  # noqa: PLR2004 -- ASCII's printable characters
        lines.append(f"{at:04x}  {some.hex(' '):<{3 * BYTES_A_LINE - 1}}  {text}")
    if len(raw) > MOST_BYTES:
        lines.append(f"… {len(raw) - MOST_BYTES:,} more bytes (--raw FILE)")
    return "\n".join(lines) or "none: the record has no value"
