"""Counts the bytes that each token sends, for its limit a day."""

from __future__ import annotations

from starlette.types import Scope

from app.http.body_limit import SCOPE_KEY, Body
from app.jobs.limits import check_received_bytes
from config.settings import Settings
from store.repositories.usage import UsageRepository
from store.store import Store


def check_bytes(store: Store, settings: Settings, token: str) -> None:
    """Raises `ProblemError` (429) if the token has sent too much."""
    with store.database.read() as session:
        check_received_bytes(session, settings, token)


def count_bytes(store: Store, scope: Scope, token: str) -> None:
    """Counts what arrived of a request's body, whether it was accepted or not."""
    body: Body = scope[SCOPE_KEY]
    if body.received:
        with store.database.write() as session:
            UsageRepository(session).add(token, received_bytes=body.received)
