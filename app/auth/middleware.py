"""Authenticates every request before its body is read and before it is routed."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from anyio import CancelScope, to_thread
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth.csrf import check_host, check_origin
from app.auth.received_bytes import check_bytes, count_bytes
from app.http.problems import ProblemError
from config.settings import Settings
from store.db.access import LOCAL, Caller
from store.db.tables import Token
from store.repositories.tokens import SCOPES, TokenRepository
from store.store import Store

if TYPE_CHECKING:
    from app.auth.rate_limit import RateLimiter

# Public paths show no records: the page, its files, the documentation, and whether the service works.
PUBLIC_PATHS = ("/", "/health", "/health/workers", "/ready", "/docs", "/openapi.json")
PUBLIC_PREFIXES = ("/docs/", "/page/")
COOKIE = "patina_token"  # for the page, which cannot send headers with images and event streams
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class AuthMiddleware:
    """ASGI middleware. Stores the `Caller` in the request's state."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app = app
        self.settings = settings
        self.rate_limiter: RateLimiter | None = None
        if settings.tokens_needed:
            # Its library takes a tenth of a second to import, which the start on one computer does not need.
            from app.auth.rate_limit import RateLimiter  # noqa: PLC0415

            self.rate_limiter = RateLimiter(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            try:
                request.state.caller = await self._authenticate(request)
            except ProblemError as error:
                await error.to_response()(scope, receive, send)
                return
            limit, token = self.settings.token_bytes_per_day, request.state.caller.token
            if limit is not None and token is not None and request.method not in SAFE_METHODS:
                await self._call_counted(request, limit, token, receive, send)
                return
        await self.app(scope, receive, send)

    async def _call_counted(self, request: Request, limit: int, token: str, receive: Receive, send: Send) -> None:
        """Counts the bytes of the body as the token's."""
        store: Store = request.app.state.store
        try:
            await to_thread.run_sync(check_bytes, store, limit, token)
        except ProblemError as error:
            await error.to_response()(request.scope, receive, send)
            return
        try:
            await self.app(request.scope, receive, send)
        finally:
            with CancelScope(shield=True):  # also when the client went away
                await to_thread.run_sync(count_bytes, store, request.scope, token)

    async def _authenticate(self, request: Request) -> Caller:
        """Raises `ProblemError` (401, 403, 421 or 429) if the request is not allowed."""
        if self.rate_limiter:
            await self.rate_limiter.count_address(request.client.host if request.client else "")
        else:
            check_host(request, self.settings)
            check_origin(request, self.settings, self.settings.allowed_origins)
        if is_public(request.scope["path"]):  # the path that routing uses; the client influences request.url
            return LOCAL
        secret = _bearer(request)
        if secret is None and (secret := request.cookies.get(COOKIE)):
            check_origin(request, self.settings)  # browsers send the cookie with requests of any page
        if secret is None:
            if self.settings.tokens_needed:
                raise _unauthorized("no_token", "A token is required: send 'Authorization: Bearer TOKEN'.")
            return LOCAL
        token = await to_thread.run_sync(_verify, request.app.state.store, secret)
        if token is None:
            raise _unauthorized("invalid_token", "The token is unknown or was revoked.")
        if self.rate_limiter:
            await self.rate_limiter.count_token(token.id)
        _require_scope(token, "read" if request.method in SAFE_METHODS else "submit")
        return Caller(token.id, is_admin=token.scope == "admin")


def is_public(path: str) -> bool:
    """Tells whether a path needs no token."""
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES)


def _bearer(request: Request) -> str | None:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def _verify(store: Store, secret: str) -> Token | None:
    with store.database.read() as session:
        return TokenRepository(session).verify(secret)


def _require_scope(token: Token, needed: str) -> None:
    if SCOPES.index(token.scope) < SCOPES.index(needed):
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "insufficient_scope",
            f"The token {token.name!r} has the scope {token.scope}; this call needs {needed}.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'},
        )


def _unauthorized(code: str, detail: str) -> ProblemError:
    detail = f"{detail} The operator creates one with: patina token create NAME"
    challenge = "Bearer" if code == "no_token" else 'Bearer error="invalid_token"'
    return ProblemError(HTTPStatus.UNAUTHORIZED, code, detail, headers={"WWW-Authenticate": challenge})
