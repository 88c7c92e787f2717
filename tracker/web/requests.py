"""Every request is logged once, has an id, and gets an answer even where the application breaks."""

import re
import secrets
import time
from typing import Any

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tracker.web.answers import failure

log = structlog.get_logger(__name__)

QUIET_PATHS = frozenset({"/healthcheck", "/health", "/livez", "/readyz", "/metrics"})
"""What machines ask every few seconds: logged at DEBUG."""

_REQUEST_ID = re.compile(r"[!-~]{1,200}")


class RequestLog:
    """ASGI middleware: takes over `X-Request-Id` or makes one, logs event `request`, turns what escapes into a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(10)
        started_s, status = time.monotonic(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            with structlog.contextvars.bound_contextvars(request_id=request_id):
                await self._app(scope, receive, answer)
        except Exception:
            log.exception("request_broke", path=scope["path"], request_id=request_id)
            if not status:
                await failure(500, f"internal error; the log has it under request id {request_id}")(scope, receive, answer)
        finally:
            fields: dict[str, Any] = {
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "duration_ms": round((time.monotonic() - started_s) * 1000, 1),
                "request_id": request_id,
            }
            (log.debug if scope["path"] in QUIET_PATHS else log.info)("request", **fields)
