"""Queries on requests that may be sent again: what each has made, so that it is not made twice."""

from __future__ import annotations

import hashlib
from typing import TypeVar

from sqlalchemy import CursorResult, delete
from sqlalchemy.orm import Session

from store.db.access import caller_of
from store.db.tables import Dataset, Job, Request, now

Made = TypeVar("Made", Job, Dataset)


class OtherRequestError(ValueError):
    """The key was used with another request."""


class RequestRepository:
    def __init__(self, session: Session):
        self.session = session

    def is_known(self, key: str) -> bool:
        return self.session.get(Request, self._own(key)) is not None

    def made(self, key: str, digest: str, kind: type[Made]) -> Made | None:
        """What the request has made, if it came before. Raises `OtherRequestError` where another had this key."""
        request = self.session.get(Request, self._own(key), populate_existing=True)
        if request is None:
            return None
        if request.digest != digest:
            raise OtherRequestError(key)
        return self.session.get(kind, request.job_id if kind is Job else request.dataset_id)

    def keep(self, key: str, digest: str, record: Job | Dataset) -> None:
        """Raises `DuplicateError` where a `savepoint` around it ends, if a request had this key before."""
        made = {"job_id": record.id} if isinstance(record, Job) else {"dataset_id": record.id}
        self.session.add(Request(key=self._own(key), digest=digest, **made))

    def _own(self, key: str) -> str:
        """Two tokens may have the same key, and neither learns of the other's."""
        token = caller_of(self.session).token
        return key if token is None else hashlib.sha256(f"{token} {key}".encode()).hexdigest()

    def forget_older(self, seconds: float) -> int:
        """Gives the number of keys that may be used anew."""
        result = self.session.execute(delete(Request).where(Request.created < now() - seconds))
        assert isinstance(result, CursorResult)
        return int(result.rowcount)
