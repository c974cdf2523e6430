"""Connections to the database, SQLite or PostgreSQL, and its errors."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, create_engine, event, make_url, select
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from store import keepalive
from store.db.access import LOCAL, Caller, ScopedSession
from store.db.tables import Job
from store.errors import DatabaseError, DatabaseUnavailable, DuplicateError

__all__ = ["Database", "Session", "savepoint", "translate_errors"]

MAX_CONNECTIONS = 40  # as many as the API has threads
KEPT_CONNECTIONS = 10  # that stay open when nobody uses them
BUSY_SECONDS = 30  # that a SQLite writer waits for another one
BUSY_POLL_SECONDS = 0.01
IDLE_SECONDS = 120  # that PostgreSQL waits inside a transaction, which may hold locks, for a process that is frozen
SQLITE_DUPLICATES = (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
POSTGRESQL_DUPLICATE = "23505"  # SQLSTATE unique_violation


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raises `DatabaseUnavailable`, `DuplicateError` or `DatabaseError` for an error of SQLAlchemy."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable("All connections are in use; see PATINA_DATABASE_CONNECTIONS.") from error
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


class Connections(NamedTuple):
    """How many connections this process has, and may have."""

    in_use: int
    idle: int
    limit: int


class Database:
    """Creates sessions. Each `write` is one transaction: all of it or nothing."""

    def __init__(self, url: str, connections: int = MAX_CONNECTIONS):
        """`connections` is the maximum of open ones; whoever needs another one waits."""
        is_sqlite = make_url(url).get_backend_name() == "sqlite"
        kept = min(KEPT_CONNECTIONS, connections)
        pool = {"pool_size": kept, "max_overflow": connections - kept}
        self.engine = _sqlite(url, pool) if is_sqlite else _postgresql(url, pool)
        self._limit = connections
        self._caller = LOCAL

    def as_caller(self, caller: Caller) -> Database:
        """Returns the same database, limited to the records that the caller may see. He owns those he creates."""
        scoped = copy(self)
        scoped._caller = caller
        return scoped

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yields a session and commits at the end. Raises as `translate_errors` does."""
        # On SQLite, a transaction that reads first can fail when it upgrades its lock in order to write. With the
        # write lock taken at the start, writers wait for each other instead.
        engine = self.engine.execution_options(patina_begin="IMMEDIATE")
        with translate_errors(), self._session(engine) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yields a session. Raises as `translate_errors` does."""
        with translate_errors(), self._session(self.engine) as session:
            yield session

    def check(self) -> None:
        """Raises `DatabaseError` if the database does not answer or has no tables."""
        with self.read() as session:
            session.execute(select(Job.id).limit(1))

    def count_connections(self) -> Connections:
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        return Connections(pool.checkedout(), pool.checkedin(), self._limit)

    def close(self) -> None:
        self.engine.dispose()

    def _session(self, engine: Engine) -> Session:
        kind = Session if self._caller.is_admin else ScopedSession
        return kind(engine, expire_on_commit=False, info={"caller": self._caller})


def _postgresql(url: str, pool: dict[str, int]) -> Engine:
    given = make_url(url).query
    options = {name: value for name, value in keepalive.postgresql_options().items() if name not in given}
    # pool_pre_ping: after a restart of the server a request reconnects instead of failing.
    engine = create_engine(url, pool_pre_ping=True, connect_args=options, **pool)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        settings = keepalive.postgresql_settings() | {"idle_in_transaction_session_timeout": 1000 * IDLE_SECONDS}
        # Not as options of the connection, which PgBouncer refuses.
        connection.execute("; ".join(f"SET SESSION {name} = {value}" for name, value in settings.items()))
        connection.commit()

    return engine


def _sqlite(url: str, pool: dict[str, int]) -> Engine:
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "isolation_level": None}, **pool)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        _enable_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")  # a commit survives a power cut
        connection.execute("PRAGMA foreign_keys=ON")

    # With isolation_level None the driver starts no transactions, so we start them.
    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        if mode := connection.get_execution_options().get("patina_begin"):
            connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _enable_wal(connection: sqlite3.Connection) -> None:
    """Retries while another process opens a new database, since SQLite's own timeout does not apply here."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(BUSY_POLL_SECONDS)
        else:
            return
