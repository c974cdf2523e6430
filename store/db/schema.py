"""Which schema this code works with, and whether the database has it yet."""

from __future__ import annotations

import time

import structlog
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import OperationalError

from store.db.database import Database

REVISION = "0011"  # of the newest file in migrations/versions
LOOK_EVERY_SECONDS = 0.02
COMPLAIN_AFTER_SECONDS = 10.0

log = structlog.get_logger()


def revision(connection: Connection) -> str | None:
    """The revision that the database is at; None for an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def wait_until_current(database: Database) -> None:
    """Returns when the database has this code's schema, which `store.db.migrate` in another process brings it to.

    So processes may start, which takes them seconds, while the database is made or brought up to date.
    """
    complain_at = time.monotonic() + COMPLAIN_AFTER_SECONDS
    while (found := _reachable_revision(database)) != REVISION:
        if time.monotonic() > complain_at:
            log.warning(_what_to_do(found), found=found, needed=REVISION)
            complain_at = time.monotonic() + COMPLAIN_AFTER_SECONDS
        time.sleep(LOOK_EVERY_SECONDS)


def is_newer(found: str | None) -> bool:
    """Whether the database was brought to a revision that this code does not know yet."""
    return found is not None and found.isdigit() and found > REVISION


def _what_to_do(found: str | None) -> str:
    if is_newer(found):
        return "the database is of a newer version than this process: update it too"
    return "waiting for the database: python -m store.db.migrate"


def _reachable_revision(database: Database) -> str | None:
    try:
        with database.engine.connect() as connection:
            return revision(connection)
    except OperationalError as error:  # it is not there yet, or another connection is just making it
        return str(error.orig)
