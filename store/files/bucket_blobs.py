"""Blobs as objects of a bucket, read through local copies."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from store.db.database import Database
from store.errors import BlobMissing
from store.files.blobs import CHUNK, ID_NAME, Blobs, check_hash, verify_chunks
from store.files.bucket import Bucket
from store.files.file_cache import FileCache, LocalFile
from store.files.scratch import Scratch
from store.leases import BACKUP, Leases
from store.repositories.blobs import BlobRepository

CONCURRENCY = 16  # small objects that are stored at the same time
DELETE_BATCH = 100  # objects; their transaction lasts as long as the request
FOLDER, DAMAGED = "blobs", "damaged"
LOCKS = 64  # so that threads that need the same blob download it once


class BucketBlobs(Blobs):
    """Objects `blobs/ab/ab12…`, and a row for each in the table of blobs.

    The row is written before the object. Garbage collection deletes row and object in one transaction, and the row
    of a blob that is put again waits for that. So every object has a row, and none is deleted that was just put.
    """

    def __init__(self, bucket: Bucket, scratch: Scratch, cache: FileCache, database: Database, leases: Leases):
        super().__init__(bucket.url, cache.root, scratch, leases)
        self._bucket = bucket
        self._cache = cache
        self._database = database
        self._pool = ThreadPoolExecutor(CONCURRENCY, "bucket")
        self._clean_at = 0.0
        self._locks = [threading.Lock() for _ in range(LOCKS)]

    def put_all(self, contents: Sequence[bytes]) -> list[str]:
        """Stores each of these, several at a time, and returns their SHA-256."""
        sha256s = [hashlib.sha256(data).hexdigest() for data in contents]
        unique = dict(zip(sha256s, contents, strict=True))
        self.record({sha256: len(data) for sha256, data in unique.items()})
        for _ in self._pool.map(self._bucket.put, map(key_of, unique), unique.values()):
            pass
        return sha256s

    def move_in(self, file: Path, sha256: str) -> str:
        self.record({sha256: file.stat().st_size})
        self._bucket.put_file(key_of(sha256), file)
        file.unlink()
        return sha256

    def sync(self) -> None:
        """Does nothing: an object that was stored stays."""

    def path(self, sha256: str) -> Path:
        return self._cache.path(sha256)

    def verified_path(self, sha256: str) -> Path:
        """Returns the copy in the cache, downloaded if needed."""
        folder = self._local_folder()
        with self._locks[int(sha256[:8], 16) % LOCKS]:
            if (found := self._cache.take(sha256, folder)) is not None:
                if _hash_file(found) == sha256:
                    return found
                self._cache.remove(sha256)
            return self._download(sha256, folder)

    def _download(self, sha256: str, folder: Path) -> LocalFile:
        with self.scratch() as scratch:
            file, digest = scratch / sha256, hashlib.sha256()
            with file.open("wb") as opened, _translate_missing(sha256):
                for part in self._bucket.iter_parts(key_of(sha256)):
                    digest.update(part)
                    opened.write(part)
            check_hash(digest.hexdigest(), sha256)
            return self._cache.add(file, sha256, folder)

    def _local_folder(self) -> Path:
        """Returns this process's own folder of names for files that it uses."""
        self._clean_if_due()
        folder = self.temporary / f"{self.leases.announce()}-local"
        folder.mkdir(exist_ok=True)
        return folder

    def _clean_if_due(self) -> None:
        """Removes what killed processes left on this computer, where no reaper may run."""
        if time.monotonic() > self._clean_at:
            self._clean_at = time.monotonic() + self.leases.process_seconds
            self.remove_stale_scratch()

    def read(self, sha256: str) -> bytes:
        with _translate_missing(sha256):
            data = self._bucket.read(key_of(sha256))
        check_hash(hashlib.sha256(data).hexdigest(), sha256)
        return data

    def size(self, sha256: str) -> int:
        with self._database.read() as session:
            size = BlobRepository(session).size(sha256)
        if size is None:
            raise BlobMissing(sha256)
        return size

    def iter_chunks(self, sha256: str) -> Iterator[bytes]:
        with _translate_missing(sha256):
            yield from verify_chunks(_split(self._bucket.iter_parts(key_of(sha256))), sha256)

    def iter_part(self, sha256: str, start: int, size: int) -> Iterator[bytes]:
        with _translate_missing(sha256):
            yield from _split(self._bucket.iter_range(key_of(sha256), start, size))

    def signed_url(self, sha256: str, seconds: float) -> str:
        return self._bucket.sign(key_of(sha256), seconds)

    def iter_older_than(self, seconds: float) -> Iterator[str]:
        with self._database.read() as session:
            yield from BlobRepository(session).iter_older_than(seconds)

    def delete_older(self, sha256s: Iterable[str], seconds: float) -> int:
        remaining = list(sha256s)
        if not remaining or self.leases.is_held(BACKUP):
            return 0
        self._bucket.size(ID_NAME)  # waits here for an unavailable store, and not in the transaction
        deleted = 0
        for first in range(0, len(remaining), DELETE_BATCH):
            with self._database.write() as session:
                batch = BlobRepository(session).delete_older(remaining[first : first + DELETE_BATCH], seconds)
                self._bucket.delete([key_of(sha256) for sha256 in batch], retry=False)
            deleted += len(batch)
        return deleted

    def remove_stale_temporary(self, seconds: float) -> None:
        self.remove_stale_scratch()
        self._scratch.remove_old_files(seconds)

    def check(self) -> None:
        self._clean_if_due()
        with self.scratch():
            self._bucket.size(ID_NAME)

    def find_missing(self, sha256s: set[str]) -> set[str]:
        return sha256s - {sha256 for sha256, _ in self._iter_stored()}

    def find_unrecorded(self) -> Mapping[str, int]:
        stored = dict(self._iter_stored())
        with self._database.read() as session:
            for sha256 in BlobRepository(session).iter_known():
                stored.pop(sha256, None)
        return stored

    def record(self, sizes: Mapping[str, int]) -> None:
        with self._database.write() as session:
            BlobRepository(session).put(sizes)

    def quarantine(self, sha256: str) -> None:
        with _translate_missing(sha256):
            self._bucket.copy(key_of(sha256), f"{DAMAGED}/{sha256}")
        self._bucket.delete([key_of(sha256)])
        self._cache.remove(sha256)

    def stored_bytes(self) -> int:
        with self._database.read() as session:
            return BlobRepository(session).total_bytes()

    def read_id(self) -> str | None:
        try:
            return self._bucket.read(ID_NAME).decode().strip() or None
        except FileNotFoundError:
            return None

    def write_id(self, deployment: str) -> None:
        self._bucket.put(ID_NAME, deployment.encode() + b"\n")

    def _iter_stored(self) -> Iterator[tuple[str, int]]:
        for key, size in self._bucket.list_sizes(FOLDER):
            sha256 = key.rpartition("/")[2]
            if key == key_of(sha256):
                yield sha256, size


def key_of(sha256: str) -> str:
    """Returns the key of a blob's object."""
    return f"{FOLDER}/{sha256[:2]}/{sha256}"


def _hash_file(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _split(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yields chunks of at most `CHUNK` bytes, so that a slow client does not hold a whole part for each step."""
    for part in parts:
        for start in range(0, len(part), CHUNK):
            yield part[start : start + CHUNK]


@contextmanager
def _translate_missing(sha256: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing(sha256) from error
