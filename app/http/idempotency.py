"""Idempotent requests: with an `Idempotency-Key`, a repeated request returns the record that the first one created.

The key and the record are written in one transaction. A lost response, two requests at the same time or a crash
between them therefore never create a duplicate.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header
from pydantic import BaseModel

from app.http.problems import ProblemError
from store.db.database import Session, savepoint
from store.errors import DuplicateError
from store.repositories.idempotency import Created, IdempotencyRepository, KeyReusedError

MAX_KEY_CHARS = 255

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY_CHARS,
        description="A unique text, such as a random UUID. Retrying a request with the same key never creates a "
        "duplicate: the response shows what the first request created, in its current state. A different request with "
        "the same key is rejected with 422 and the code `idempotency_key_reused`. A rejected request does not use up "
        "its key.",
    ),
]


@dataclass(frozen=True)
class IdempotentRequest:
    """The digest of a request and its key, if it has one."""

    key: str | None
    digest: str

    @classmethod
    def create(cls, key: str | None, *content: object) -> IdempotentRequest:
        """`content` is the whole request as JSON values."""
        text = json.dumps(content, sort_keys=True)
        return cls(_strip_quotes(key), hashlib.sha256(text.encode()).hexdigest())

    def find_existing(self, session: Session, kind: type[Created]) -> Created | None:
        """Returns what the same request created before. Raises `ProblemError` (422) if another request had this key."""
        if self.key is None:
            return None
        try:
            return IdempotencyRepository(session).find(self.key, self.digest, kind)
        except KeyReusedError as error:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                f"The Idempotency-Key {self.key!r} was used with a different request. Use a new key for each request, "
                "and repeat a request without changes.",
            ) from error

    def get_or_create(
        self, session: Session, kind: type[Created], create: Callable[[], Created]
    ) -> tuple[Created, bool]:
        """Returns the record and whether it is new. `session` must be a `write` session.

        Raises the errors of `find_existing` and of `create`.
        """
        if existing := self.find_existing(session, kind):
            return existing, False
        try:
            with savepoint(session):
                record = create()
                if self.key is not None:
                    IdempotencyRepository(session).save(self.key, self.digest, record)
        except DuplicateError:
            if existing := self.find_existing(session, kind):  # the same request won the race
                return existing, False
            raise
        return record, True


def describe_payload(payload: BaseModel, added_later: Collection[str]) -> dict[str, Any]:
    """Returns a payload for a request's digest.

    Fields that were added after keys were first stored count only if they are set. So a request that was sent before an
    update of the service, and is repeated after it, still finds what it created.
    """
    values = payload.model_dump(mode="json")
    fields = type(payload).model_fields
    unset = {name for name in added_later if getattr(payload, name) == fields[name].default}
    return {name: value for name, value in values.items() if name not in unset}


def is_replay(session: Session, key: str | None) -> bool:
    """Tells whether a request, the same or another, had this key before."""
    plain = _strip_quotes(key)
    return plain is not None and IdempotencyRepository(session).exists(plain)


def _strip_quotes(key: str | None) -> str | None:
    """Removes the quotes that the header's draft standard requires and few clients send."""
    return key.strip('"') if key else None
