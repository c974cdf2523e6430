"""The path below which a reverse proxy serves the service, such as `/patina` in https://host/patina/.

Inside, paths have no prefix. It is removed from requests here, unless the proxy has done so, and added to the links of
responses.
"""

from __future__ import annotations

from contextvars import ContextVar
from http import HTTPStatus

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_prefix = ContextVar("root_path", default="")


def link(path: str) -> str:
    """Returns the public path of `path`, which starts with a slash."""
    return _prefix.get() + path


class RootPath:
    """ASGI middleware, outside of all others. The prefix comes from the settings, never from a request's headers."""

    def __init__(self, app: ASGIApp, prefix: str):
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        _prefix.set(self.prefix)
        path: str = scope["path"]
        if path == self.prefix:  # the page's relative links need the slash
            await RedirectResponse(f"{path}/", HTTPStatus.PERMANENT_REDIRECT)(scope, receive, send)
            return
        if path.startswith(f"{self.prefix}/"):
            scope = {**scope, "path": path.removeprefix(self.prefix)}
            scope["raw_path"] = scope.get("raw_path", b"").removeprefix(self.prefix.encode())
        await self.app(scope, receive, send)
