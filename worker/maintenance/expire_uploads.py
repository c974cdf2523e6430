"""Deletes resumable uploads and inputs that were abandoned."""

from __future__ import annotations

import structlog

from store.repositories.inputs import InputsRepository
from store.repositories.uploads import UploadRepository
from worker.maintenance.duty import Duty

log = structlog.get_logger()


class ExpireUploads(Duty):
    """Deletes expired uploads and inputs, and partial files whose upload is deleted or complete."""

    def run(self) -> None:
        with self.store.database.write() as session:
            for upload_id in UploadRepository(session).expire():
                log.info("upload expired", upload=upload_id)
            for inputs_id in InputsRepository(session).expire():
                log.info("inputs expired", inputs=inputs_id)
        self.store.partial_uploads.delete_unknown(self._incomplete_ids)

    def _incomplete_ids(self) -> set[str]:
        with self.store.database.read() as session:
            return UploadRepository(session).incomplete_ids()
