"""What must be true before the API starts: schema and data folder are right, and it is not open to other computers."""

from __future__ import annotations

import structlog

from config.settings import Settings
from store.db.database import Database
from store.db.migrate import migrate
from store.deployment import bind_storage
from store.files.durable import write_durably
from store.files.storage import open_storage
from store.leases import Leases
from store.repositories.tokens import TokenRepository

ADMIN_TOKEN_FILE = "admin-token"

log = structlog.get_logger()


class InsecureConfig(Exception):
    """With these settings, other computers could call the API without a token."""


def prepare_database(settings: Settings) -> None:
    """Migrates the database, binds it to the place of the blobs, and creates the first token if one is needed.

    Raises `InsecureConfig`, `WrongStorageError` and `StorageUnavailable`.
    """
    database = Database(settings.database)
    try:
        migrate(database)
        blobs = open_storage(settings, database, Leases(database, settings.lease_seconds)).blobs
        bind_storage(blobs, database)
        check_exposure(settings, database)
        if settings.tokens_needed:
            _create_admin_token(settings, database)
    finally:
        database.close()


def check_exposure(settings: Settings, database: Database) -> None:
    """Raises `InsecureConfig` if the API would listen beyond this computer without a token."""
    if settings.on_loopback:
        return
    if settings.require_tokens is False:
        raise InsecureConfig(
            f"PATINA_HOST={settings.host} can be reached from other computers. This needs tokens, and "
            "PATINA_REQUIRE_TOKENS=false allows none. Unset one of the two."
        )
    if settings.require_tokens is None and not _has_token(database):
        raise InsecureConfig(
            f"PATINA_HOST={settings.host} can be reached from other computers, and there is no token yet. Create one: "
            "patina token create NAME. Or set PATINA_REQUIRE_TOKENS=true, and the first start creates one. "
            "Unset PATINA_HOST to stay on this computer."
        )


def _create_admin_token(settings: Settings, database: Database) -> None:
    """Writes the token into a file that only its owner can read. A log would have more readers."""
    file = settings.data_dir / ADMIN_TOKEN_FILE
    with database.write() as session:
        tokens = TokenRepository(session)
        tokens.lock_creation()  # two APIs may start at once
        if tokens.any_valid():
            return
        # Before the record is committed: without this file nobody knows the secret.
        write_durably(file, tokens.create("first", "admin").secret, mode=0o600)
    log.warning("created initial admin token", file=str(file))


def _has_token(database: Database) -> bool:
    with database.read() as session:
        return TokenRepository(session).any_valid()
