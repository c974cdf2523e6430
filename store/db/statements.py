"""Statements that several repositories share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, CursorResult, Delete, Update, func, insert, select
from sqlalchemy.orm import Session

from store.db.tables import Dataset, Delivery, Image, Item, Job, Model, Webhook

INSERT_BATCH = 5000  # rows in one statement

Record = TypeVar("Record", Dataset, Delivery, Job, Model, Webhook)


def execute_counted(session: Session, statement: Update | Delete) -> int:
    """Executes the statement and returns the number of rows. Objects of the session are not updated."""
    result = session.execute(statement, execution_options={"synchronize_session": False})
    assert isinstance(result, CursorResult)
    return int(result.rowcount)


def insert_rows(session: Session, table: type[Image | Item], rows: Iterable[dict[str, Any]]) -> None:
    """Inserts rows that have the same columns. As objects of the session, they would take several times as long."""
    remaining = iter(rows)
    while batch := list(islice(remaining, INSERT_BATCH)):
        session.execute(insert(table.__table__), batch)  # type: ignore[arg-type]


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
