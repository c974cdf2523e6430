"""Answers HEAD for every GET, and a GET whose response the client has already with 304."""

from __future__ import annotations

from http import HTTPStatus

from anyio import CancelScope
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Headers of the response that a 304 leaves out: they describe the body.
OF_THE_BODY = (b"content-length", b"content-type", b"content-disposition")


class SafeMethods:
    """ASGI middleware. As soon as the headers are known, it stops the endpoint, so nothing is read for no body."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["type"] == "http" else None
        if method == "HEAD":
            if not await self._send_headers(scope, receive, send, unless=HTTPStatus.METHOD_NOT_ALLOWED):
                await self._send_headers({**scope, "method": "GET"}, receive, send)
        elif method == "GET" and "if-none-match" in Headers(scope=scope):
            await self._get(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _send_headers(self, scope: Scope, receive: Receive, send: Send, unless: HTTPStatus | None = None) -> bool:
        """Sends a response without its body. Returns False, and sends nothing, if it has the status `unless`."""
        sent = False

        async def send_headers(message: Message) -> None:
            nonlocal sent
            if message["type"] == "http.response.start":
                if message["status"] != unless:
                    await send(_to_not_modified(scope, message))
                    await send({"type": "http.response.body"})
                    sent = True
                cancel.cancel()

        with CancelScope() as cancel:
            await self.app(scope, receive, send_headers)
        return sent

    async def _get(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unless_fresh(message: Message) -> None:
            if message["type"] == "http.response.start":
                changed = _to_not_modified(scope, message)
                await send(changed)
                if changed["status"] == HTTPStatus.NOT_MODIFIED:
                    await send({"type": "http.response.body"})
                    cancel.cancel()
            elif not cancel.cancel_called:
                await send(message)

        with CancelScope() as cancel:
            await self.app(scope, receive, send_unless_fresh)


def _to_not_modified(scope: Scope, start: Message) -> Message:
    """Returns the start of a 304 response if the client has the entity that this response would send."""
    etag = Headers(raw=start["headers"]).get("etag")
    known = Headers(scope=scope).get("if-none-match")
    if start["status"] not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT) or etag is None or known is None:
        return start
    tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
    if "*" not in tags and etag.removeprefix("W/") not in tags:
        return start
    headers = [(name, value) for name, value in start["headers"] if name.lower() not in OF_THE_BODY]
    return {**start, "status": int(HTTPStatus.NOT_MODIFIED), "headers": headers}
