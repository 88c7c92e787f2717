"""Making hostile input out of good input, steered by random bytes: the same bytes make the same input."""

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from random import Random
from typing import Any

HOSTILE: Sequence[Any] = (
    None,
    True,
    False,
    0,
    -1,
    0.5,
    -0.0,
    2**31,
    2**53,
    2**63,
    10**400,
    float("inf"),
    float("nan"),
    "",
    ".",
    "..",
    "0",
    "1e3",
    "a/b",
    "a\x00b",
    "\ud800",
    "é" * 700,
    [],
    {},
    [None],
    [[]],
    {"id": 5},
    {"1": 1},
)
"""What stands where something else is expected."""

WHOLE = (
    b"",
    b"null",
    b"NaN",
    b"\xff\xfe",
    b"<html><body>502 Bad Gateway</body></html>",
    b"0" * 5_000,
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"items": [' + b" " * 10_000_000,
)
"""Whole answers that are none."""


def mutate(data: bytes, random: Random) -> bytes:
    """Some bytes changed, inserted, removed, doubled or cut off."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at = random.randrange(len(out) + 1)
        match random.randrange(6):
            case 0 if at < len(out):
                out[at] ^= 1 << random.randrange(8)
            case 1:
                out[at:at] = random.randbytes(random.randrange(1, 9))
            case 2:
                del out[at : at + random.randrange(1, 9)]
            case 3:
                out[at:at] = out[at : at + random.randrange(1, 64)]
            case 4:
                out[at : at + 1] = random.choice((b"\xff", b"\x80", b"\x00", b'"', b"{", b"[", b"NaN", b"\\ud800", b"1e999", b"\r\n"))
            case _:
                del out[at:]
    return bytes(out)


def edit(document: Any, random: Random) -> Any:
    """A copy of a JSON document in which something stands that does not belong there, or something is missing."""
    document = json.loads(json.dumps(document))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        places = list(_places(document))
        if not places:
            return deepcopy(random.choice(HOSTILE))
        holder, key = random.choice(places)
        if isinstance(holder, dict) and random.randrange(4) == 0:
            del holder[key]
        elif isinstance(holder, list) and random.randrange(4) == 0:
            holder.append(deepcopy(random.choice(HOSTILE)))
        else:
            holder[key] = deepcopy(random.choice(HOSTILE))
    return document


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield node, key
        yield from _places(value)


def body(documents: Sequence[Any], random: Random) -> bytes:
    """What an API might answer on a bad day."""
    good = random.choice(documents)
    match random.randrange(8):
        case 0:
            return mutate(json.dumps(good).encode(), random)
        case 1:
            return json.dumps(good).encode(random.choice(("utf-16", "utf-32", "utf-8-sig")))
        case 2:
            return random.choice(WHOLE)
        case 3:
            text = json.dumps(good)
            return f'{text[:-1]}, "id": 7, "id": "again"}}'.encode() if text.endswith("}") else random.randbytes(40)
        case _:
            return json.dumps(edit(good, random)).encode()
