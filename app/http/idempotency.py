"""Requests that may be sent again: with an `Idempotency-Key`, what one makes is made once, however often it comes.

The key and the record are written in one transaction. So it does not matter whether the answer to the first request was
lost, whether both come at the same time, or whether the service died between them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import Header
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.http.problems import ProblemError
from app.ingest.files import ReceivedFile
from store.repositories.idempotency import Made, OtherRequestError, RequestRepository

LONGEST_KEY = 255

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_KEY,
        description="Any text that no other request has, such as a random UUID. The same request with the same key is "
        "answered with what the first one made, as it is now; another request with it is refused with 422 and the code "
        "`idempotency_key_reused`. A request that was refused leaves its key free.",
    ),
]


@dataclass(frozen=True)
class Once:
    """What a request asks for, as a digest, and the key that it carries, if any."""

    key: str | None
    digest: str

    @classmethod
    def of(cls, key: str | None, *wanted: object) -> Once:
        """`wanted` is the whole request, in what JSON can say."""
        text = json.dumps(wanted, sort_keys=True)
        return cls(_plain(key), hashlib.sha256(text.encode()).hexdigest())

    def made_before(self, session: Session, kind: type[Made]) -> Made | None:
        """Raises `ProblemError` (422) where another request had this key."""
        if self.key is None:
            return None
        try:
            return RequestRepository(session).made(self.key, self.digest, kind)
        except OtherRequestError as error:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                f"The Idempotency-Key {self.key!r} came with another request before. Give each request a key of its "
                "own, and send exactly the same again when you repeat one.",
            ) from error

    def make(self, session: Session, kind: type[Made], make: Callable[[], Made]) -> tuple[Made, bool]:
        """What the same request made before, or what `make` makes now; and whether it is new.

        To be called in a `write`. Raises `ProblemError` as `made_before` does, and whatever `make` raises.
        """
        if before := self.made_before(session, kind):
            return before, False
        try:
            with session.begin_nested():
                record = make()
                if self.key is not None:
                    RequestRepository(session).keep(self.key, self.digest, record)
        except IntegrityError:
            if before := self.made_before(session, kind):  # the same request, at the same moment, was quicker
                return before, False
            raise
        return record, True


def came_before(session: Session, key: str | None) -> bool:
    """Whether a request had this key, be it the same or another."""
    plain = _plain(key)
    return plain is not None and RequestRepository(session).is_known(plain)


def _plain(key: str | None) -> str | None:
    """Quotes, which the header's draft standard asks for and few send, are no part of the key."""
    return key.strip('"') if key else None


def content(files: Sequence[ReceivedFile]) -> list[tuple[str, str]]:
    """Files in what JSON can say."""
    return [(file.name, file.sha256) for file in files]
