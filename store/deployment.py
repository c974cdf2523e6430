"""One database and one place of blobs belong together. The same id in both lets every process check it at its start.

A worker with another place would store results where nobody finds them.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress

import structlog
from sqlalchemy import select

from store.data_folder import MISCONFIGURED
from store.db.database import Database
from store.db.statements import lock_globally
from store.db.tables import Deployment
from store.errors import DatabaseUnavailable, StorageUnavailable
from store.files.blobs import ID_NAME, Blobs
from store.ids import new_id

LOCK = 0x70617475  # any number that no other lock has
POLL_SECONDS = 0.02
RETRY_SECONDS = 2.0  # while the bucket is unavailable
WARN_AFTER_SECONDS = 10.0

log = structlog.get_logger()


class WrongStorageError(Exception):
    """The folder or bucket does not belong to the database. The message says what to do."""


def bind_storage(blobs: Blobs, database: Database) -> None:
    """Gives the database and the place of the blobs the same id at the first start. Only the API does this.

    Raises `WrongStorageError` if they have different ids, or if only the database has one.
    """
    with database.write() as session:
        lock_globally(session, LOCK)  # two APIs may start at once
        recorded = session.scalar(select(Deployment.id))
        if recorded is None:
            # A place with an id and without a record has got a new database.
            session.add(Deployment(id=blobs.read_id() or _write_new_id(blobs)))
        else:
            _compare(blobs, recorded)


def require_own_storage(blobs: Blobs, database: Database) -> None:
    """Waits until an API has bound a place of blobs to the database, and ends the process if this is another one."""
    warn_at = time.monotonic() + WARN_AFTER_SECONDS
    while (recorded := _recorded_id(database)) is None:
        if time.monotonic() > warn_at:
            log.warning("waiting for the first start of the API")
            warn_at = time.monotonic() + WARN_AFTER_SECONDS
        time.sleep(POLL_SECONDS)
    while True:
        try:
            _compare(blobs, recorded)
        except StorageUnavailable as error:
            log.warning("storage unavailable", error=str(error))
            time.sleep(RETRY_SECONDS)
        except WrongStorageError as error:
            log.critical("wrong storage", location=blobs.location, error=str(error))
            sys.exit(MISCONFIGURED)
        else:
            blobs.leases.announce()
            return


def _recorded_id(database: Database) -> str | None:
    with suppress(DatabaseUnavailable), database.read() as session:
        return session.scalar(select(Deployment.id))
    return None


def _compare(blobs: Blobs, recorded: str) -> None:
    found = blobs.read_id()
    if found == recorded:
        return
    whose = "that of another deployment" if found else "not the one"
    raise WrongStorageError(
        f"{blobs.location} is {whose} that the database was used with. Set PATINA_DATA_DIR or PATINA_BLOBS_URL to what "
        "the API uses. If it is the right place and only its identity was lost, write the line "
        f"{recorded} into {blobs.location.rstrip('/')}/{ID_NAME}."
    )


def _write_new_id(blobs: Blobs) -> str:
    created = new_id()
    blobs.write_id(created)
    return created
