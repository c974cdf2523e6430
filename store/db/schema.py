"""Which schema this code needs, and whether the database has it."""

from __future__ import annotations

import time

import structlog
from sqlalchemy import Connection, inspect, text

from store.db.database import Database, translate_errors
from store.errors import DatabaseUnavailable

REVISION = "0023"  # of the newest file in migrations/versions
POLL_SECONDS = 0.02
WARN_AFTER_SECONDS = 10.0

log = structlog.get_logger()


def revision(connection: Connection) -> str | None:
    """Returns the database's revision, None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def current_revision(database: Database) -> str | None:
    """Returns what `revision` returns. Raises `DatabaseUnavailable`."""
    with translate_errors(), database.engine.connect() as connection:
        return revision(connection)


def wait_until_current(database: Database) -> None:
    """Returns when the database has this code's schema. Another process migrates it: `store.db.migrate`.

    So processes, whose start takes seconds, can start while the database is created or migrated.
    """
    warn_at = time.monotonic() + WARN_AFTER_SECONDS
    while (found := _revision_or_error(database)) != REVISION:
        if time.monotonic() > warn_at:
            log.warning(_hint(found), found=found, needed=REVISION)
            warn_at = time.monotonic() + WARN_AFTER_SECONDS
        time.sleep(POLL_SECONDS)


def is_ahead(found: str | None) -> bool:
    """Returns whether the revision is newer than any that this code knows."""
    return found is not None and found.isdigit() and found > REVISION


def _hint(found: str | None) -> str:
    if is_ahead(found):
        return "database schema is newer than this process, update it too"
    return "waiting for the database, run python -m store.db.migrate"


def _revision_or_error(database: Database) -> str | None:
    try:
        return current_revision(database)
    except DatabaseUnavailable as error:  # it does not exist yet, or another process is just creating it
        return str(error)
