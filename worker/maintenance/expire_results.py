"""Deletes the results of jobs whose retention time is over."""

from __future__ import annotations

import structlog

from store.repositories.jobs import JobRepository
from worker.maintenance.duty import Duty

log = structlog.get_logger()


class ExpireResults(Duty):
    """Deletes the records of expired results; the garbage collection then deletes their blobs."""

    def run(self) -> None:
        while expired := self._expire_batch():
            for job_id in expired:
                log.info("results expired", job=job_id)

    def _expire_batch(self) -> list[str]:
        with self.store.database.write() as session:
            return JobRepository(session).expire()
