"""The door: decides who calls, and whether they may, before a body is read or an endpoint is looked for."""

from __future__ import annotations

from http import HTTPStatus

from anyio import to_thread
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth.csrf import check_host, check_origin
from app.auth.rate_limit import RateLimiter
from app.http.problems import ProblemError
from config.settings import Settings
from store.db.access import LOCAL, Caller
from store.db.tables import Token
from store.repositories.tokens import SCOPES, TokenRepository
from store.store import Store

# What tells nothing of anybody's: the page, its files, the documentation, and whether the service is well.
OPEN_PATHS = ("/", "/health", "/ready", "/docs", "/openapi.json")
OPEN_FOLDERS = ("/docs/", "/page/")
COOKIE = "patina_token"  # of the page, which cannot send headers for images and streams
READING = ("GET", "HEAD", "OPTIONS")


class AuthMiddleware:
    """ASGI middleware. Puts the `Caller` into the request's state."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app = app
        self.settings = settings
        self.rates = RateLimiter(settings) if settings.tokens_needed else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            try:
                request.state.caller = await self._admit(request)
            except ProblemError as refusal:
                await refusal.answer()(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _admit(self, request: Request) -> Caller:
        """Raises `ProblemError`."""
        if self.rates:
            self.rates.count_address(request.client.host if request.client else "")
        else:
            check_host(request, self.settings)
            check_origin(request, self.settings)
        if is_open(request.scope["path"]):  # what is routed by; a URL is put together from what the caller says
            return LOCAL
        text = _bearer(request)
        if text is None and (text := request.cookies.get(COOKIE)):
            check_origin(request, self.settings)  # a cookie comes along whoever makes the browser call
        if text is None:
            if self.settings.tokens_needed:
                raise _unauthorized("no_token", "This service needs a token: send it as 'Authorization: Bearer TOKEN'.")
            return LOCAL
        token = await to_thread.run_sync(_find, request.app.state.store, text)
        if token is None:
            raise _unauthorized("invalid_token", "The token is not one of this service's, or was revoked.")
        if self.rates:
            self.rates.count_token(token.id)
        _require_scope(token, "read" if request.method in READING else "submit")
        return Caller(token.id, sees_all=token.scope == "admin")


def is_open(path: str) -> bool:
    """Whether anybody may call it."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


def _bearer(request: Request) -> str | None:
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() if kind.lower() == "bearer" else None


def _find(store: Store, text: str) -> Token | None:
    with store.database.read() as session:
        return TokenRepository(session).of(text)


def _require_scope(token: Token, needed: str) -> None:
    if SCOPES.index(token.scope) < SCOPES.index(needed):
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "insufficient_scope",
            f"The token {token.name!r} may only {token.scope}; this call needs one that may {needed}.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'},
        )


def _unauthorized(code: str, detail: str) -> ProblemError:
    words = f"{detail} Who runs the service makes one with: patina token create NAME"
    challenge = "Bearer" if code == "no_token" else 'Bearer error="invalid_token"'
    return ProblemError(HTTPStatus.UNAUTHORIZED, code, words, headers={"WWW-Authenticate": challenge})
