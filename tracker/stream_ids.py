"""
Ids of entries in a Redis stream: `milliseconds-serial`, 64 bits each. Pure.

The ids next to one are written out, since servers before Redis 6.2 know no exclusive ranges.
"""

LARGEST = 2**64 - 1
"""The largest number on either side of an id."""


def is_id(text: str) -> bool:
    """Whether Redis can have given this id to an entry, which 0-0 it never does. The serial may be left out."""
    milliseconds, dash, serial = text.partition("-")
    return _is_number(milliseconds) and (_is_number(serial) or not dash) and order(text) > (0, 0)


def order(entry_id: str) -> tuple[int, int]:
    """An id as numbers, for comparing; "-" is the lowest."""
    milliseconds, _, serial = entry_id.partition("-")
    return int(milliseconds or -1), int(serial or 0)


def after(entry_id: str) -> str:
    """The next id."""
    milliseconds, serial = order(entry_id)
    return f"{milliseconds}-{serial + 1}"


def before(entry_id: str) -> str:
    """The id before this one, as the upper end of a range: without a serial it stands for the largest of that millisecond."""
    milliseconds, serial = order(entry_id)
    return f"{milliseconds}-{serial - 1}" if serial else f"{milliseconds - 1}"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST)) and int(text) <= LARGEST
