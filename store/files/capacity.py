"""How much more may be stored: what the settings leave of the disk, and of what the service may take of it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

SHARE_OF_TIME = 0.05  # that measuring may take; a million blobs take seconds


class Room:
    """Room for files in `folders` of one file system. What they take is measured only where that is limited.

    What is claimed, and what was kept since the measurement, counts as taken, so that requests that come at once are
    not given the same room. Of other processes is known what they had stored when it was measured.
    """

    def __init__(self, folders: Sequence[Path], max_bytes: int | None, min_free_bytes: int):
        self.folders = folders
        self.max_bytes = max_bytes
        self.min_free_bytes = min_free_bytes
        self._used = 0
        self._claimed = 0
        self._kept: list[tuple[float, int]] = []  # when, and how many bytes
        self._measure_at = 0.0
        self._measuring = threading.Lock()
        self._lock = threading.Lock()

    def left(self) -> int:
        """Bytes, not below 0."""
        self._measure_if_due()
        with self._lock:
            return max(0, self._left())

    def claim(self, size: int) -> bool:
        """Sets so many bytes aside, to be given back by `release`. False, and none are, where there are not so many.

        What the folders hold is not measured for it: it goes by the last measurement.
        """
        with self._lock:
            if size > self._left():
                return False
            self._claimed += size
            return True

    def release(self, size: int) -> None:
        with self._lock:
            self._claimed -= size

    def keep(self, size: int) -> None:
        """So many bytes were stored just now."""
        if self.max_bytes is not None:
            with self._lock:
                self._kept.append((time.monotonic(), size))

    def left_on_disk(self) -> int:
        """Bytes, of what the disk has and the settings do not keep free; below 0 where it has less than they do."""
        return shutil.disk_usage(self.folders[0]).free - self.min_free_bytes

    def ever_on_disk(self) -> int:
        """As `left_on_disk`, if there were nothing on the disk."""
        return shutil.disk_usage(self.folders[0]).total - self.min_free_bytes

    def _left(self) -> int:
        left = self.left_on_disk()
        if self.max_bytes is not None:
            kept = sum(size for _, size in self._kept)
            left = min(left, self.max_bytes - self._used - kept - self._claimed)
        return left

    def _measure_if_due(self) -> None:
        if self.max_bytes is None:
            return
        with self._measuring:
            began = time.monotonic()
            if began < self._measure_at:
                return
            used = sum(map(_bytes_in, self.folders))
            with self._lock:
                self._used = used
                self._kept = [(at, size) for at, size in self._kept if at >= began]  # it may have missed these
            took = time.monotonic() - began
            self._measure_at = began + took / SHARE_OF_TIME


def _bytes_in(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - a Path for each takes twice as long
            except FileNotFoundError:  # deleted meanwhile
                continue
    return total
