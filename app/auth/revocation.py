"""Checks that a token is still valid: streams are long, and a token may be revoked during one."""

from __future__ import annotations

from http import HTTPStatus

from app.http.problems import ProblemError
from store.db.access import caller_of
from store.db.database import Session
from store.repositories.tokens import TokenRepository


def require_valid(session: Session) -> None:
    """Raises `ProblemError` (401) if the token of the session's caller was revoked."""
    token = caller_of(session).token
    if token is not None and not TokenRepository(session).is_valid(token):
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "invalid_token",
            "The token was revoked. Create another one: patina token create NAME",
        )
