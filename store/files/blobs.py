"""Files that last, each named by the SHA-256 of its bytes. A name that a user gave is never part of a path."""

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

CHUNK = 2**18
ASIDE = "delete-"
UNLOCKED_SECONDS = 60  # that a process may take between making a folder and locking it
LENGTH = 64  # of a SHA-256 in hexadecimal digits


class Blobs:
    """A folder of blobs, `blobs/ab/ab12…`, beside the folder `tmp` that unfinished ones are written in.

    Both lie on one file system, so that a finished file takes its name in one step: a blob is there whole or not at
    all, whenever the process or the machine dies. Before a record names what was put, `settle` is called, or a power
    cut could take the name.
    """

    def __init__(self, root: Path):
        self.root = root / "blobs"
        self.temporary = root / "tmp"
        self.root.mkdir(parents=True, exist_ok=True)
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._unsettled: set[Path] = {self.root, self.root.parent}  # folders with names that the disk may not have yet
        self._naming, self._settling = threading.Lock(), threading.Lock()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for unfinished files that is gone afterwards, with all that was not adopted.

        Its lock, which the kernel takes back when the process dies, keeps `sweep_scratch` away: a training's folder
        may be a day old.
        """
        folder = Path(tempfile.mkdtemp(dir=self.temporary))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def adopt(self, file: Path, sha256: str) -> str:
        """Takes a finished file of `scratch` over as the blob that its SHA-256 names; gives the SHA-256 back."""
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
        # Also where it is there already: its fresh time keeps `delete_older` away until a record names it.
        os.utime(file)
        return self._name(file, sha256)

    def _name(self, file: Path, sha256: str) -> str:
        """Gives a file that is on the disk its name."""
        target = self.path(sha256)
        try:
            file.replace(target)
        except FileNotFoundError:  # the first of its folder
            target.parent.mkdir(exist_ok=True)
            file.replace(target)
        with self._naming:
            self._unsettled |= {self.root, target.parent}  # another process may have made the folder just now
        return sha256

    def settle(self) -> None:
        """Returns when every blob that was put through this object outlives a power cut, with its name.

        For many at once, as that costs hardly more than for one.
        """
        with self._settling:  # who comes second waits for what the first has taken on
            with self._naming:
                folders, self._unsettled = self._unsettled, set()
            try:
                for folder in folders:
                    flush_folder(folder)
            except OSError:
                with self._naming:
                    self._unsettled |= folders
                raise

    def put(self, data: bytes) -> str:
        """Keeps `data`; gives its SHA-256."""
        return self.put_all([data])[0]

    def put_all(self, contents: Sequence[bytes]) -> list[str]:
        """Keeps each of these; gives their SHA-256.

        All are written before the disk is waited for, which may then take them together.
        """
        with ExitStack() as stack:
            files = [stack.enter_context(self._written(data)) for data in contents]
            for file in files:
                os.fsync(file.fileno())
            sha256s = (hashlib.sha256(data).hexdigest() for data in contents)
            return [self._name(Path(file.name), sha256) for file, sha256 in zip(files, sha256s, strict=True)]

    @contextmanager
    def _written(self, data: bytes) -> Iterator[IO[bytes]]:
        """A new file with this in it, which is gone afterwards unless it has been given its name."""
        with tempfile.NamedTemporaryFile(dir=self.temporary, delete=False) as opened:
            try:
                opened.write(data)
                opened.flush()
                yield opened
            finally:
                Path(opened.name).unlink(missing_ok=True)

    def put_file(self, file: Path) -> str:
        """Keeps a file of `scratch`, which is gone from there afterwards; gives its SHA-256."""
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        return self.adopt(file, sha256)

    def path(self, sha256: str) -> Path:
        return self.root / sha256[:2] / sha256

    def verified(self, sha256: str) -> Path:
        """Its path, once its bytes are found to be as they were put. Raises `BlobMissing`, `BlobCorrupt`."""
        with self._opened(sha256) as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != sha256:
                raise BlobCorrupt(sha256)
        return self.path(sha256)

    def read(self, sha256: str) -> bytes:
        """All of it at once. Raises `BlobMissing`, and `BlobCorrupt` where it is not as it was put."""
        with self._opened(sha256) as opened:
            data = opened.read()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BlobCorrupt(sha256)
        return data

    def size(self, sha256: str) -> int:
        """Raises `BlobMissing`."""
        with self._opened(sha256) as opened:
            return os.fstat(opened.fileno()).st_size

    def _opened(self, sha256: str) -> BufferedReader:
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise BlobMissing(sha256) from None

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """Its bytes. Raises `BlobMissing`; and `BlobCorrupt` in place of the last where they have changed."""
        digest = hashlib.sha256()
        with self._opened(sha256) as opened:
            chunk = opened.read(CHUNK)
            while chunk:
                digest.update(chunk)
                following = opened.read(CHUNK)
                if not following and digest.hexdigest() != sha256:
                    raise BlobCorrupt(sha256)
                yield chunk
                chunk = following

    def older_than(self, seconds: float) -> Iterator[str]:
        """The SHA-256 of every blob that was last put so long ago."""
        limit = self._now() - seconds
        for folder in self.root.iterdir():
            for file in folder.iterdir():
                # A network's file system has files of its own there at times.
                if len(file.name) == LENGTH and _is_older(file, limit):
                    yield file.name

    def delete_older(self, sha256s: Iterable[str], seconds: float) -> int:
        """Deletes those of these blobs that were last put so long ago; gives their number.

        While they are `kept`, that is none.
        """
        limit, deleted = self._now() - seconds, 0
        with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB) as free:
            for sha256 in sha256s if free else ():
                if not _is_older(self.path(sha256), limit):  # somebody may be reading it, and shall not miss it
                    continue
                # Taken aside before its age is asked again, so that one that is put again in this moment is not lost.
                aside = self.temporary / f"{ASIDE}{sha256}"
                with suppress(FileNotFoundError):  # another process was faster
                    self.path(sha256).rename(aside)
                    if aside.stat().st_mtime < limit:
                        aside.unlink()
                        deleted += 1
                    else:
                        aside.rename(self.path(sha256))
        return deleted

    def _now(self) -> float:
        """Seconds by the clock that files' times come from, which is right for their ages whatever ours says."""
        os.utime(self.temporary)
        return self.temporary.stat().st_mtime

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside of it no process deletes a blob."""
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _locked(self, how: int) -> Iterator[bool]:
        """Holds the lock on deleting, which the kernel takes back when the process dies; False if others hold it."""
        with (self.temporary.parent / "deleting.lock").open("a") as lock:
            try:
                fcntl.flock(lock, how)
            except BlockingIOError:
                yield False
            else:
                yield True

    def put_aside(self, sha256: str) -> None:
        """Takes a damaged blob out of the way, and keeps it for whoever wants to see what became of it."""
        damaged = self.root.parent / "damaged"
        damaged.mkdir(exist_ok=True)
        self.path(sha256).rename(damaged / sha256)

    def sweep_temporary(self, seconds: float) -> None:
        """Removes what processes that were killed left unfinished so long ago; folders sooner, if that is long."""
        self.sweep_scratch(min(seconds, UNLOCKED_SECONDS))
        limit = self._now() - seconds
        for left in self.temporary.iterdir():
            with suppress(FileNotFoundError):  # whoever works there has just done with it
                if left.name.startswith(ASIDE):  # by one that died before it knew whether it might
                    left.rename(self.path(left.name.removeprefix(ASIDE)))
                elif _is_older(left, limit) and not left.is_dir():
                    left.unlink()

    def sweep_scratch(self, seconds: float = UNLOCKED_SECONDS) -> None:
        """Removes the folders of processes that were killed, which may hold a whole training's photos."""
        limit = self._now() - seconds
        for left in self.temporary.iterdir():
            with suppress(FileNotFoundError):  # another process was faster
                if left.is_dir() and _is_older(left, limit):
                    _remove_unless_locked(left)


def flush_folder(folder: Path) -> None:
    """Returns when the names in it outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_older(file: Path, limit: float) -> bool:
    """Not one that was deleted since it was seen."""
    try:
        return file.stat().st_mtime < limit
    except FileNotFoundError:
        return False


def _remove_unless_locked(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # whoever works in it lives
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
