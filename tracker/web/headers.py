"""What a browser may do with our answers: load nothing from elsewhere, run no script in a page, put us in no frame."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    # Styles, scripts and events come from this process alone. What stands in a page is never run: ids and reasons are others' text.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",  # JSON that holds others' text is never taken for a page
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "Referrer-Policy": "no-referrer",  # ids of instances stay here
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # what is shown is true now
}
"""Set on every answer that does not set them itself."""


class SecurityHeaders:
    """ASGI middleware: adds `HEADERS` to each answer, errors included. A stream passes through as it comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, answer)
