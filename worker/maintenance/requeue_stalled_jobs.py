"""Requeues what dead workers were working on."""

from __future__ import annotations

import time

import structlog

from config.settings import Settings
from store.repositories.jobs import ACTIVE, ExpiredJob, JobRepository
from store.store import Store
from worker.maintenance.duty import Duty
from worker.runtime.outcome import enqueue
from worker.runtime.transient_errors import is_transient

log = structlog.get_logger()


class RequeueStalledJobs(Duty):
    """Requeues the shards of jobs whose lease expired, and wakes a worker for each.

    A job with a cancel request ends instead, as does one with a shard that has crashed too often.

    While the database is unavailable, no worker can renew its lease. So after an outage every worker gets a grace
    period of one lease.
    """

    def __init__(self, store: Store, settings: Settings):
        super().__init__(store, settings)
        self._grace_until = 0.0

    def run(self) -> None:
        try:
            expired = self._requeue()
        except Exception as error:
            if is_transient(error):
                self._grace_until = time.monotonic() + self.settings.lease_seconds
            raise
        for job in expired:  # only now the transaction is committed
            if job.status in ACTIVE:
                log.warning("lease expired, job requeued", job=job.id)
                enqueue(self.store, job.id, job.kind)
            else:
                log.warning("job ended", job=job.id, status=job.status, **(job.error or {}))

    def _requeue(self) -> list[ExpiredJob]:
        with self.store.database.write() as session:
            jobs = JobRepository(session)
            if time.monotonic() >= self._grace_until:
                return jobs.requeue_expired_leases(self.settings.max_attempts)
            jobs.list_queued()  # any query: it fails if the outage lasts, which extends the grace period
            return []
