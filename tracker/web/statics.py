"""The files that pages need: style, script, icon. Read once; a browser that has one asks whether it is still the same."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Static:
    """One file: its bytes, content type, and an ETag made of what it holds."""

    body: bytes
    media_type: str
    etag: str


def load() -> Mapping[str, Static]:
    """All files of the folder `static` by name."""
    found = {}
    for entry in (files("tracker.web") / "static").iterdir():
        kind = TYPES.get("." + entry.name.rpartition(".")[2])
        if kind:
            body = entry.read_bytes()
            found[entry.name] = Static(body, kind, f'"{hashlib.sha256(body).hexdigest()[:20]}"')
    return found


def answer(static: Static, request: Request) -> Response:
    """The file, or 304 to a browser that has it."""
    headers = {"ETag": static.etag, "Cache-Control": "no-cache"}
    given = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if static.etag in given:
        return Response(status_code=304, headers=headers)
    return Response(static.body, headers=headers, media_type=static.media_type)
