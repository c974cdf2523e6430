"""Queries on idempotency keys: what a request created, so that its repetition creates nothing twice."""

from __future__ import annotations

import hashlib
from typing import TypeVar

from sqlalchemy import delete
from sqlalchemy.orm import Session

from store.db.access import caller_of
from store.db.statements import execute_counted
from store.db.tables import Dataset, IdempotencyKey, Job, now

Created = TypeVar("Created", Job, Dataset)


class KeyReusedError(ValueError):
    """The key came with a different request before."""


class IdempotencyRepository:
    def __init__(self, session: Session):
        self.session = session

    def exists(self, key: str) -> bool:
        return self.session.get(IdempotencyKey, self._scoped(key)) is not None

    def find(self, key: str, digest: str, kind: type[Created]) -> Created | None:
        """Returns what the same request created earlier. Raises `KeyReusedError` if another request had this key."""
        known = self.session.get(IdempotencyKey, self._scoped(key), populate_existing=True)
        if known is None:
            return None
        if known.digest != digest:
            raise KeyReusedError(key)
        return self.session.get(kind, known.job_id if kind is Job else known.dataset_id)

    def save(self, key: str, digest: str, record: Job | Dataset) -> None:
        """Saves what the request created. A `savepoint` around it raises `DuplicateError` if the key exists."""
        created = {"job_id": record.id} if isinstance(record, Job) else {"dataset_id": record.id}
        self.session.add(IdempotencyKey(key=self._scoped(key), digest=digest, **created))

    def _scoped(self, key: str) -> str:
        """Two tokens may use the same key without seeing each other's."""
        token = caller_of(self.session).token
        return key if token is None else hashlib.sha256(f"{token} {key}".encode()).hexdigest()

    def purge(self, seconds: float) -> int:
        """Deletes keys older than `seconds` and returns their number."""
        return execute_counted(self.session, delete(IdempotencyKey).where(IdempotencyKey.created_at < now() - seconds))
