"""Queries on resumable uploads."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from store.db.access import caller_of
from store.db.statements import execute_counted
from store.db.tables import Upload, now
from store.ids import new_id


@dataclass(frozen=True)
class DatasetTarget:
    """The dataset that the file's images are for, as real (lr) or clean (hr) ones."""

    dataset_id: str
    role: str


@dataclass(frozen=True)
class InputsTarget:
    """The inputs whose part with this number the file is."""

    inputs_id: str
    number: int


class UploadRepository:
    def __init__(self, session: Session):
        self.session = session

    def create(
        self, target: DatasetTarget | InputsTarget, *, name: str, metadata: str, length: int, retention_seconds: float
    ) -> Upload:
        upload = Upload(
            id=new_id(),
            **asdict(target),
            owner=caller_of(self.session).token,
            name=name,
            upload_metadata=metadata,
            length=length,
            expires_at=now() + retention_seconds,
        )
        self.session.add(upload)
        self.session.flush()
        self.session.refresh(upload, ["expires_at"])
        return upload

    def get(self, upload_id: str) -> Upload | None:
        return self.session.get(Upload, upload_id, populate_existing=True)

    def set_received(self, upload_id: str, received: int, retention_seconds: float) -> bool:
        """Records how many bytes are on disk. False if the upload is gone."""
        return self._update(upload_id, received=received, expires_at=now() + retention_seconds)

    def complete(
        self, upload_id: str, retention_seconds: float, *, result: dict[str, Any] | None, problem: dict[str, Any] | None
    ) -> bool:
        """Records the `result` or the `problem` of a whole, validated upload. False if the upload is gone."""
        expires_at = now() + retention_seconds
        return self._update(upload_id, result=result, problem=problem, completed_at=now(), expires_at=expires_at)

    def delete(self, upload_id: str) -> None:
        self.session.execute(delete(Upload).where(Upload.id == upload_id))

    def expire(self) -> list[str]:
        """Deletes uploads that are past their expiry and returns their ids."""
        return list(self.session.scalars(delete(Upload).where(Upload.expires_at < now()).returning(Upload.id)))

    def incomplete_ids(self) -> set[str]:
        """Returns the ids of uploads that are not whole or not validated yet."""
        return set(self.session.scalars(select(Upload.id).where(Upload.completed_at.is_(None))))

    def _update(self, upload_id: str, **changes: Any) -> bool:
        return bool(execute_counted(self.session, update(Upload).where(Upload.id == upload_id).values(**changes)))
