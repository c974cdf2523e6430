"""Backup and restore of the database and all blobs, while the service runs.

A backup is a tar: first the database, always as SQLite, then every blob that it names. So one database can be restored
to the other kind, and a backup of an older version is migrated before it is read.
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
from store.db.tables import Blob, Deployment, Job, Lease, Shard, Table
from store.errors import BlobCorrupt, BlobMissing, DatabaseError
from store.files.blobs import CHUNK, Blobs
from store.files.durable import flush_folder
from store.files.gc import referenced_hashes
from store.store import Store

DB_FILE = "records.sqlite"
BLOB = re.compile(r"blobs/([0-9a-f]{64})")
COPY_BATCH = 1000  # rows
# A table that refers to others comes after them. Left out are those that belong to the place of the blobs.
OF_STORAGE = {Deployment.__tablename__, Blob.__tablename__, Lease.__tablename__}
TABLES = [table for table in Table.metadata.sorted_tables if table.name not in OF_STORAGE]


class BackupError(Exception):
    """The backup cannot be created or restored; the message says why and what to do. Nothing was changed."""


@dataclass(frozen=True)
class BackupStats:
    records: int
    blobs: int
    missing: int = 0  # blobs that records name and that are missing or corrupt


def create_backup(store: Store, file: Path) -> BackupStats:
    """Writes `file`, which gets its name when it is complete. Raises `BackupError`."""
    part = file.with_name(f"{file.name}.part")
    with store.blobs.deletion_paused(), store.blobs.scratch() as folder:
        snapshot = Database(f"sqlite:///{folder / DB_FILE}")
        migrate(snapshot)
        with _snapshot(store.database) as source, snapshot.engine.begin() as target:
            if (found := revision(source)) != REVISION:
                raise BackupError(f"The database has schema {found}, not {REVISION}. Start the service once first.")
            records = _copy(source, target)
        with snapshot.read() as session:
            referenced = sorted(referenced_hashes(session))
        snapshot.close()
        missing = 0
        try:
            # Only its owner may read it: it holds everybody's photos.
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:  # noqa: PTH123
                with tarfile.open(fileobj=opened, mode="w") as tar:
                    tar.add(folder / DB_FILE, DB_FILE)
                    for sha256 in referenced:
                        try:
                            # A corrupt blob in it would make the whole backup impossible to restore.
                            tar.add(store.blobs.verified_path(sha256), f"blobs/{sha256}")
                        except (BlobMissing, BlobCorrupt):
                            missing += 1
                opened.flush()
                os.fsync(opened.fileno())
            part.rename(file)
            flush_folder(file.absolute().parent)
        finally:
            part.unlink(missing_ok=True)
    return BackupStats(records, len(referenced) - missing, missing)


def restore(store: Store, file: Path, *, replace: bool) -> BackupStats:
    """Replaces all records by those of the backup, in one transaction, after all of its blobs are stored.

    Interrupts running jobs and queues them as they were at the backup. Raises `BackupError`, also if there are records
    and `replace` is False.
    """
    with store.blobs.deletion_paused(), store.blobs.scratch() as folder:
        if not replace:
            with store.database.read() as session:
                _require_empty(session.connection())
        try:
            with tarfile.open(file) as tar:
                blobs = _unpack(tar, folder, store.blobs)
        except (tarfile.TarError, EOFError) as error:
            raise BackupError(f"{file} is not a backup, or it is incomplete ({error}).") from error
        snapshot = Database(f"sqlite:///{folder / DB_FILE}")
        try:
            migrate(snapshot)
        except NewerSchemaError as error:
            raise BackupError(f"A newer version made {file}. Restore it with that version.") from error
        except DatabaseError as error:
            raise BackupError(f"The database in {file} is damaged ({error}).") from error
        with _snapshot(snapshot) as source, store.database.write() as session:
            records = _replace(source, session.connection(), replace=replace)
        snapshot.close()
    return BackupStats(records, blobs)


@contextmanager
def _snapshot(database: Database) -> Iterator[Connection]:
    """Yields a connection whose queries all see the database as it was at the first one."""
    # Without a transaction, each query on SQLite would see another state.
    with database.engine.execution_options(patina_begin="DEFERRED").connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


def _copy(source: Connection, target: Connection) -> int:
    copied = 0
    for table in TABLES:
        rows = source.execution_options(stream_results=True).execute(select(table)).mappings()
        for batch in rows.partitions(COPY_BATCH):
            target.execute(table.insert(), [dict(row) for row in batch])
            copied += len(batch)
    return copied


def _replace(source: Connection, target: Connection, *, replace: bool) -> int:
    if target.dialect.name == "postgresql":  # on SQLite the transaction has locked everything
        target.execute(text(f"LOCK TABLE {', '.join(table.name for table in TABLES)} IN ACCESS EXCLUSIVE MODE"))
    if not replace:
        _require_empty(target)
    jobs = Job.__table__
    highest = target.scalar(select(func.max(jobs.c.attempt))) or 0
    for table in reversed(TABLES):
        target.execute(table.delete())
    copied = _copy(source, target)
    # No present worker has such a high attempt, so the fence stops what running ones still write.
    requeued = {"status": "queued", "attempt": jobs.c.attempt + highest + 1}
    active = jobs.c.status.in_(("queued", "running"))
    target.execute(Job.__table__.update().where(active).values(**requeued))  # type: ignore[attr-defined]
    shards = Shard.__table__
    waiting = {"status": "queued", "attempt": None, "worker": None, "lease_until": None}
    target.execute(shards.update().where(shards.c.status == "running").values(**waiting))  # type: ignore[attr-defined]
    return copied


def _require_empty(connection: Connection) -> None:
    for table in TABLES:
        if connection.scalar(select(func.count()).select_from(table)):
            raise BackupError(
                "The database has records, and a restore replaces all of them. Make a backup first if you may need "
                "them. Then add --replace."
            )


def _unpack(tar: tarfile.TarFile, folder: Path, blobs: Blobs) -> int:
    """Extracts the database into `folder`, and stores each blob after its bytes were checked."""
    unpacked, found_database = 0, False
    for member in tar:
        opened = tar.extractfile(member)
        if opened is None:
            raise BackupError(f"The backup holds {member.name!r}, which is not a file.")
        name = BLOB.fullmatch(member.name)
        if name is None and (member.name != DB_FILE or found_database):
            raise BackupError(f"The backup holds {member.name!r}, which does not belong there.")
        path = folder / (name[1] if name else DB_FILE)
        with path.open("wb") as written:
            shutil.copyfileobj(opened, written, CHUNK)
        if name:
            _move_in(path, name[1], blobs)
            unpacked += 1
        else:
            found_database = True
    if not found_database:
        raise BackupError("The backup holds no database.")
    blobs.sync()
    return unpacked


def _move_in(path: Path, sha256: str, blobs: Blobs) -> None:
    with path.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != sha256:
            raise BackupError(f"The blob {sha256} in the backup is corrupt.")
    blobs.move_in(path, sha256)
