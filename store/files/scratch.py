"""Folders for unfinished files, each of one process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from store.leases import Leases

YOUNG_SECONDS = 60  # a folder may be created before its process is known to others


class Scratch:
    """The folder `root`. What a process creates in it is named `ID-…`, with the id of the process in its lease."""

    def __init__(self, root: Path, leases: Leases):
        self.root = root
        self._leases = leases
        root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yields a new folder and removes it at the end, with all files that were not moved away.

        The lease of the process keeps `remove_stale` away, since a training's folder may be a day old.
        """
        folder = Path(tempfile.mkdtemp(dir=self.root, prefix=f"{self._leases.announce()}-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def remove_stale(self, seconds: float = YOUNG_SECONDS) -> None:
        """Removes folders of processes that are gone, which may hold a whole training's photos."""
        limit = self.now() - seconds
        old = [path for path in self.root.iterdir() if is_older(path, limit) and path.is_dir()]
        if not old:
            return
        alive = self._leases.list_processes() | {self._leases.holder}  # its own may have expired during an outage
        for path in old:
            if path.name.partition("-")[0] not in alive:
                shutil.rmtree(path, ignore_errors=True)

    def remove_own(self) -> None:
        """Removes all folders of this process, which ends."""
        for path in self.root.glob(f"{self._leases.holder}-*"):
            shutil.rmtree(path, ignore_errors=True)

    def remove_old_files(self, seconds: float) -> None:
        """Removes files that killed processes left more than `seconds` ago."""
        limit = self.now() - seconds
        for path in self.root.iterdir():
            with suppress(FileNotFoundError):  # its owner has just finished with it
                if is_older(path, limit) and not path.is_dir():
                    path.unlink()

    def now(self) -> float:
        """Returns the time in seconds by the file system's clock, which may differ from the computer's."""
        os.utime(self.root)
        return self.root.stat().st_mtime


def is_older(file: Path, limit: float) -> bool:
    """Returns False for a file that was deleted meanwhile."""
    try:
        return file.stat().st_mtime < limit
    except FileNotFoundError:
        return False
