"""What stands in for a token on loopback, where none is needed: only this computer's own programs may call.

A browser is such a program, and runs pages of strangers. By a name of its own that leads to 127.0.0.1 such a page could
read all (DNS rebinding), and by a form that it sends it could start and cancel jobs. Both show in headers that a page
cannot change.
"""

from __future__ import annotations

from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request

from app.http.problems import ProblemError
from config.settings import Settings

CHANGING = ("POST", "PUT", "PATCH", "DELETE")


def check_host(request: Request, settings: Settings) -> None:
    """Raises `ProblemError` (421) where the service was called by a name that is not its own."""
    name = _name("//" + request.headers.get("host", ""))
    if not (_is_here(name) or name in _allowed(settings)):
        raise ProblemError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "unknown_host",
            f"This service is not called {name!r}. Call it at 127.0.0.1 or localhost, or name it in "
            "PATINA_ALLOWED_HOSTS.",
        )


def check_origin(request: Request, settings: Settings) -> None:
    """Raises `ProblemError` (403) where a page of another site tries to change something."""
    origin = request.headers.get("origin")
    if request.method not in CHANGING or origin is None:
        return
    if _parts(origin).netloc != request.headers.get("host") and _name(origin) not in _allowed(settings):
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "other_site",
            f"A page of {origin} may not change anything here. Use the page of this service, or a program.",
        )


def _name(url: str) -> str:
    return _parts(url).hostname or ""


def _parts(url: str) -> SplitResult:
    """All of them empty where it is no URL."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _is_here(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _allowed(settings: Settings) -> list[str]:
    return [name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()]
