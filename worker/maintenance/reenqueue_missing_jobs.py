"""Puts queued jobs back on the queue if the queue lost them."""

from __future__ import annotations

import structlog

from config.settings import Settings
from store.repositories.jobs import JobRepository
from store.store import Store
from worker.maintenance.duty import Duty

log = structlog.get_logger()


class ReenqueueMissingJobs(Duty):
    """Enqueues jobs that have waiting work in the database but no entry in the queue, in two cycles in a row.

    In one cycle alone, a worker may have taken the job from the queue without having claimed it yet.
    """

    def __init__(self, store: Store, settings: Settings):
        super().__init__(store, settings)
        self._missing_before: set[str] = set()

    def run(self) -> None:
        with self.store.database.read() as session:
            kinds = JobRepository(session).list_queued()
        missing = kinds.keys() - self.store.queue.queued_ids()
        for job_id in sorted(missing & self._missing_before):
            log.info("missing job re-enqueued", job=job_id)
            self.store.queue.enqueue(job_id, kinds[job_id])
        self._missing_before = missing
