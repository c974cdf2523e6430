"""Brings the database to the newest schema: `python -m store.migrate`."""

from __future__ import annotations

from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from config.logging import configure_logging
from config.settings import settings
from store.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_246_118  # any number that no other program takes in the same PostgreSQL database

log = structlog.get_logger()


def migrate(database: Database) -> None:
    """Runs what is missing. Several processes may call it at once; one does it, the others wait."""
    engine = database.engine.execution_options(patina_begin="IMMEDIATE")
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        before = revision(connection)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        after = revision(connection)
    if before != after:
        log.info("migrated", before=before, after=after)


def revision(connection: Connection) -> str | None:
    """The revision that the database is at; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


if __name__ == "__main__":
    configure_logging(settings(), "migrate")
    opened = Database(settings().database)
    migrate(opened)
    opened.close()
