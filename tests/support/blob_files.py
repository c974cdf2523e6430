"""Changes to stored blobs that only tests make, in a folder or a bucket."""

from __future__ import annotations

import os
import time

from sqlalchemy import update

from store.db.tables import Blob, now
from store.files.blobs import Blobs
from store.files.bucket_blobs import BucketBlobs, key_of


def age(blobs: Blobs, sha256: str, seconds: float) -> None:
    """Makes a blob older: it was last put this long ago."""
    if isinstance(blobs, BucketBlobs):
        with blobs._database.write() as session:
            session.execute(update(Blob).where(Blob.sha256 == sha256).values(put_at=now() - seconds))
    else:
        then = time.time() - seconds
        os.utime(blobs.path(sha256), (then, then))


def replace_bytes(blobs: Blobs, sha256: str, data: bytes) -> None:
    """Damages a blob: it has other bytes than its name says."""
    if isinstance(blobs, BucketBlobs):
        blobs._bucket.put(key_of(sha256), data)
    else:
        blobs.path(sha256).write_bytes(data)


def remove(blobs: Blobs, sha256: str) -> None:
    """Loses a blob, which its record still names."""
    if isinstance(blobs, BucketBlobs):
        blobs._bucket.delete([key_of(sha256)])
    else:
        blobs.path(sha256).unlink()
