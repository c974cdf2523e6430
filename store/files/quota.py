"""How much more may be stored, by the limits of the settings and the free space of the disk."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

MEASURING_SHARE = 0.05  # of all time that measuring may take; a million blobs take seconds


class StorageQuota:
    """The quota of files in `folders`, on one file system. Their size is measured only if `max_bytes` is given.

    `measure` returns what counts as used, in bytes, if that is not the size of the folders.

    Reserved bytes, and bytes committed since the last measurement, count as used, so concurrent requests do not get
    the same space. What other processes have stored since the measurement is unknown.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        max_bytes: int | None,
        min_free_bytes: int,
        *,
        measure: Callable[[], int] | None = None,
    ):
        self.folders = folders
        self._measure = measure or (lambda: sum(map(folder_size, folders)))
        self.max_bytes = max_bytes
        self.min_free_bytes = min_free_bytes
        self._used = 0
        self._reserved = 0
        self._committed: list[tuple[float, int]] = []  # (time, bytes)
        self._measure_at = 0.0
        self._measuring = threading.Lock()
        self._lock = threading.Lock()

    def available(self) -> int:
        """Returns the bytes that may still be stored, at least 0."""
        self._measure_if_due()
        with self._lock:
            return max(0, self._available())

    def reserve(self, size: int) -> bool:
        """Reserves `size` bytes until `release`. Returns False, and reserves nothing, if they are not available.

        Uses the last measurement and takes no new one.
        """
        with self._lock:
            if size > self._available():
                return False
            self._reserved += size
            return True

    def release(self, size: int) -> None:
        """Gives back reserved bytes."""
        with self._lock:
            self._reserved -= size

    def commit(self, size: int) -> None:
        """Counts `size` bytes that were just stored."""
        if self.max_bytes is not None:
            with self._lock:
                self._committed.append((time.monotonic(), size))

    def available_on_disk(self) -> int:
        """Returns free bytes beyond `min_free_bytes`; negative if there are fewer."""
        return shutil.disk_usage(self.folders[0]).free - self.min_free_bytes

    def capacity(self) -> int:
        """Returns what `available_on_disk` would return for an empty disk."""
        return shutil.disk_usage(self.folders[0]).total - self.min_free_bytes

    def disk_is_limit(self) -> bool:
        """Returns whether the disk's free space, and not `max_bytes`, limits what is available."""
        with self._lock:
            quota = self._available_of_quota()
        return quota is None or self.available_on_disk() < quota

    def _available(self) -> int:
        disk, quota = self.available_on_disk(), self._available_of_quota()
        return disk if quota is None else min(disk, quota)

    def _available_of_quota(self) -> int | None:
        if self.max_bytes is None:
            return None
        committed = sum(size for _, size in self._committed)
        return self.max_bytes - self._used - committed - self._reserved

    def _measure_if_due(self) -> None:
        if self.max_bytes is None:
            return
        with self._measuring:
            began = time.monotonic()
            if began < self._measure_at:
                return
            used = self._measure()
            with self._lock:
                self._used = used
                # The measurement may have missed what was committed after it began.
                self._committed = [(at, size) for at, size in self._committed if at >= began]
            duration = time.monotonic() - began
            self._measure_at = began + duration / MEASURING_SHARE


def folder_size(folder: Path) -> int:
    """Returns the bytes of all files below a folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - a Path takes twice as long
            except FileNotFoundError:  # deleted meanwhile
                continue
    return total
