"""Deletes blobs that no record references."""

from __future__ import annotations

import structlog

from store.files.gc import collect_garbage
from worker.maintenance.duty import Duty

log = structlog.get_logger()


class CollectGarbage(Duty):
    """Deletes unreferenced blobs that are older than any upload or job between a blob and its record."""

    def run(self) -> None:
        deleted = collect_garbage(self.store.database, self.store.blobs, self.settings.unreferenced_blob_seconds)
        if deleted:
            log.info("unreferenced blobs deleted", blobs=deleted)
