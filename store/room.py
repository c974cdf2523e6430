"""How much more may be stored: what the settings leave of the disk, and of what the service may take of it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

SHARE_OF_TIME = 0.05  # that measuring may take; a million blobs take seconds


class Room:
    """Room for files in `folder`. What it takes is measured, again and again, only where that is limited."""

    def __init__(self, folder: Path, max_bytes: int | None, min_free_bytes: int):
        self.folder = folder
        self.max_bytes = max_bytes
        self.min_free_bytes = min_free_bytes
        self._used = 0
        self._measure_at = 0.0
        self._lock = threading.Lock()

    def left(self) -> int:
        """Bytes, not below 0."""
        left = shutil.disk_usage(self.folder).free - self.min_free_bytes
        if self.max_bytes is not None:
            left = min(left, self.max_bytes - self._taken())
        return max(0, left)

    def _taken(self) -> int:
        with self._lock:
            began = time.monotonic()
            if began >= self._measure_at:
                self._used = _bytes_in(self.folder)
                took = time.monotonic() - began
                self._measure_at = began + took / SHARE_OF_TIME
            return self._used


def _bytes_in(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - a Path for each takes twice as long
            except FileNotFoundError:  # deleted meanwhile
                continue
    return total
