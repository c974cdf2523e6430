"""Protects a service without tokens on loopback: only programs of this computer may call it.

A browser is such a program, and it runs pages of strangers. A page whose name resolves to 127.0.0.1 could read
everything (DNS rebinding). A page that submits a form could start and cancel jobs (CSRF). Both show in headers that a
page cannot change.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request

from app.http.problems import ProblemError
from config.settings import Settings

UNSAFE_METHODS = ("POST", "PUT", "PATCH", "DELETE")


def check_host(request: Request, settings: Settings) -> None:
    """Raises `ProblemError` (421) if the Host header names neither loopback nor an allowed host."""
    host = _hostname("//" + request.headers.get("host", ""))
    if not (_is_loopback(host) or host in _allowed_hosts(settings)):
        raise ProblemError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "unknown_host",
            f"Unknown host {host!r}. Use 127.0.0.1 or localhost, or add the name to PATINA_ALLOWED_HOSTS.",
        )


def check_origin(request: Request, settings: Settings, allowed: Sequence[str] = ()) -> None:
    """Raises `ProblemError` (403) if a page of another site, not of an `allowed` origin, tries to change something."""
    origin = request.headers.get("origin")
    if request.method not in UNSAFE_METHODS or origin is None or origin in allowed:
        return
    if _split(origin).netloc != request.headers.get("host") and _hostname(origin) not in _allowed_hosts(settings):
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "cross_origin",
            f"A page of {origin} may not change anything here. Use this service's own page, or a program.",
        )


def _hostname(url: str) -> str:
    return _split(url).hostname or ""


def _split(url: str) -> SplitResult:
    """Splits a URL; all parts are empty if it is invalid."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _allowed_hosts(settings: Settings) -> list[str]:
    return [name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()]
