"""A span of each request, which continues the trace of a client that sends `traceparent` (W3C Trace Context)."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.routes import find_route
from config.tracing import span


class RequestTraces:
    """ASGI middleware. Names and attributes are those of OpenTelemetry's semantic conventions for HTTP servers."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        attributes = {"http.request.method": method, "url.path": scope["path"]}
        traceparent = Headers(scope=scope).get("traceparent")
        with span(method, kind="server", traceparent=traceparent, attributes=attributes) as current:

            async def send_traced(message: Message) -> None:
                if message["type"] == "http.response.start" and current is not None:
                    route = find_route(scope)
                    current.update_name(f"{method} {route}")
                    current.set_attributes({"http.route": route, "http.response.status_code": message["status"]})
                await send(message)

            await self.app(scope, receive, send_traced)
