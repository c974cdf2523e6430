"""Brings the database to the newest schema: `python -m store.db.migrate`."""

from __future__ import annotations

import sys
from pathlib import Path

import structlog
from sqlalchemy import Connection, text

from config.logging import configure_logging
from config.settings import settings
from store.db.database import Database, translate_errors
from store.db.schema import REVISION, is_ahead, revision

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_246_118  # any number that no other program takes in the same PostgreSQL database

log = structlog.get_logger()


class NewerSchemaError(Exception):
    """A newer version was here."""


def migrate(database: Database) -> None:
    """Runs what is missing. Several processes may call it at once; one does it, the others wait.

    Raises `NewerSchemaError`, and changes nothing, if the database is ahead of this code; and as `translate_errors`.
    """
    engine = database.engine.execution_options(patina_begin="IMMEDIATE")
    with translate_errors(), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        before = revision(connection)
        if is_ahead(before):
            raise NewerSchemaError(
                f"The database was brought to schema {before} by a newer version of Patina; this one knows {REVISION}. "
                "Run the newer version, or restore a backup from before it."
            )
        if before != REVISION:
            upgrade(connection, REVISION)
    if before != REVISION:
        log.info("migrated", before=before, after=REVISION)


def upgrade(connection: Connection, wanted: str) -> None:
    """Runs the migrations up to the revision `wanted`."""
    from alembic import command  # noqa: PLC0415 - a third of this process's start, and most starts have nothing to do
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, wanted)


if __name__ == "__main__":
    configure_logging(settings(), "migrate")
    opened = Database(settings().database)
    try:
        migrate(opened)
    except NewerSchemaError as error:
        sys.exit(f"patina: {error}")
    finally:
        opened.close()
