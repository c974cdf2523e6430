"""Tokens: keys to the API. Only the hash of a secret is kept, so that who reads the records cannot use them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from store.db.tables import Token, Webhook, now
from store.ids import new_id

SCOPES = ("read", "submit", "admin")  # each may do what those before it may
PREFIX = "patina"  # so that people, and programs that look for leaked secrets, know one when they see it
SECRET_BYTES = 32


@dataclass(frozen=True)
class NewToken:
    token: Token
    text: str  # what is sent with requests; shown once, for it cannot be found out again


class TokenRepository:
    def __init__(self, session: Session):
        self.session = session

    def create(self, name: str, scope: str) -> NewToken:
        token_id, secret = new_id(), secrets.token_urlsafe(SECRET_BYTES)
        token = Token(id=token_id, name=name, scope=scope, sha256=_hash(secret))
        self.session.add(token)
        self.session.flush()
        return NewToken(token, f"{PREFIX}_{token_id}_{secret}")

    def of(self, text: str) -> Token | None:
        """The token that `text` is; None where there is none, its secret is wrong, or it was revoked."""
        prefix, _, rest = text.partition("_")
        token_id, _, secret = rest.partition("_")
        token = self.session.get(Token, token_id) if prefix == PREFIX and token_id.isalnum() else None
        right = hmac.compare_digest(_hash(secret), token.sha256 if token else _hash(""))
        return token if token and right and token.revoked is None else None

    def all(self) -> Sequence[Token]:
        return self.session.scalars(select(Token).order_by(Token.id)).all()

    def any_valid(self) -> bool:
        return self.session.scalar(select(Token.id).where(Token.revoked.is_(None)).limit(1)) is not None

    def is_valid(self, token_id: str) -> bool:
        valid = select(Token.id).where(Token.id == token_id, Token.revoked.is_(None))
        return self.session.scalar(valid) is not None

    def revoke(self, token_id: str) -> bool:
        """From now on it opens nothing, and its webhooks are called no more; what else belongs to it stays.

        False if there is no such token.
        """
        self.session.execute(delete(Webhook).where(Webhook.owner == token_id))
        query = update(Token).where(Token.id == token_id, Token.revoked.is_(None)).values(revoked=now())
        self.session.execute(query)
        return self.session.get(Token, token_id, populate_existing=True) is not None


def _hash(secret: str) -> str:
    # One round of SHA-256 is enough, and it is fast: a slow hash protects passwords that can be guessed, and of 256
    # random bits nobody can try a share that matters.
    return hashlib.sha256(secret.encode()).hexdigest()
