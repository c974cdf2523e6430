"""Local copies of a bucket's blobs. The least recently used ones are deleted when they take too much space."""

from __future__ import annotations

import os
import shutil
import threading
import weakref
from contextlib import suppress
from itertools import count
from pathlib import Path, PosixPath

KEEP_SHARE = 0.9  # of the limit that an eviction leaves, so that not every new file causes one


class LocalFile(PosixPath):
    """The path of a file that is deleted with this object, as by `tempfile.NamedTemporaryFile`."""

    @classmethod
    def take(cls, path: Path) -> LocalFile:
        """Returns the path of a file that exists, and owns it from now on."""
        file = cls(path)
        weakref.finalize(file, path.unlink, missing_ok=True)
        return file


class FileCache:
    """Files in the folder `root`, named by their SHA-256. Several processes may use the same folder.

    A file that was taken has a second name, in a folder of the process. So it stays readable while others delete it
    from the cache.
    """

    def __init__(self, root: Path, max_bytes: int, min_free_bytes: int):
        self.root = root
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._lock = threading.Lock()
        self._used: int | None = None  # bytes; what other processes added since the last count is missing
        self._numbers = count()
        root.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.root / sha256

    def take(self, sha256: str, folder: Path) -> LocalFile | None:
        """Gives the file a second name in `folder` and returns that; None if the file is not in the cache."""
        name = folder / f"{next(self._numbers)}-{sha256}"
        try:
            os.link(self.path(sha256), name)
        except FileNotFoundError:
            return None
        os.utime(name)  # the time of both names: the file is in use
        return LocalFile.take(name)

    def add(self, file: Path, sha256: str, folder: Path) -> LocalFile:
        """Moves in a file whose hash was checked, and takes it."""
        size = file.stat().st_size
        name = folder / f"{next(self._numbers)}-{sha256}"
        os.link(file, name)
        file.replace(self.path(sha256))
        self._make_space(size)
        return LocalFile.take(name)

    def remove(self, sha256: str) -> None:
        self.path(sha256).unlink(missing_ok=True)

    def _make_space(self, added: int) -> None:
        with self._lock:
            if self._used is not None:
                self._used += added
            if self._used is None or self._used > self._max_bytes or self._disk_is_full():
                self._used = self._evict()

    def _disk_is_full(self) -> bool:
        return shutil.disk_usage(self.root).free < self._min_free_bytes

    def _evict(self) -> int:
        """Deletes the files that were unused for the longest time, and returns the size of the rest in bytes."""
        found = list[tuple[float, int, Path]]()
        for path in self.root.iterdir():
            with suppress(FileNotFoundError):  # another process was faster
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        used = sum(size for _, size, _ in found)
        limit = used if used <= self._max_bytes else int(self._max_bytes * KEEP_SHARE)
        for _, size, path in sorted(found):
            if used <= limit and not self._disk_is_full():
                break
            path.unlink(missing_ok=True)
            used -= size
        return used
