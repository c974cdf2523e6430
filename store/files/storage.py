"""Opens the place of blobs and unfinished uploads that the settings name: a folder or a bucket."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import structlog

from config.settings import Settings
from store.data_folder import MISCONFIGURED
from store.db.database import Database
from store.files.blobs import Blobs
from store.files.folder_blobs import FolderBlobs
from store.files.partial_uploads import FolderUploads, PartialUploads
from store.files.quota import StorageQuota
from store.files.scratch import Scratch
from store.leases import Leases

log = structlog.get_logger()


@dataclass(frozen=True)
class Storage:
    blobs: Blobs
    partial_uploads: PartialUploads
    quota: StorageQuota


def open_storage(settings: Settings, database: Database, leases: Leases) -> Storage:
    """Opens a bucket if PATINA_BLOBS_URL is set, else the data folder."""
    if settings.blobs_url is None:
        return _open_folder(settings.data_dir, settings, leases)
    return open_bucket(settings.blobs_url, settings, database, leases)


def _open_folder(folder: Path, settings: Settings, leases: Leases) -> Storage:
    blobs, uploads = FolderBlobs(folder, leases), FolderUploads(folder)
    quota = StorageQuota([blobs.root, uploads.root], settings.max_storage_bytes, settings.min_free_bytes)
    return Storage(blobs, uploads, quota)


def open_bucket(url: str, settings: Settings, database: Database, leases: Leases) -> Storage:
    """Ends the process if the package for buckets is missing."""
    try:
        from store.files.bucket import Bucket  # noqa: PLC0415 - an extra, which a folder does not need
    except ModuleNotFoundError as error:
        log.critical("package missing", error=str(error), hint="PATINA_BLOBS_URL needs it: pip install 'patina[s3]'")
        sys.exit(MISCONFIGURED)
    from store.files.bucket_blobs import BucketBlobs  # noqa: PLC0415
    from store.files.bucket_uploads import BucketUploads  # noqa: PLC0415
    from store.files.file_cache import FileCache  # noqa: PLC0415

    bucket, local = Bucket(url), settings.scratch_dir or settings.data_dir
    cache = FileCache(local / "cache", settings.scratch_bytes, settings.min_free_bytes)
    blobs = BucketBlobs(bucket, Scratch(local / "tmp", leases), cache, database, leases)
    uploads = BucketUploads(bucket)

    def measure() -> int:
        return blobs.stored_bytes() + uploads.stored_bytes()

    quota = StorageQuota([local], settings.max_storage_bytes, settings.min_free_bytes, measure=measure)
    return Storage(blobs, uploads, quota)
