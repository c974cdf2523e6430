"""Connections to the records: SQLite or PostgreSQL, one way of using both."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url, select
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from store.db.access import LOCAL, Caller, NarrowedSession
from store.db.tables import Job
from store.errors import DatabaseError, DatabaseUnavailable, DuplicateError

__all__ = ["Database", "Session", "savepoint", "translate_errors"]

BUSY_SECONDS = 30  # how long a SQLite writer waits for another before it gives up
BUSY_AGAIN_SECONDS = 0.01
SQLITE_DUPLICATES = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
POSTGRESQL_DUPLICATE = "23505"  # SQLSTATE unique_violation


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raises `DatabaseUnavailable`, `DuplicateError` or `DatabaseError` for an error of SQLAlchemy."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnavailable(str(error.orig)) from error
    except IntegrityError as error:
        raise (DuplicateError if _is_duplicate(error) else DatabaseError)(str(error.orig)) from error
    except DBAPIError as error:
        raise DatabaseError(str(error.orig)) from error
    except SQLAlchemyError as error:
        raise DatabaseError(str(error)) from error


@contextmanager
def savepoint(session: Session) -> Iterator[None]:
    """Rolls back what was written inside if the block raises; the transaction goes on. Raises as `translate_errors`."""
    with translate_errors(), session.begin_nested():
        yield


def _is_duplicate(error: IntegrityError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return error.orig.sqlite_errorcode in SQLITE_DUPLICATES
    return getattr(error.orig, "sqlstate", None) == POSTGRESQL_DUPLICATE


class Database:
    """Sessions on one database. Each `write` is one transaction: all of it or nothing."""

    def __init__(self, url: str):
        self.engine = _sqlite(url) if make_url(url).get_backend_name() == "sqlite" else _postgresql(url)
        self._caller = LOCAL

    def seen_by(self, caller: Caller) -> Database:
        """The same database, of which the caller's own and shared records are seen, and new ones are its own."""
        narrowed = copy(self)
        narrowed._caller = caller
        return narrowed

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yields a session and commits at the end. Raises as `translate_errors` does."""
        # On SQLite a transaction that reads first and writes later can fail at the upgrade of its lock; taking the
        # write lock at the start makes writers wait for each other instead.
        engine = self.engine.execution_options(patina_begin="IMMEDIATE")
        with translate_errors(), self._session(engine) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yields a session. Raises as `translate_errors` does."""
        with translate_errors(), self._session(self.engine) as session:
            yield session

    def check(self) -> None:
        """Raises what keeps the database from answering, or its tables from being there."""
        with self.read() as session:
            session.execute(select(Job.id).limit(1))

    def close(self) -> None:
        self.engine.dispose()

    def _session(self, engine: Engine) -> Session:
        kind = Session if self._caller.sees_all else NarrowedSession
        return kind(engine, expire_on_commit=False, info={"caller": self._caller})


def _postgresql(url: str) -> Engine:
    # pool_pre_ping: a restarted server costs a reconnect, not a failed request.
    return create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=30)


def _sqlite(url: str) -> Engine:
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url, connect_args={"timeout": BUSY_SECONDS, "isolation_level": None}, pool_size=10, max_overflow=30
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        _keep_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")  # what was answered with 2xx outlives a power cut
        connection.execute("PRAGMA foreign_keys=ON")

    # The driver would start transactions by its own rules; it is told to start none, and we do.
    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        if mode := connection.get_execution_options().get("patina_begin"):
            connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _keep_wal(connection: sqlite3.Connection) -> None:
    """SQLite itself waits for nobody here: of several that open a new database at once, one would fail."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(BUSY_AGAIN_SECONDS)
        else:
            return
