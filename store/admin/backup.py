"""One file with all that lasts, made and read back while the service runs.

It is a tar: the records first, as an SQLite database whatever they were in, then every blob that they name. So what one
database was backed up from, the other can be restored to, and an older version's file is migrated before it is read.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select, text

from store.db.database import Database
from store.db.migrate import NewerSchemaError, migrate
from store.db.schema import REVISION, revision
from store.db.tables import Job, Table
from store.errors import BlobCorrupt, BlobMissing, DatabaseError
from store.files.blobs import CHUNK, Blobs, flush_folder
from store.files.gc import referenced
from store.store import Store

RECORDS = "records.sqlite"
BLOB = re.compile(r"blobs/([0-9a-f]{64})")
ROWS = 1000  # copied at a time
TABLES = Table.metadata.sorted_tables  # what is referred to comes before what refers to it


class BackupError(Exception):
    """The file cannot be made or used; the message says why and what to do. Nothing was changed."""


@dataclass(frozen=True)
class Copied:
    records: int
    blobs: int
    missing: int = 0  # blobs that records name and that are not there, or not what they were


def back_up(store: Store, file: Path) -> Copied:
    """Writes `file`, which takes its name when it is whole. Raises `BackupError`."""
    part = file.with_name(f"{file.name}.part")
    with store.blobs.kept(), store.blobs.scratch() as folder:
        snapshot = Database(f"sqlite:///{folder / RECORDS}")
        migrate(snapshot)
        with _reading(store.database) as source, snapshot.engine.begin() as target:
            if (found := revision(source)) != REVISION:
                raise BackupError(f"The database is at schema {found}, not {REVISION}; start the service once first.")
            records = _copy(source, target)
        with snapshot.read() as session:
            named = sorted(referenced(session))
        snapshot.close()
        missing = 0
        try:
            # Only its owner may read it: it holds everybody's photos.
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:  # noqa: PTH123
                with tarfile.open(fileobj=opened, mode="w") as tar:
                    tar.add(folder / RECORDS, RECORDS)
                    for sha256 in named:
                        try:
                            # A damaged one would keep all of the file from ever being restored.
                            tar.add(store.blobs.verified(sha256), f"blobs/{sha256}")
                        except (BlobMissing, BlobCorrupt):
                            missing += 1
                opened.flush()
                os.fsync(opened.fileno())
            part.rename(file)
            flush_folder(file.absolute().parent)
        finally:
            part.unlink(missing_ok=True)
    return Copied(records, len(named) - missing, missing)


def restore(store: Store, file: Path, *, replace: bool) -> Copied:
    """Puts the file's records in the place of all that there are, in one transaction, once its blobs are there.

    What is at work is interrupted and queued again as it was. Raises `BackupError`, without `replace` where there are
    records already.
    """
    with store.blobs.kept(), store.blobs.scratch() as folder:
        if not replace:
            with store.database.read() as session:
                _require_empty(session.connection())
        try:
            with tarfile.open(file) as tar:
                blobs = _unpack(tar, folder, store.blobs)
        except (tarfile.TarError, EOFError) as error:
            raise BackupError(f"{file} is not a backup, or not a whole one ({error}).") from error
        snapshot = Database(f"sqlite:///{folder / RECORDS}")
        try:
            migrate(snapshot)
        except NewerSchemaError as error:
            raise BackupError(f"{file} was made by a newer version; restore it with that one.") from error
        except DatabaseError as error:
            raise BackupError(f"The records in {file} are damaged ({error}).") from error
        with _reading(snapshot) as source, store.database.write() as session:
            records = _replace(source, session.connection(), replace=replace)
        snapshot.close()
    return Copied(records, blobs)


@contextmanager
def _reading(database: Database) -> Iterator[Connection]:
    """A connection that sees the database as it was at its first question, whatever others write meanwhile."""
    # What only reads has no transaction on SQLite otherwise, and each question another moment.
    with database.engine.execution_options(patina_begin="DEFERRED").connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


def _copy(source: Connection, target: Connection) -> int:
    copied = 0
    for table in TABLES:
        rows = source.execution_options(stream_results=True).execute(select(table)).mappings()
        for batch in rows.partitions(ROWS):
            target.execute(table.insert(), [dict(row) for row in batch])
            copied += len(batch)
    return copied


def _replace(source: Connection, target: Connection, *, replace: bool) -> int:
    if target.dialect.name == "postgresql":  # on SQLite the transaction has locked all from its begin
        target.execute(text(f"LOCK TABLE {', '.join(table.name for table in TABLES)} IN ACCESS EXCLUSIVE MODE"))
    if not replace:
        _require_empty(target)
    jobs = Job.__table__
    highest = target.scalar(select(func.max(jobs.c.attempt))) or 0
    for table in reversed(TABLES):
        target.execute(table.delete())
    copied = _copy(source, target)
    # A number that no worker of now has: what those at work still write finds its fence.
    queued_again = {"status": "queued", "worker": None, "lease_until": None, "attempt": jobs.c.attempt + highest + 1}
    active = jobs.c.status.in_(("queued", "running"))
    target.execute(Job.__table__.update().where(active).values(**queued_again))  # type: ignore[attr-defined]
    return copied


def _require_empty(connection: Connection) -> None:
    for table in TABLES:
        if connection.scalar(select(func.count()).select_from(table)):
            raise BackupError(
                "There are records already, which a restore would replace, all of them. Make a backup of them first if "
                "you are not sure; then add --replace."
            )


def _unpack(tar: tarfile.TarFile, folder: Path, blobs: Blobs) -> int:
    """The records into `folder`, each blob to its place once its bytes are what its name says."""
    unpacked, records = 0, False
    for member in tar:
        opened = tar.extractfile(member)
        if opened is None:
            raise BackupError(f"The backup holds {member.name!r}, which is not a file.")
        name = BLOB.fullmatch(member.name)
        if name is None and (member.name != RECORDS or records):
            raise BackupError(f"The backup holds {member.name!r}, which does not belong there.")
        path = folder / (name[1] if name else RECORDS)
        with path.open("wb") as written:
            shutil.copyfileobj(opened, written, CHUNK)
        if name:
            _adopt(path, name[1], blobs)
            unpacked += 1
        else:
            records = True
    if not records:
        raise BackupError("The backup holds no records.")
    blobs.settle()
    return unpacked


def _adopt(path: Path, sha256: str, blobs: Blobs) -> None:
    with path.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != sha256:
            raise BackupError(f"The blob {sha256} in the backup is damaged.")
    blobs.adopt(path, sha256)
