"""Statements that several repositories share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, CursorResult, Delete, Update, func, select
from sqlalchemy.orm import Session

from store.db.tables import Dataset, Delivery, Job, Model, Webhook

Record = TypeVar("Record", Dataset, Delivery, Job, Model, Webhook)


def execute_counted(session: Session, statement: Update | Delete) -> int:
    """Executes the statement and returns the number of rows. Objects of the session are not updated."""
    result = session.execute(statement, execution_options={"synchronize_session": False})
    assert isinstance(result, CursorResult)
    return int(result.rowcount)


def lock_globally(session: Session, number: int) -> None:
    """Waits for other transactions that called this with the same number, and blocks later ones until the end.

    On SQLite a `write` is alone anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(number)))


def list_newest(
    session: Session, table: type[Record], *conditions: ColumnElement[bool], before: str | None, limit: int
) -> Sequence[Record]:
    """Returns at most `limit` records, the newest first: those with an id below `before`, if that is given."""
    query = select(table).where(*conditions).order_by(table.id.desc()).limit(limit)
    if before is not None:
        query = query.where(table.id < before)
    return session.scalars(query).all()
