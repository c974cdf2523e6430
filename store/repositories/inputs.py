"""Queries on inputs: files of a job that is not submitted yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Row, delete, select, update
from sqlalchemy.orm import Session

from store.db.access import caller_of
from store.db.statements import execute_counted
from store.db.tables import InputPart, Inputs, now
from store.ids import new_id


class InputsRepository:
    def __init__(self, session: Session):
        self.session = session

    def create(self, key: str | None, retention_seconds: float) -> Inputs:
        inputs = Inputs(id=new_id(), owner=caller_of(self.session).token, key=key, expires_at=now() + retention_seconds)
        self.session.add(inputs)
        self.session.flush()
        self.session.refresh(inputs)
        return inputs

    def get(self, inputs_id: str) -> Inputs | None:
        return self.session.scalar(select(Inputs).where(Inputs.id == inputs_id))

    def find(self, key: str) -> Inputs | None:
        """Returns the newest of the caller's own inputs with this key."""
        owner = caller_of(self.session).token
        query = select(Inputs).where(Inputs.key == key, Inputs.owner.is_not_distinct_from(owner))
        return self.session.scalar(query.order_by(Inputs.id.desc()).limit(1))

    def list_parts(self, inputs_id: str) -> Sequence[Row[int, str | None, int]]:
        """Returns (number, digest, num_files) of each part, in order."""
        columns = InputPart.number, InputPart.digest, InputPart.count.label("num_files")
        return self.session.execute(
            select(*columns).where(InputPart.inputs_id == inputs_id).order_by(InputPart.number)
        ).all()

    def list_files(self, inputs_id: str) -> Iterator[list[dict[str, Any]]]:
        """Yields the files of each part, in order."""
        yield from self.session.scalars(
            select(InputPart.files).where(InputPart.inputs_id == inputs_id).order_by(InputPart.number)
        )

    def put_part(self, inputs_id: str, number: int, digest: str | None, files: list[dict[str, Any]]) -> None:
        """Adds a part, or replaces it. Each file has a `sha256`, or a `code` if it was rejected."""
        part = (InputPart.inputs_id == inputs_id) & (InputPart.number == number)
        self.session.execute(delete(InputPart).where(part))
        self.session.add(InputPart(inputs_id=inputs_id, number=number, digest=digest, count=len(files), files=files))
        self.session.flush()

    def prolong(self, inputs_id: str, retention_seconds: float) -> None:
        self.session.execute(update(Inputs).where(Inputs.id == inputs_id).values(expires_at=now() + retention_seconds))

    def delete(self, inputs_id: str) -> bool:
        """Returns whether they existed."""
        return bool(execute_counted(self.session, delete(Inputs).where(Inputs.id == inputs_id)))

    def expire(self) -> list[str]:
        """Deletes inputs that are past their expiry and returns their ids."""
        return list(self.session.scalars(delete(Inputs).where(Inputs.expires_at < now()).returning(Inputs.id)))
