"""Queries on uploads: what of a file has come, and what became of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.orm import Session

from store.db.access import caller_of
from store.db.tables import Upload, now
from store.ids import new_id


class UploadRepository:
    def __init__(self, session: Session):
        self.session = session

    def create(
        self, dataset_id: str, role: str, *, name: str, metadata: str, length: int, keep_seconds: float
    ) -> Upload:
        upload = Upload(
            id=new_id(),
            dataset_id=dataset_id,
            owner=caller_of(self.session).token,
            role=role,
            name=name,
            description=metadata,
            length=length,
            expires=now() + keep_seconds,
        )
        self.session.add(upload)
        self.session.flush()
        self.session.refresh(upload, ["expires"])
        return upload

    def get(self, upload_id: str) -> Upload | None:
        return self.session.get(Upload, upload_id, populate_existing=True)

    def receive(self, upload_id: str, received: int, keep_seconds: float) -> bool:
        """So much of it has come and is on disk. False where it is gone."""
        return self._update(upload_id, received=received, expires=now() + keep_seconds)

    def conclude(
        self, upload_id: str, keep_seconds: float, *, result: dict[str, Any] | None, problem: dict[str, Any] | None
    ) -> bool:
        """All of it has come and was looked at; `result` or `problem` is what is answered. False where it is gone."""
        return self._update(upload_id, result=result, problem=problem, concluded=now(), expires=now() + keep_seconds)

    def delete(self, upload_id: str) -> None:
        self.session.execute(delete(Upload).where(Upload.id == upload_id))

    def expire(self) -> list[str]:
        """Deletes those that nobody has gone on with for long enough; gives their ids."""
        return list(self.session.scalars(delete(Upload).where(Upload.expires < now()).returning(Upload.id)))

    def unconcluded(self) -> set[str]:
        """The ids of all of which something is still to come or to be looked at."""
        return set(self.session.scalars(select(Upload.id).where(Upload.concluded.is_(None))))

    def _update(self, upload_id: str, **changes: Any) -> bool:
        statement = update(Upload).where(Upload.id == upload_id).values(**changes)
        result = self.session.execute(statement, execution_options={"synchronize_session": False})
        assert isinstance(result, CursorResult)
        return bool(result.rowcount)
