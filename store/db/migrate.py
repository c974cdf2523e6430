"""Migrates the database to this code's schema: `python -m store.db.migrate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, text

from config.logging import configure_logging
from config.settings import settings
from store.data_folder import require_writable
from store.db.database import Database, translate_errors
from store.db.schema import REVISION, is_ahead, revision

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7_246_118  # any number that no other program takes in the same PostgreSQL database

log = structlog.get_logger()


class NewerSchemaError(Exception):
    """A newer version has migrated the database."""


def migrate(database: Database) -> None:
    """Runs the migrations that are missing. Of several processes that call it at once, one does it and others wait.

    Raises `NewerSchemaError`, and changes nothing, if the database is ahead of this code; and as `translate_errors`.
    """
    engine = database.engine.execution_options(patina_begin="IMMEDIATE")
    with translate_errors(), engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        before = revision(connection)
        if is_ahead(before):
            raise NewerSchemaError(
                f"A newer version of Patina has migrated the database to schema {before}; this version knows "
                f"{REVISION}. Run the newer version, or restore an earlier backup."
            )
        if before != REVISION:
            upgrade(connection, REVISION)
    if before != REVISION:
        log.info("migrated", before=before, after=REVISION)


def upgrade(connection: Connection, target: str) -> None:
    """Runs the migrations up to the revision `target`."""
    from alembic import command  # noqa: PLC0415 - it takes a third of a process's start, which seldom migrates

    command.upgrade(alembic_config(connection), target)


def alembic_config(connection: Connection) -> Config:
    """Returns the configuration with which Alembic's commands run on this connection."""
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


if __name__ == "__main__":
    configure_logging(settings(), "migrate")
    require_writable(settings().data_dir)
    opened = Database(settings().database)
    try:
        migrate(opened)
    except NewerSchemaError as error:
        sys.exit(f"patina: {error}")
    finally:
        opened.close()
