"""Blobs as files of a folder, which computers may share."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO

from store.errors import BlobMissing
from store.files.blobs import CHUNK, ID_NAME, Blobs, check_hash, read_part, verify_chunks
from store.files.durable import flush_folder, write_durably
from store.files.quota import folder_size
from store.files.scratch import Scratch, is_older
from store.leases import BACKUP, Leases

TRASH_PREFIX = "delete-"
DIGITS = 64  # hexadecimal, of a SHA-256


def blob_path(data_dir: Path, sha256: str) -> Path:
    """Returns where a data folder has the blob."""
    return data_dir / "blobs" / sha256[:2] / sha256


class FolderBlobs(Blobs):
    """A folder of blobs, `blobs/ab/ab12…`, and beside it the folder `tmp` for unfinished files.

    Both lie on one file system, so a finished file gets its name atomically: a blob exists whole or not at all,
    whenever the process or the machine dies. Call `sync` before a record names a new blob, or a power cut could
    remove the blob's name.
    """

    def __init__(self, data_dir: Path, leases: Leases):
        super().__init__(str(data_dir), data_dir / "blobs", Scratch(data_dir / "tmp", leases), leases)
        self._data_dir = data_dir
        self.root.mkdir(parents=True, exist_ok=True)
        self._unsynced: set[Path] = {self.root, self.root.parent}  # folders with names that may not be on the disk
        self._naming, self._syncing = threading.Lock(), threading.Lock()

    def move_in(self, file: Path, sha256: str) -> str:
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

    def path(self, sha256: str) -> Path:
        return blob_path(self._data_dir, sha256)

    def verified_path(self, sha256: str) -> Path:
        with self._open(sha256) as opened:
            check_hash(hashlib.file_digest(opened, "sha256").hexdigest(), sha256)
        return self.path(sha256)

    def read(self, sha256: str) -> bytes:
        with self._open(sha256) as opened:
            data = opened.read()
        check_hash(hashlib.sha256(data).hexdigest(), sha256)
        return data

    def size(self, sha256: str) -> int:
        with self._open(sha256) as opened:
            return os.fstat(opened.fileno()).st_size

    def _open(self, sha256: str) -> BufferedReader:
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise BlobMissing(sha256) from None

    def iter_chunks(self, sha256: str) -> Iterator[bytes]:
        with self._open(sha256) as opened:
            yield from verify_chunks(iter(lambda: opened.read(CHUNK), b""), sha256)

    def iter_part(self, sha256: str, start: int, size: int) -> Iterator[bytes]:
        try:
            yield from read_part(self.path(sha256), start, size)
        except FileNotFoundError:
            raise BlobMissing(sha256) from None

    def iter_older_than(self, seconds: float) -> Iterator[str]:
        limit = self._scratch.now() - seconds
        for folder in self.root.iterdir():
            for file in folder.iterdir():
                # A network file system sometimes has files of its own there.
                if len(file.name) == DIGITS and is_older(file, limit):
                    yield file.name

    def delete_older(self, sha256s: Iterable[str], seconds: float) -> int:
        limit, deleted, paused = self._scratch.now() - seconds, 0, None
        for sha256 in sha256s:
            if not is_older(self.path(sha256), limit):  # checked first, because somebody may be reading it
                continue
            if paused is None and (paused := self.leases.is_held(BACKUP)):
                return 0
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

    def find_missing(self, sha256s: set[str]) -> set[str]:
        return {sha256 for sha256 in sha256s if not self.path(sha256).is_file()}

    def find_unrecorded(self) -> Mapping[str, int]:
        return {}

    def record(self, sizes: Mapping[str, int]) -> None:
        """Does nothing: a folder's blobs are in no table."""

    def quarantine(self, sha256: str) -> None:
        damaged = self.root.parent / "damaged"
        damaged.mkdir(exist_ok=True)
        self.path(sha256).rename(damaged / sha256)

    def remove_stale_temporary(self, seconds: float) -> None:
        self.remove_stale_scratch()
        for path in self.temporary.glob(f"{TRASH_PREFIX}*"):  # the process died before it had checked the age
            with suppress(FileNotFoundError):
                path.rename(self.path(path.name.removeprefix(TRASH_PREFIX)))
        self._scratch.remove_old_files(seconds)

    def stored_bytes(self) -> int:
        return folder_size(self.root)

    def signed_url(self, sha256: str, seconds: float) -> None:
        return None

    def check(self) -> None:
        with self.scratch() as folder:
            (folder / "check").write_bytes(bytes(4096))  # on a full disk, an empty file can still be created

    def read_id(self) -> str | None:
        try:
            return (self._data_dir / ID_NAME).read_text().strip() or None
        except FileNotFoundError:
            return None

    def write_id(self, deployment: str) -> None:
        write_durably(self._data_dir / ID_NAME, deployment)
