"""
Ids of entries in a Redis stream: `milliseconds-serial`, 64 bits each. Pure.

The ids next to one are written out, since servers before Redis 6.2 know no exclusive ranges.
"""


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
