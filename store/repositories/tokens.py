"""API tokens. The database holds hashes of their secrets, so nobody who reads it can use them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from store.db.statements import lock_globally
from store.db.tables import Token, Webhook, now
from store.ids import new_id

SCOPES = ("read", "submit", "admin")  # each scope includes those before it
PREFIX = "patina"  # people, and scanners for leaked secrets, recognize a token by it
SECRET_BYTES = 32
CREATION_LOCK = 0x70617474  # any number that no other lock has


@dataclass(frozen=True)
class NewToken:
    token: Token
    secret: str  # the whole text that a request carries; it is shown once and cannot be recovered


class TokenRepository:
    def __init__(self, session: Session):
        self.session = session

    def create(self, name: str, scope: str, max_priority: int = 0) -> NewToken:
        token_id, secret = new_id(), secrets.token_urlsafe(SECRET_BYTES)
        token = Token(id=token_id, name=name, scope=scope, max_priority=max_priority, sha256=_hash(secret))
        self.session.add(token)
        self.session.flush()
        return NewToken(token, f"{PREFIX}_{token_id}_{secret}")

    def lock_creation(self) -> None:
        """Blocks other callers of this method until the transaction ends, so that one of them creates the first."""
        lock_globally(self.session, CREATION_LOCK)

    def verify(self, secret: str) -> Token | None:
        """Returns the token with this secret; None if it does not exist, the secret is wrong or it was revoked."""
        prefix, _, rest = secret.partition("_")
        token_id, _, key = rest.partition("_")
        token = self.session.get(Token, token_id) if prefix == PREFIX and token_id.isalnum() else None
        correct = hmac.compare_digest(_hash(key), token.sha256 if token else _hash(""))
        return token if token and correct and token.revoked_at is None else None

    def list_all(self) -> Sequence[Token]:
        return self.session.scalars(select(Token).order_by(Token.id)).all()

    def get_max_priority(self, token_id: str) -> int:
        """Returns the highest priority that the token's requests may have."""
        return self.session.scalar(select(Token.max_priority).where(Token.id == token_id)) or 0

    def any_valid(self) -> bool:
        return self.session.scalar(select(Token.id).where(Token.revoked_at.is_(None)).limit(1)) is not None

    def is_valid(self, token_id: str) -> bool:
        valid = select(Token.id).where(Token.id == token_id, Token.revoked_at.is_(None))
        return self.session.scalar(valid) is not None

    def revoke(self, token_id: str) -> bool:
        """Revokes the token and deletes its webhooks; its other records stay. False if it does not exist."""
        self.session.execute(delete(Webhook).where(Webhook.owner == token_id))
        query = update(Token).where(Token.id == token_id, Token.revoked_at.is_(None)).values(revoked_at=now())
        self.session.execute(query)
        return self.session.get(Token, token_id, populate_existing=True) is not None


def _hash(secret: str) -> str:
    # A slow hash protects passwords that can be guessed. Nobody guesses 256 random bits, so one SHA-256 is enough.
    return hashlib.sha256(secret.encode()).hexdigest()
