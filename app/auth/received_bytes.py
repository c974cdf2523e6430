"""Limits the bytes that each token sends within a day."""

from __future__ import annotations

from http import HTTPStatus

from starlette.types import Scope

from app.http.body_limit import SCOPE_KEY, Body
from app.http.problems import ProblemError
from store.repositories.usage import UsageRepository
from store.store import Store

RETRY_SECONDS = 3600  # usage is counted by the hour


def check_bytes(store: Store, limit: int, token: str) -> None:
    """Raises `ProblemError` (429) if the token has sent `limit` bytes within 24 hours."""
    with store.database.read() as session:
        received = UsageRepository(session).received_bytes(token)
    if received >= limit:
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "token_bytes_used",
            f"This token has sent {received:,} bytes within 24 hours, and may send {limit:,}. Retry later, or ask the "
            "operator to raise PATINA_TOKEN_BYTES_PER_DAY.",
            headers={"Retry-After": str(RETRY_SECONDS)},
        )


def count_bytes(store: Store, scope: Scope, token: str) -> None:
    """Counts what arrived of a request's body, whether it was accepted or not."""
    body: Body = scope[SCOPE_KEY]
    if body.received:
        with store.database.write() as session:
            UsageRepository(session).add(token, received_bytes=body.received)
