"""One database and one data folder belong together. The same id in both lets every process check it at its start.

A worker with another folder would store results where nobody finds them.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

import structlog
from sqlalchemy import select

from store.data_folder import MISCONFIGURED
from store.db.database import Database
from store.db.statements import lock_globally
from store.db.tables import Deployment
from store.errors import DatabaseUnavailable
from store.files.blobs import write_durably
from store.ids import new_id

ID_FILE = "deployment-id"  # in the data folder
LOCK = 0x70617475  # any number that no other lock has
POLL_SECONDS = 0.02
WARN_AFTER_SECONDS = 10.0

log = structlog.get_logger()


class WrongDataFolderError(Exception):
    """The data folder does not belong to the database. The message says what to do."""


def bind_data_folder(folder: Path, database: Database) -> None:
    """Gives folder and database the same id at the first start. Only the API does this.

    Raises `WrongDataFolderError` if they have different ids, or if only the database has one.
    """
    with database.write() as session:
        lock_globally(session, LOCK)  # two APIs may start at once
        recorded = session.scalar(select(Deployment.id))
        if recorded is None:
            # A folder with an id and without a record has got a new database.
            session.add(Deployment(id=_read_id(folder) or _write_id(folder)))
        else:
            _compare(folder, recorded)


def require_own_data_folder(folder: Path, database: Database) -> None:
    """Waits until an API has bound a folder to the database, and ends the process if it is another one."""
    warn_at = time.monotonic() + WARN_AFTER_SECONDS
    while (recorded := _recorded_id(database)) is None:
        if time.monotonic() > warn_at:
            log.warning("waiting for the first start of the API")
            warn_at = time.monotonic() + WARN_AFTER_SECONDS
        time.sleep(POLL_SECONDS)
    try:
        _compare(folder, recorded)
    except WrongDataFolderError as error:
        log.critical("wrong data folder", folder=str(folder), error=str(error))
        sys.exit(MISCONFIGURED)


def _recorded_id(database: Database) -> str | None:
    with suppress(DatabaseUnavailable), database.read() as session:
        return session.scalar(select(Deployment.id))
    return None


def _compare(folder: Path, recorded: str) -> None:
    found = _read_id(folder)
    if found == recorded:
        return
    whose = "that of another deployment" if found else "not the one"
    raise WrongDataFolderError(
        f"The data folder {folder} is {whose} that the database was used with. Set PATINA_DATA_DIR to the folder that "
        "the API uses, or mount it there. If it is the right folder and only its identity was lost, write the line "
        f"{recorded} into {folder / ID_FILE}."
    )


def _read_id(folder: Path) -> str | None:
    try:
        return (folder / ID_FILE).read_text().strip() or None
    except FileNotFoundError:
        return None


def _write_id(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    created = new_id()
    write_durably(folder / ID_FILE, created)
    return created
