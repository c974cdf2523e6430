"""Measures how much is stored, for /metrics."""

from __future__ import annotations

import time

from config.settings import Settings
from store.store import Store
from worker.maintenance.duty import Duty

INTERVAL_SECONDS = 60.0
MEASURING_SHARE = 0.02  # of all time: a folder of a million blobs takes seconds


class MeasureStorage(Duty):
    """Publishes the bytes of all blobs and unfinished uploads, once a minute or less often."""

    def __init__(self, store: Store, settings: Settings):
        super().__init__(store, settings)
        self._due = 0.0

    def run(self) -> None:
        began = time.monotonic()
        if began < self._due:
            return
        size = self.store.blobs.stored_bytes() + self.store.partial_uploads.stored_bytes()
        pause = max(INTERVAL_SECONDS, (time.monotonic() - began) / MEASURING_SHARE)
        self.store.queue.report_stored_bytes(size, seconds=3 * pause)
        self._due = began + pause
