"""Files of resumable uploads until they are whole, each named by the id of its upload."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from store.errors import UploadLocked
from store.files.blobs import flush_folder


class PartialUploads:
    """The folder `uploads` beside the blobs, on their file system. The record says how much of a file is valid."""

    def __init__(self, root: Path):
        self.root = root / "uploads"
        self.root.mkdir(parents=True, exist_ok=True)

    def path(self, upload_id: str) -> Path:
        return self.root / upload_id

    def size(self, upload_id: str) -> int:
        """Returns the size in bytes, 0 if the file does not exist yet."""
        try:
            return self.path(upload_id).stat().st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def locked(self, upload_id: str) -> Iterator[BinaryIO]:
        """Yields the file, created if needed, for reading and writing. Raises `UploadLocked` if it is in use.

        The kernel releases the lock when the process dies.
        """
        with os.fdopen(os.open(self.path(upload_id), os.O_RDWR | os.O_CREAT, 0o600), "r+b") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UploadLocked(upload_id) from None
            yield opened

    def flush(self, opened: BinaryIO) -> None:
        """Returns when the file's bytes and its name survive a power cut."""
        opened.flush()
        os.fsync(opened.fileno())
        flush_folder(self.root)

    def is_locked(self, upload_id: str) -> bool:
        try:
            with self.locked(upload_id):
                return False
        except UploadLocked:
            return True

    def link(self, upload_id: str, path: Path) -> None:
        """Gives a whole file a second name, which can be moved while the first one stays."""
        os.link(self.path(upload_id), path)

    def delete(self, upload_id: str) -> None:
        self.path(upload_id).unlink(missing_ok=True)

    def delete_unknown(self, known_ids: Callable[[], set[str]]) -> None:
        """Deletes files whose id `known_ids` does not return.

        `known_ids` is called after the folder was read, because a record is created before its file.
        """
        names = {file.name for file in self.root.iterdir()}
        for name in names - known_ids():
            self.delete(name)
