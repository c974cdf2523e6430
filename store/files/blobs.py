"""Blobs: files named by the SHA-256 of their bytes. A user's file name is never part of a path or key."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from store.errors import BlobCorrupt
from store.files.scratch import YOUNG_SECONDS, Scratch
from store.ids import new_id
from store.leases import BACKUP, Leases

CHUNK = 2**18  # bytes
ID_NAME = "deployment-id"  # the file or object with the identity, see store/deployment.py


class Blobs(ABC):
    """Where blobs are: a folder (`FolderBlobs`) or a bucket (`BucketBlobs`). Calls of a bucket raise
    `StorageUnavailable`.

    `location` is the folder's path or the bucket's URL. `root` has local files, `temporary` unfinished ones.
    """

    def __init__(self, location: str, root: Path, scratch: Scratch, leases: Leases):
        self.location = location
        self.root = root
        self.leases = leases
        self._scratch = scratch
        self.temporary = scratch.root

    def scratch(self) -> AbstractContextManager[Path]:
        """Yields a local folder for unfinished files and removes it at the end, with all files not moved in."""
        return self._scratch.folder()

    def close(self) -> None:
        """Removes the process's folders in `temporary`."""
        self._scratch.remove_own()

    # Store

    def put(self, data: bytes) -> str:
        """Stores `data` and returns its SHA-256."""
        return self.put_all([data])[0]

    @abstractmethod
    def put_all(self, contents: Sequence[bytes]) -> list[str]:
        """Stores each of these and returns their SHA-256."""

    def put_file(self, file: Path) -> str:
        """Moves in a file of `scratch` and returns its SHA-256."""
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        return self.move_in(file, sha256)

    @abstractmethod
    def move_in(self, file: Path, sha256: str) -> str:
        """Moves a finished file of `scratch` to the name of its SHA-256, which it returns."""

    @abstractmethod
    def sync(self) -> None:
        """Returns when the names of all blobs that came through this object survive a power cut.

        Call it once for many blobs: that costs hardly more than for one.
        """

    # Read

    @abstractmethod
    def path(self, sha256: str) -> Path:
        """Returns where the local file of a blob is, if it is there. Use `verified_path` to read it."""

    @abstractmethod
    def verified_path(self, sha256: str) -> Path:
        """Returns a local file after all bytes were read and checked. Raises `BlobMissing` or `BlobCorrupt`.

        Do not change the file. It stays at least as long as the returned object.
        """

    @abstractmethod
    def read(self, sha256: str) -> bytes:
        """Returns all bytes. Raises `BlobMissing` or `BlobCorrupt`."""

    @abstractmethod
    def size(self, sha256: str) -> int:
        """Returns the size in bytes. Raises `BlobMissing`."""

    @abstractmethod
    def iter_chunks(self, sha256: str) -> Iterator[bytes]:
        """Yields the stored bytes, not a local copy's.

        Raises `BlobMissing`; and `BlobCorrupt` instead of the last chunk if they have changed.
        """

    @abstractmethod
    def iter_part(self, sha256: str, start: int, size: int) -> Iterator[bytes]:
        """Yields `size` bytes from `start` on, fewer if the blob ends before. Only the caller can check them.

        Raises `BlobMissing`.
        """

    @abstractmethod
    def signed_url(self, sha256: str, seconds: float) -> str | None:
        """Returns a URL that serves the blob for this time without credentials; None if there is no such thing."""

    # Delete

    @abstractmethod
    def iter_older_than(self, seconds: float) -> Iterator[str]:
        """Yields the SHA-256 of every blob that was last put more than `seconds` ago; same first digits together."""

    @abstractmethod
    def delete_older(self, sha256s: Iterable[str], seconds: float) -> int:
        """Deletes those of these blobs that were last put more than `seconds` ago, and returns their number.

        Deletes none while `deletion_paused`. The caller has read before that no record names them.
        """

    @contextmanager
    def deletion_paused(self) -> Iterator[None]:
        """Inside, no process deletes a blob that a record named at the start."""
        with self.leases.hold(BACKUP + new_id()):
            yield

    @abstractmethod
    def remove_stale_temporary(self, seconds: float) -> None:
        """Removes what killed processes left more than `seconds` ago, and scratch folders as `remove_stale_scratch`."""

    def remove_stale_scratch(self, seconds: float = YOUNG_SECONDS) -> None:
        """Removes scratch folders of processes whose lease had expired at the last call, if they are that old."""
        self._scratch.remove_stale(seconds)

    # Check and repair

    @abstractmethod
    def check(self) -> None:
        """Raises an error if no blobs can be stored."""

    @abstractmethod
    def find_missing(self, sha256s: set[str]) -> set[str]:
        """Returns those that are not stored."""

    @abstractmethod
    def find_unrecorded(self) -> Mapping[str, int]:
        """Returns the sizes of stored blobs that are not in the table of blobs, by SHA-256."""

    @abstractmethod
    def record(self, sizes: Mapping[str, int]) -> None:
        """Adds blobs to the table of blobs, from where garbage collection deletes them if no record names them."""

    @abstractmethod
    def quarantine(self, sha256: str) -> None:
        """Moves a corrupt blob to `damaged`, where it can be examined."""

    @abstractmethod
    def stored_bytes(self) -> int:
        """Returns the size of all blobs. It takes seconds for a million files of a folder."""

    @abstractmethod
    def read_id(self) -> str | None:
        """Returns the deployment's id, None if none was written."""

    @abstractmethod
    def write_id(self, deployment: str) -> None:
        """Writes the deployment's id."""


def read_part(file: Path, start: int, size: int) -> Iterator[bytes]:
    """Yields `size` bytes of a local file from `start` on, fewer if it ends before."""
    with file.open("rb") as opened:
        opened.seek(start)
        while size > 0 and (chunk := opened.read(min(CHUNK, size))):
            size -= len(chunk)
            yield chunk


def check_hash(found: str, expected: str) -> None:
    """Raises `BlobCorrupt` if the hashes differ."""
    if found != expected:
        raise BlobCorrupt(expected)


def verify_chunks(chunks: Iterator[bytes], sha256: str) -> Iterator[bytes]:
    """Yields the chunks, none of them empty. Raises `BlobCorrupt` instead of the last one if they have another hash."""
    digest = hashlib.sha256()
    chunk = next(chunks, b"")
    digest.update(chunk)
    if not chunk:
        check_hash(digest.hexdigest(), sha256)
    while chunk:
        following = next(chunks, b"")
        digest.update(following)
        if not following:
            check_hash(digest.hexdigest(), sha256)
        yield chunk
        chunk = following
