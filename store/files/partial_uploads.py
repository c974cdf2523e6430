"""Files that are still being received, each named by the id of its upload, until they are whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from store.files.blobs import flush_folder


class FileBusyError(Exception):
    """Another request, perhaps of another process, has the file."""


class UnfinishedFiles:
    """The folder `uploads` beside the blobs, on their file system. What of a file counts, its record says."""

    def __init__(self, root: Path):
        self.root = root / "uploads"
        self.root.mkdir(parents=True, exist_ok=True)

    def path(self, upload_id: str) -> Path:
        return self.root / upload_id

    def size(self, upload_id: str) -> int:
        """Its bytes; 0 where it is not there (yet)."""
        try:
            return self.path(upload_id).stat().st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def held(self, upload_id: str) -> Iterator[BinaryIO]:
        """The file, made if need be, to be read and written by nobody else. Raises `FileBusyError`.

        The kernel takes the lock back when the process dies.
        """
        with os.fdopen(os.open(self.path(upload_id), os.O_RDWR | os.O_CREAT, 0o600), "r+b") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileBusyError(upload_id) from None
            yield opened

    def flush(self, opened: BinaryIO) -> None:
        """Returns when what was written outlives a power cut, and the file's name with it."""
        opened.flush()
        os.fsync(opened.fileno())
        flush_folder(self.root)

    def is_busy(self, upload_id: str) -> bool:
        """Whether somebody holds it."""
        try:
            with self.held(upload_id):
                return False
        except FileBusyError:
            return True

    def link(self, upload_id: str, path: Path) -> None:
        """Gives a whole file a second name, which may be taken while this one stays."""
        os.link(self.path(upload_id), path)

    def delete(self, upload_id: str) -> None:
        self.path(upload_id).unlink(missing_ok=True)

    def sweep(self, wanted: Callable[[], set[str]]) -> None:
        """Deletes those that `wanted` does not name, which is asked after looking: a record is made before its file."""
        there = {file.name for file in self.root.iterdir()}
        for name in there - wanted():
            self.delete(name)
