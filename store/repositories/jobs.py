"""Queries on jobs: creation, lists, what users ask for, and maintenance. Those of workers are in claims.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, select

from config.tracing import current_traceparent
from store.db.access import caller_of
from store.db.statements import list_newest, lock_globally
from store.db.tables import Checkpoint, Item, Job, Preview, ResultShard, Sample, Shard, now
from store.ids import new_id
from store.repositories.claims import (
    ACTIVE,
    ALL,
    PARAMETERS_VERSION,
    STOPPED,
    ClaimRepository,
    ExpiredJob,
    LeaseRenewal,
    Progress,
)

__all__ = ["ACTIVE", "ALL", "PARAMETERS_VERSION", "ExpiredJob", "JobRepository", "LeaseRenewal", "Progress"]

# Built once: it is executed hundreds of times a second.
JOBS_BY_ID = select(Job).where(Job.id.in_(bindparam("job_ids", expanding=True)))
QUEUE_LOCK = 0x70617471  # any number that no other lock has
EXPIRY_BATCH = 20  # jobs in one transaction, which blocks other writers


class JobRepository(ClaimRepository):
    # --- create and read --------------------------------------------------------------------------------------------

    def create(
        self,
        kind: str,
        *,
        dataset_id: str | None,
        model_id: str | None,
        parameters: dict[str, Any],
        unit: str,
        total: int,
        retention_seconds: float | None = None,
        priority: int = 0,
        num_items: int = ALL,
        expansion: dict[str, Any] | None = None,
    ) -> Job:
        """Creates a queued job of items 0 to `num_items` - 1; with an `expansion`, a worker lists them first.

        Its results are kept for `retention_seconds` after its end, with None for ever.
        """
        job = Job(
            id=new_id(),
            kind=kind,
            dataset_id=dataset_id,
            model_id=model_id,
            owner=caller_of(self.session).token,
            parameters=parameters,
            unit=unit,
            total=total,
            priority=priority,
            parameters_version=PARAMETERS_VERSION,
            retention_seconds=retention_seconds,
            traceparent=current_traceparent(),
        )
        self.session.add(job)
        self.session.flush()
        self.add_shard(job, 0, num_items if expansion is None else 0, expansion=expansion)
        return job

    def get(self, job_id: str) -> Job | None:
        return self.session.get(Job, job_id)

    def lock_shared(self, job_id: str) -> Job | None:
        """Returns the job, which nobody can change until the transaction ends; None if it is gone."""
        return self.session.get(Job, job_id, with_for_update={"read": True}, populate_existing=True)

    def get_many(self, job_ids: Sequence[str]) -> Sequence[Job]:
        """Returns the jobs that exist, in any order."""
        return self.session.scalars(JOBS_BY_ID, {"job_ids": job_ids}).all()

    def list_newest(
        self, *, before: str | None, limit: int, status: str | None, kind: str | None, dataset_id: str | None
    ) -> Sequence[Job]:
        filters = ((Job.status, status), (Job.kind, kind), (Job.dataset_id, dataset_id))
        conditions = [column == value for column, value in filters if value is not None]
        return list_newest(self.session, Job, *conditions, before=before, limit=limit)

    def list_active(self, dataset_id: str) -> Sequence[Job]:
        """Returns the dataset's queued and running jobs."""
        query = select(Job).where(Job.dataset_id == dataset_id, Job.status.in_(ACTIVE))
        return self.session.scalars(query).all()

    def list_updated(self, seconds: float) -> tuple[float, dict[str, float]]:
        """Returns the database's time, and when each job was updated of those updated in the last `seconds`, by id."""
        time = float(self.session.scalar(select(now())) or 0)
        rows = self.session.execute(select(Job.id, Job.updated_at).where(Job.updated_at > time - seconds))
        return time, {row.id: row.updated_at for row in rows}

    def list_queued(self) -> dict[str, str]:
        """Returns the kind of each job that has work for another worker, by its id, the oldest first."""
        waits = select(Shard.id).where(Shard.job_id == Job.id, Shard.status == "queued").exists()
        rows = self.session.execute(select(Job.id, Job.kind).where(Job.status.in_(ACTIVE), waits).order_by(Job.id))
        return {row.id: row.kind for row in rows}

    def count_shards(self) -> dict[tuple[str, str], int]:
        """Returns the number of shards by (queue, status): what waits, and how many workers are busy."""
        query = select(Shard.queue, Shard.status, func.count()).group_by(Shard.queue, Shard.status)
        return {(queue, status): count for queue, status, count in self.session.execute(query) if status != "stopped"}

    def queue_length_at_least(self, limit: int, owner: str | None = None) -> bool:
        """Returns whether `limit` jobs are queued, of all callers or of one token. Reads no more rows than that."""
        jobs = Job.__table__  # not the class, which shows a caller his own jobs alone
        queued = select(jobs.c.id).where(jobs.c.status == "queued")
        if owner is not None:
            queued = queued.where(jobs.c.owner == owner)
        counted = queued.limit(limit).subquery()
        return (self.session.scalar(select(func.count()).select_from(counted)) or 0) >= limit

    def lock_queue(self) -> None:
        """Blocks other callers of this method until the transaction ends, so that the queue's length is certain."""
        lock_globally(self.session, QUEUE_LOCK)

    # --- requests of users ------------------------------------------------------------------------------------------

    def request_cancel(self, job_id: str) -> None:
        """Cancels a queued job at once and asks a running one to stop. A job that has ended stays as it is."""
        job = self._lock(job_id)
        if job is None or job.status not in ACTIVE:
            return
        if self._is_running(job_id):
            self._update(Job.id == job_id, cancel_requested=True)
        else:
            self._end(job_id, "canceled")

    def request_finish(self, job_id: str) -> bool:
        """Tells a running training to end early and keep its model. False if it is not a running training."""
        return bool(self._update(Job.id == job_id, Job.status == "running", Job.kind == "train", finish_requested=True))

    def retry(self, job_id: str) -> bool:
        """Requeues a failed or canceled job. Finished samples stay, failed ones are repeated. False if not stopped."""
        retried = self._update(
            Job.id == job_id,
            Job.status.in_(STOPPED),
            Job.expired_at.is_(None),
            status="queued",
            done=Job.done - Job.failed,
            failed=0,
            error=None,
            finished_at=None,
            cancel_requested=False,
            finish_requested=False,
        )
        if retried:
            self.session.execute(delete(Sample).where(Sample.job_id == job_id, Sample.status == "failed"))
            self._queue_again(job_id)
        return bool(retried)

    # --- maintenance ------------------------------------------------------------------------------------------------

    def requeue_after_data_loss(self, job_id: str) -> None:
        """Requeues a succeeded or running job whose results are lost.

        The worker of a running job believes that the results exist, so it loses its lease.
        """
        job = self._lock(job_id)
        if job is None or job.status not in ("succeeded", "running"):
            return
        self.session.execute(delete(Shard).where(Shard.job_id == job_id, Shard.expansion.is_(None)))
        self._update_shard(Shard.job_id == job_id, status="stopped", attempt=None, worker=None, lease_until=None)
        if job.cancel_requested and job.status == "running":
            self._end(job_id, "canceled")
        else:
            self._update(Job.id == job_id, status="queued", finished_at=None, eta_seconds=None, cancel_requested=False)
            self._queue_again(job_id)

    def expire(self) -> list[str]:
        """Deletes the results and inputs of jobs past their retention and returns the jobs' ids. The jobs stay.

        A training loses its checkpoints and preview; its model belongs to the dataset.
        """
        due = (Job.finished_at + Job.retention_seconds < now()) & Job.expired_at.is_(None) & Job.status.not_in(ACTIVE)
        expired = list(self.session.scalars(select(Job.id).where(due).limit(EXPIRY_BATCH)))
        for job_id in list(expired):
            if not self._update(due, Job.id == job_id, expired_at=now()):  # a user has just retried it
                expired.remove(job_id)
        for table in (Sample, ResultShard, Item, Checkpoint, Preview, Shard):
            self.session.execute(delete(table).where(table.job_id.in_(expired)))
        return expired

    # ----------------------------------------------------------------------------------------------------------------

    def _queue_again(self, job_id: str) -> None:
        """Queues all items of a job that has no shards; its worker skips what is finished."""
        job = self.session.get_one(Job, job_id, populate_existing=True)
        last = self.session.scalar(select(func.max(Item.position)).where(Item.job_id == job_id))
        lists_items = self._update_shard(Shard.job_id == job_id, status="queued")
        if last is not None or not lists_items:
            self.add_shard(job, 0, ALL if last is None else last + 1)
