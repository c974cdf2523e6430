"""Blobs: files named by the SHA-256 of their bytes. A user's file name is never part of a path."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO

from store.errors import BlobCorrupt, BlobMissing

CHUNK = 2**18  # bytes
TRASH_PREFIX = "delete-"
UNLOCKED_SECONDS = 60  # between the creation of a scratch folder and its lock
DIGITS = 64  # hexadecimal, of a SHA-256


class Blobs:
    """A folder of blobs, `blobs/ab/ab12…`, and beside it the folder `tmp` for unfinished files.

    Both lie on one file system, so a finished file gets its name atomically: a blob exists whole or not at all,
    whenever the process or the machine dies. Call `sync` before a record names a new blob, or a power cut could
    remove the blob's name.
    """

    def __init__(self, root: Path):
        self.root = root / "blobs"
        self.temporary = root / "tmp"
        self.root.mkdir(parents=True, exist_ok=True)
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._unsynced: set[Path] = {self.root, self.root.parent}  # folders with names that may not be on the disk
        self._naming, self._syncing = threading.Lock(), threading.Lock()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yields a folder for unfinished files and removes it at the end, with all files that were not moved in.

        The lock on it keeps `remove_stale_scratch` away, since a training's folder may be a day old. The kernel
        releases the lock when the process dies.
        """
        folder = Path(tempfile.mkdtemp(dir=self.temporary))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def move_in(self, file: Path, sha256: str) -> str:
        """Moves a finished file of `scratch` to the name of its SHA-256, which it returns."""
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
        # Also if the blob exists already: a new time keeps `delete_older` away until a record names it.
        os.utime(file)
        return self._rename(file, sha256)

    def _rename(self, file: Path, sha256: str) -> str:
        target = self.path(sha256)
        try:
            file.replace(target)
        except FileNotFoundError:  # the first of its folder
            target.parent.mkdir(exist_ok=True)
            file.replace(target)
        with self._naming:
            self._unsynced |= {self.root, target.parent}  # another process may have just created the folder
        return sha256

    def sync(self) -> None:
        """Returns when the names of all blobs that came through this object survive a power cut.

        Call it once for many blobs: that costs hardly more than for one.
        """
        with self._syncing:  # a second caller waits for what the first one has taken on
            with self._naming:
                folders, self._unsynced = self._unsynced, set()
            try:
                for folder in folders:
                    flush_folder(folder)
            except OSError:
                with self._naming:
                    self._unsynced |= folders
                raise

    def put(self, data: bytes) -> str:
        """Stores `data` and returns its SHA-256."""
        return self.put_all([data])[0]

    def put_all(self, contents: Sequence[bytes]) -> list[str]:
        """Stores each of these and returns their SHA-256.

        All are written before the first is flushed, so that the disk can flush them together.
        """
        with ExitStack() as stack:
            files = [stack.enter_context(self._write_temporary(data)) for data in contents]
            for file in files:
                os.fsync(file.fileno())
            sha256s = (hashlib.sha256(data).hexdigest() for data in contents)
            return [self._rename(Path(file.name), sha256) for file, sha256 in zip(files, sha256s, strict=True)]

    @contextmanager
    def _write_temporary(self, data: bytes) -> Iterator[IO[bytes]]:
        """Yields a new file with this content, and removes it at the end unless it was renamed."""
        with tempfile.NamedTemporaryFile(dir=self.temporary, delete=False) as opened:
            try:
                opened.write(data)
                opened.flush()
                yield opened
            finally:
                Path(opened.name).unlink(missing_ok=True)

    def put_file(self, file: Path) -> str:
        """Moves in a file of `scratch` and returns its SHA-256."""
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        return self.move_in(file, sha256)

    def path(self, sha256: str) -> Path:
        return self.root / sha256[:2] / sha256

    def verified_path(self, sha256: str) -> Path:
        """Returns the path after it has read and checked all bytes. Raises `BlobMissing` or `BlobCorrupt`."""
        with self._open(sha256) as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != sha256:
                raise BlobCorrupt(sha256)
        return self.path(sha256)

    def read(self, sha256: str) -> bytes:
        """Returns all bytes. Raises `BlobMissing` or `BlobCorrupt`."""
        with self._open(sha256) as opened:
            data = opened.read()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BlobCorrupt(sha256)
        return data

    def size(self, sha256: str) -> int:
        """Returns the size in bytes. Raises `BlobMissing`."""
        with self._open(sha256) as opened:
            return os.fstat(opened.fileno()).st_size

    def _open(self, sha256: str) -> BufferedReader:
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise BlobMissing(sha256) from None

    def iter_chunks(self, sha256: str) -> Iterator[bytes]:
        """Yields the bytes. Raises `BlobMissing`; and `BlobCorrupt` instead of the last chunk if they have changed."""
        digest = hashlib.sha256()
        with self._open(sha256) as opened:
            chunk = opened.read(CHUNK)
            while chunk:
                digest.update(chunk)
                following = opened.read(CHUNK)
                if not following and digest.hexdigest() != sha256:
                    raise BlobCorrupt(sha256)
                yield chunk
                chunk = following

    def iter_older_than(self, seconds: float) -> Iterator[str]:
        """Yields the SHA-256 of every blob that was last put more than `seconds` ago."""
        limit = self._now() - seconds
        for folder in self.root.iterdir():
            for file in folder.iterdir():
                # A network file system sometimes has files of its own there.
                if len(file.name) == DIGITS and _is_older(file, limit):
                    yield file.name

    def delete_older(self, sha256s: Iterable[str], seconds: float) -> int:
        """Deletes those of these blobs that were last put more than `seconds` ago, and returns their number.

        Deletes none while `deletion_paused`.
        """
        limit, deleted = self._now() - seconds, 0
        with self._lock_deletion(fcntl.LOCK_EX | fcntl.LOCK_NB) as locked:
            for sha256 in sha256s if locked else ():
                if not _is_older(self.path(sha256), limit):  # checked first, because somebody may be reading it
                    continue
                # It is renamed before its age is checked again. So a blob that is put again meanwhile is not lost.
                trash = self.temporary / f"{TRASH_PREFIX}{sha256}"
                with suppress(FileNotFoundError):  # another process was faster
                    self.path(sha256).rename(trash)
                    if trash.stat().st_mtime < limit:
                        trash.unlink()
                        deleted += 1
                    else:
                        trash.rename(self.path(sha256))
        return deleted

    def _now(self) -> float:
        """Returns the time in seconds by the file system's clock, which may differ from the computer's."""
        os.utime(self.temporary)
        return self.temporary.stat().st_mtime

    @contextmanager
    def deletion_paused(self) -> Iterator[None]:
        """Inside, no process deletes a blob."""
        with self._lock_deletion(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _lock_deletion(self, operation: int) -> Iterator[bool]:
        """Yields whether the lock was free. The kernel releases it when the process dies."""
        with (self.temporary.parent / "deleting.lock").open("a") as lock:
            try:
                fcntl.flock(lock, operation)
            except BlockingIOError:
                yield False
            else:
                yield True

    def quarantine(self, sha256: str) -> None:
        """Moves a corrupt blob to the folder `damaged`, where it can be examined."""
        damaged = self.root.parent / "damaged"
        damaged.mkdir(exist_ok=True)
        self.path(sha256).rename(damaged / sha256)

    def remove_stale_temporary(self, seconds: float) -> None:
        """Removes what killed processes left more than `seconds` ago; scratch folders after a minute at most."""
        self.remove_stale_scratch(min(seconds, UNLOCKED_SECONDS))
        limit = self._now() - seconds
        for path in self.temporary.iterdir():
            with suppress(FileNotFoundError):  # its owner has just finished with it
                if path.name.startswith(TRASH_PREFIX):  # the process died before it had checked the age
                    path.rename(self.path(path.name.removeprefix(TRASH_PREFIX)))
                elif _is_older(path, limit) and not path.is_dir():
                    path.unlink()

    def remove_stale_scratch(self, seconds: float = UNLOCKED_SECONDS) -> None:
        """Removes scratch folders of killed processes, which may hold a whole training's photos."""
        limit = self._now() - seconds
        for path in self.temporary.iterdir():
            with suppress(FileNotFoundError):  # another process was faster
                if path.is_dir() and _is_older(path, limit):
                    _remove_unless_locked(path)


def flush_folder(folder: Path) -> None:
    """Returns when the names in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(file: Path, line: str, *, mode: int = 0o666) -> None:
    """Writes a line into a new file. It is complete or absent, also after a power cut. The umask limits `mode`."""
    temporary = file.with_suffix(f".{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as opened:  # noqa: PTH123 - a path cannot be opened with a mode
        opened.write(line + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    temporary.rename(file)
    flush_folder(file.parent)


def _is_older(file: Path, limit: float) -> bool:
    """Returns False for a file that was deleted meanwhile."""
    try:
        return file.stat().st_mtime < limit
    except FileNotFoundError:
        return False


def _remove_unless_locked(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # its process is alive
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
