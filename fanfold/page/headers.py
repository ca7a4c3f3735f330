"""What every answer says to a browser, and which names the page answers under."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; "  # places of lines and labels stand on the elements
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SecureHeaders:
    """Lets a browser load nothing from elsewhere, and nobody frame the page.

    On the loopback interface any page of the web could have its visitor's browser ask this one
    under a name of its own that leads here. So requests under other names than `hosts` are refused.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None) -> None:
        """Wrap an application; None lets all names pass."""
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        name = Headers(scope=scope).get("host", "").rpartition(":")[0]
        if self._hosts is not None and name not in self._hosts:
            allowed = ", ".join(sorted(self._hosts))
            answer = PlainTextResponse(f"this page answers as {allowed} alone\n", 421)
            await answer(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)
