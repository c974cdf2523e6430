"""What must be so before the API opens: the schema is the newest, and nobody comes in from outside without a token."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from config.settings import Settings
from store.db.database import Database
from store.db.migrate import migrate
from store.files.blobs import flush_folder
from store.repositories.tokens import TokenRepository

FIRST_TOKEN_FILE = "admin-token"

log = structlog.get_logger()


class InsecureConfig(Exception):
    """The API would be open to strangers, or to nobody at all."""


def open_database(settings: Settings) -> None:
    """Migrates, and sees to the first token. Raises `InsecureConfig` where the settings would let strangers in."""
    database = Database(settings.database)
    try:
        migrate(database)
        check_exposure(settings, database)
        if settings.tokens_needed:
            _make_first_token(settings, database)
    finally:
        database.close()


def check_exposure(settings: Settings, database: Database) -> None:
    """Raises `InsecureConfig` where the API is to listen beyond this computer and no token was made or asked for."""
    if settings.on_loopback:
        return
    if settings.require_tokens is False:
        raise InsecureConfig(
            f"PATINA_HOST={settings.host} can be reached from other computers, which is not possible with "
            "PATINA_REQUIRE_TOKENS=false. Unset one of the two."
        )
    if settings.require_tokens is None and not _any_token(database):
        raise InsecureConfig(
            f"PATINA_HOST={settings.host} can be reached from other computers, and there is no token yet. Make one "
            "with `patina token create NAME`; or set PATINA_REQUIRE_TOKENS=true, and one is made at the first start. "
            "To stay on this computer, unset PATINA_HOST."
        )


def _make_first_token(settings: Settings, database: Database) -> None:
    """An admin's, into a file of the data folder that only its owner can read: logs are read by many."""
    file = settings.data_dir / FIRST_TOKEN_FILE
    with database.write() as session:
        tokens = TokenRepository(session)
        if tokens.any_valid():
            return
        _write_secret(file, tokens.create("first", "admin").secret)
    log.warning("there was no token, so an admin's was made", file=str(file))


def _write_secret(file: Path, text: str) -> None:
    temporary = file.with_suffix(f".{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:  # noqa: PTH123 - a path cannot be opened with a mode
        opened.write(text + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    temporary.rename(file)
    flush_folder(file.parent)  # before the record of it: nobody could find out the token without this file


def _any_token(database: Database) -> bool:
    with database.read() as session:
        return TokenRepository(session).any_valid()
