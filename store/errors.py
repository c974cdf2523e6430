"""What `store` raises. Other packages see these errors, and never those of SQLAlchemy, Redis or RQ."""

from __future__ import annotations

import errno


class DatabaseError(Exception):
    """The database rejected a statement or a transaction."""


class DatabaseUnavailable(DatabaseError):
    """The database is unreachable, locked or out of space. The same transaction may succeed later."""


class DuplicateError(DatabaseError):
    """A unique constraint was violated: the record exists already."""


class QueueUnavailable(Exception):
    """The queue's server cannot be reached. The database still knows all jobs."""


class LeaseLostError(Exception):
    """The job was given to another worker, or it has ended, or it was deleted. The caller must drop its results."""


class BlobCorrupt(Exception):
    """The bytes of a blob no longer match its SHA-256."""

    def __init__(self, sha256: str):
        super().__init__(f"blob {sha256} has changed on disk")


class BlobMissing(FileNotFoundError):
    """A record names a blob that is not on disk."""

    def __init__(self, sha256: str):
        super().__init__(errno.ENOENT, "blob missing", sha256)


class StorageUnavailable(Exception):
    """The bucket with the blobs is unreachable, throttles, or refuses access. The same call may succeed later."""


class LeaseHeld(Exception):
    """Another process or request has the lease of this name."""
