"""Requeues running jobs whose worker died."""

from __future__ import annotations

import time

import structlog

from config.settings import Settings
from store.repositories.jobs import JobRepository
from store.store import Store
from worker.maintenance.duty import Duty
from worker.runtime.transient_errors import is_transient

log = structlog.get_logger()


class RequeueStalledJobs(Duty):
    """Requeues jobs whose lease expired.

    While the database is unavailable, no worker can renew its lease. So after an outage every worker gets a grace
    period of one lease.
    """

    def __init__(self, store: Store, settings: Settings):
        super().__init__(store, settings)
        self._grace_until = 0.0

    def run(self) -> None:
        try:
            requeued = self._requeue()
        except Exception as error:
            if is_transient(error):
                self._grace_until = time.monotonic() + self.settings.lease_seconds
            raise
        for job_id in requeued:  # only now the transaction is committed
            log.warning("lease expired, job requeued", job=job_id)

    def _requeue(self) -> list[str]:
        with self.store.database.write() as session:
            jobs = JobRepository(session)
            if time.monotonic() >= self._grace_until:
                return jobs.requeue_expired_leases(self.settings.max_attempts)
            jobs.list_queued()  # any query: it fails if the outage lasts, which extends the grace period
            return []
