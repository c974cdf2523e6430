"""HTTP conventions that both clients share: settings, retries, and the service's errors as exceptions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from patina.errors import ServiceError, ServiceUnavailableError

DEFAULT_URL = "http://127.0.0.1:8000"
PAGE_SIZE = 100
RETRY_DELAYS = (1.0, 4.0, 15.0)  # seconds before each retry
DATABASE_UNAVAILABLE = "database_unavailable"


def http_settings(url: str | None, token: str | None, timeout: float) -> dict[str, Any]:
    """Returns the arguments of `httpx.Client`. Unset values come from PATINA_API and PATINA_TOKEN."""
    base_url = httpx.URL((url or os.environ.get("PATINA_API") or DEFAULT_URL).rstrip("/"))
    token = token or os.environ.get("PATINA_TOKEN")
    return {
        "base_url": base_url,
        "timeout": timeout,
        "headers": {"Authorization": f"Bearer {token}"} if token else {},
        # A proxy from the environment cannot reach this computer's own addresses.
        "trust_env": base_url.host not in ("localhost", "127.0.0.1", "::1"),
    }


@contextmanager
def map_errors(url: httpx.URL) -> Iterator[None]:
    """Raises `ServiceUnavailableError` in place of httpx's connection errors."""
    service = str(url).rstrip("/")
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ServiceUnavailableError(
            f"Nothing answers at {service}. Start the service with: patina up", request_sent=False
        ) from error
    except httpx.TransportError as error:
        raise ServiceUnavailableError(f"The connection to {service} broke: {error or type(error).__name__}") from error


def raise_for_problem(response: httpx.Response) -> httpx.Response:
    """Returns a successful response; raises `ServiceError` for others, with the service's message if it has one.

    Raises `ServiceUnavailableError` if the service's database is unavailable: callers wait for both alike.
    """
    if response.is_success:
        return response
    try:
        problem = response.json()
        if problem["code"] == DATABASE_UNAVAILABLE:
            raise ServiceUnavailableError(problem["detail"])
        raise ServiceError(response.status_code, problem["code"], problem["detail"], problem)
    except (ValueError, KeyError, TypeError):
        request = response.request
        summary = f"{request.method} {request.url}: {response.status_code} {response.reason_phrase}"
        message = f"{summary}. Is that a Patina service?"
        raise ServiceError(response.status_code, "not_patina", message) from None


def drop_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Drops unset values, so that the service's defaults apply."""
    return {name: value for name, value in values.items() if value is not None}
