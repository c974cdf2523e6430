"""Moves the stored files of a deployment between its folder and a bucket. It can be repeated until it is complete."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import select, update

from config.settings import Settings
from store.db.tables import Deployment
from store.deployment import WrongStorageError
from store.errors import BlobCorrupt, BlobMissing
from store.files.blobs import ID_NAME, Blobs
from store.files.folder_blobs import FolderBlobs
from store.files.gc import referenced_hashes
from store.files.storage import open_bucket
from store.ids import new_id
from store.repositories.blobs import BlobRepository
from store.store import Store

CONCURRENCY = 8
LEFT = "left for "  # before the new id, in the place that a deployment has left


class StillRunningError(Exception):
    """Processes of the deployment run, and would store files in the old place."""

    def __init__(self, count: int, seconds: float):
        super().__init__(
            f"{count} processes of this deployment run, and would go on storing files in the old place. Stop the API, "
            f"the workers and the reaper, then retry. One that was killed counts for {seconds:g} s."
        )


@dataclass(frozen=True)
class MigrationStats:
    """`lost` files are named by a record, and missing or corrupt in the old place: see `patina doctor --deep`."""

    copied: int
    present: int
    lost: int


def open_target(target: str, settings: Settings, store: Store) -> Blobs:
    """Opens the URL of a bucket or the path of a folder."""
    if "://" in target:
        return open_bucket(target, settings, store.database, store.leases).blobs
    return FolderBlobs(Path(target), store.leases)


def migrate_blobs(store: Store, target: Blobs, on_progress: Callable[[int, int], None]) -> MigrationStats:
    """Copies every file that a record names and that `target` lacks. Each is checked before and while it is stored.

    `on_progress` gets (done, total). The service may run meanwhile; what it stores later needs another call. Raises
    `WrongStorageError` if `target` has the files of another deployment.
    """
    _require_free(store, target)
    with store.blobs.deletion_paused():
        with store.database.read() as session:
            referenced = referenced_hashes(session)
        absent = sorted(target.find_missing(referenced))
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            copied = 0
            for done, success in enumerate(pool.map(partial(_copy, store.blobs, target), absent), 1):
                copied += success
                on_progress(done, len(absent))
        target.sync()
    return MigrationStats(copied, len(referenced) - len(absent), len(absent) - copied)


def switch_storage(store: Store, target: Blobs) -> None:
    """Makes `target` the deployment's place of files, under a new identity: processes with the old place do not start.

    Raises `StillRunningError` if processes run, and `WrongStorageError` as `migrate_blobs`.
    """
    if running := store.leases.count_other_processes():
        raise StillRunningError(running, store.leases.process_seconds)
    own = _require_free(store, target)
    identity = new_id()
    target.write_id(identity)
    if isinstance(target, FolderBlobs):
        with store.database.write() as session:
            BlobRepository(session).delete_all()
    else:
        target.record(target.find_unrecorded())
    with store.database.write() as session:
        session.execute(update(Deployment).values(id=identity))
    if store.blobs.read_id() == own:  # else it is the same place
        store.blobs.write_id(LEFT + identity)


def _require_free(store: Store, target: Blobs) -> str | None:
    """Returns the deployment's id. Raises `WrongStorageError` if another deployment has files in `target`.

    Garbage collection would delete those, since no record here names them.
    """
    with store.database.read() as session:
        own = session.scalar(select(Deployment.id))
    if (found := target.read_id()) not in (None, own, f"{LEFT}{own}"):
        location = target.location.rstrip("/")
        raise WrongStorageError(
            f"{location} has files of another deployment. Name an empty place. If this deployment has left the files "
            f"there, delete {location}/{ID_NAME}, which says {found!r}, and retry."
        )
    return own


def _copy(source: Blobs, target: Blobs, sha256: str) -> bool:
    """Returns whether the file could be read."""
    with target.scratch() as folder:
        try:
            shutil.copyfile(source.verified_path(sha256), folder / sha256)
        except (BlobMissing, BlobCorrupt):
            return False
        if target.put_file(folder / sha256) != sha256:
            raise BlobCorrupt(sha256)  # the local disk has changed it
    return True
