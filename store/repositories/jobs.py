"""Queries on jobs: the state machine that decides who may work on a job and whose results count.

    queued ──claim──▶ running ──finish──▶ succeeded | failed | canceled
       ▲                 │
       └── release, ─────┘     retry: failed | canceled ──▶ queued
           expired lease

Every write of a worker names the `attempt` that `claim` returned. After another worker has claimed the job, the old
number is too low, and those writes raise `LeaseLostError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, case, delete, func, not_, select, update
from sqlalchemy.orm import Session

from store.db.access import caller_of
from store.db.statements import execute_counted, list_newest, lock_globally
from store.db.tables import Checkpoint, Item, Job, Preview, Sample, now
from store.errors import LeaseLostError
from store.ids import new_id
from store.queue import QUEUE_OF_KIND
from store.repositories.samples import NewSample
from store.repositories.webhooks import Outbox

ACTIVE = ("queued", "running")
STOPPED = ("failed", "canceled")
# Built once: it is executed hundreds of times a second.
JOBS_BY_ID = select(Job).where(Job.id.in_(bindparam("job_ids", expanding=True)))
QUEUE_LOCK = 0x70617471  # any number that no other lock has
EXPIRY_BATCH = 20  # jobs in one transaction, which blocks other writers
PARAMETERS_VERSION = 2  # of jobs' `parameters`; raise it when older workers would misread new ones
# By this version. Any other job waits for a newer worker.
IS_READABLE = and_(Job.kind.in_(tuple(QUEUE_OF_KIND)), Job.parameters_version <= PARAMETERS_VERSION)


@dataclass(frozen=True)
class Progress:
    done: int
    total: int
    per_second: float | None
    eta_seconds: float | None
    metrics: dict[str, Any] | None = None


@dataclass(frozen=True)
class LeaseRenewal:
    """What a worker learns when it renews its lease. `updated_at` is when progress was last recorded."""

    cancel_requested: bool
    updated_at: float


@dataclass(frozen=True)
class ExpiredJob:
    """What became of a job whose lease expired: the status is queued, failed or canceled."""

    id: str
    kind: str
    status: str
    error: dict[str, str] | None


class JobRepository:
    def __init__(self, session: Session):
        self.session = session

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
    ) -> Job:
        """Creates a queued job. Its results are kept for `retention_seconds` after its end, with None for ever."""
        job = Job(
            id=new_id(),
            kind=kind,
            dataset_id=dataset_id,
            model_id=model_id,
            owner=caller_of(self.session).token,
            parameters=parameters,
            unit=unit,
            total=total,
            parameters_version=PARAMETERS_VERSION,
            retention_seconds=retention_seconds,
        )
        self.session.add(job)
        self.session.flush()
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
        """Returns the kind of each queued job by its id, the oldest first."""
        rows = self.session.execute(select(Job.id, Job.kind).where(Job.status == "queued").order_by(Job.id))
        return {row.id: row.kind for row in rows}

    def queue_length_at_least(self, limit: int) -> bool:
        """Returns whether `limit` jobs are queued, those of all callers. Reads no more rows than that."""
        jobs = Job.__table__  # not the class, which shows a caller his own jobs alone
        queued = select(jobs.c.id).where(jobs.c.status == "queued").limit(limit).subquery()
        return (self.session.scalar(select(func.count()).select_from(queued)) or 0) >= limit

    def lock_queue(self) -> None:
        """Blocks other callers of this method until the transaction ends, so that the queue's length is certain."""
        lock_globally(self.session, QUEUE_LOCK)

    # --- workers ----------------------------------------------------------------------------------------------------

    def claim(self, job_id: str, worker: str, lease_seconds: float) -> Job | None:
        """Gives a queued job to this worker and returns it. `attempt` fences its writes.

        Returns None if the job is not queued, or if only a newer version knows its kind or reads its parameters.
        """
        claimed = self._update(
            Job.id == job_id,
            Job.status == "queued",
            IS_READABLE,
            status="running",
            error=None,
            attempt=Job.attempt + 1,
            worker=worker,
            lease_until=now() + lease_seconds,
            started_at=case((Job.started_at.is_(None), now()), else_=Job.started_at),
        )
        return self.session.get(Job, job_id, populate_existing=True) if claimed else None

    def mark_worker_too_old(self, job_id: str) -> bool:
        """Records the error `worker_too_old` in a queued job that needs a newer worker. False if it does not."""
        message = (
            f"The job needs a newer worker than the one that found it (which runs {', '.join(QUEUE_OF_KIND)} and reads "
            f"parameters of version {PARAMETERS_VERSION}). The job waits. Update all workers to the API's version."
        )
        return bool(
            self._update(
                Job.id == job_id,
                Job.status == "queued",
                not_(IS_READABLE),
                error={"code": "worker_too_old", "message": message},
            )
        )

    def renew(self, job_id: str, attempt: int, lease_seconds: float) -> LeaseRenewal:
        """Extends the lease. Raises `LeaseLostError`."""
        # `updated_at` stays: a longer lease is nothing that listeners want to see.
        self._update_fenced(job_id, attempt, lease_until=now() + lease_seconds, updated_at=Job.updated_at)
        row = self.session.execute(select(Job.cancel_requested, Job.updated_at).where(Job.id == job_id)).one()
        return LeaseRenewal(row.cancel_requested, row.updated_at)

    def record(self, job_id: str, attempt: int, progress: Progress, samples: Sequence[NewSample] = ()) -> None:
        """Adds finished samples and sets the progress. Raises `LeaseLostError`, and then adds nothing."""
        counts = Counter(sample.status for sample in samples)
        changes: dict[str, Any] = {
            "done": progress.done,
            "total": progress.total,
            "per_second": progress.per_second,
            "eta_seconds": progress.eta_seconds,
            "ok": Job.ok + counts["ok"],
            "failed": Job.failed + counts["failed"],
        }
        if progress.metrics is not None:
            changes["metrics"] = progress.metrics
        if samples:
            changes["crash_count"] = 0  # the job makes progress
        self._update_fenced(job_id, attempt, **changes)
        self.session.add_all(
            Sample(
                job_id=job_id,
                position=sample.position,
                sample=sample.sample,
                status=sample.status,
                code=sample.code,
                message=sample.message,
                files=sample.files,
            )
            for sample in samples
        )

    def finish(self, job_id: str, attempt: int, status: str, error: dict[str, str] | None = None) -> None:
        """Ends the job. Raises `LeaseLostError`."""
        self._update_fenced(job_id, attempt, status=status, error=error, **self._end_values())
        Outbox(self.session).enqueue([job_id])

    def set_model(self, job_id: str, attempt: int, model_id: str) -> None:
        """Names the model that a training produced. Raises `LeaseLostError`."""
        self._update_fenced(job_id, attempt, model_id=model_id)

    def check_lease(self, job_id: str, attempt: int) -> None:
        """Raises `LeaseLostError` unless this attempt has the job; it keeps it until the transaction ends."""
        self._update_fenced(job_id, attempt)

    def reset_failures(self, job_id: str, attempt: int) -> None:
        """Forgets earlier crashes, because the job has saved progress. Raises `LeaseLostError`."""
        self._update_fenced(job_id, attempt, crash_count=0)

    def release(self, job_id: str, attempt: int, error: dict[str, str] | None = None) -> None:
        """Requeues a job that its worker cannot finish now, and records why. Raises `LeaseLostError`."""
        self._update_fenced(job_id, attempt)
        self._update_to_end(Job.id == job_id, error=error, **self._requeue_values())

    def record_crash(self, job_id: str, attempt: int, max_crashes: int) -> None:
        """Requeues a job that a process died of, or fails it after `max_crashes`. Raises `LeaseLostError`."""
        self._update_fenced(job_id, attempt)
        self._requeue_crashed((Job.id == job_id) & (Job.status == "running"), max_crashes=max_crashes)

    # --- requests of users ------------------------------------------------------------------------------------------

    def request_cancel(self, job_id: str) -> None:
        """Cancels a queued job at once and tells a running one to stop. A job that has ended stays as it is."""
        # In one statement: a running job could be requeued between two, and then neither would match.
        queued = Job.status == "queued"
        self._update_to_end(
            Job.id == job_id,
            Job.status.in_(ACTIVE),
            status=case((queued, "canceled"), else_=Job.status),
            finished_at=case((queued, now()), else_=Job.finished_at),
            cancel_requested=case((queued, Job.cancel_requested), else_=True),
        )

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
            crash_count=0,
            finished_at=None,
            cancel_requested=False,
            finish_requested=False,
        )
        if retried:
            self.session.execute(delete(Sample).where(Sample.job_id == job_id, Sample.status == "failed"))
        return bool(retried)

    # --- maintenance ------------------------------------------------------------------------------------------------

    def requeue_after_data_loss(self, job_id: str) -> None:
        """Requeues a succeeded or running job whose results are lost.

        The worker of a running job believes that the results exist, so it loses its lease.
        """
        queued = {"status": "queued", "finished_at": None, "cancel_requested": False}
        self._update(Job.id == job_id, Job.status == "succeeded", **queued)
        self._update_to_end(Job.id == job_id, Job.status == "running", **self._requeue_values())

    def requeue_expired_leases(self, max_crashes: int) -> list[ExpiredJob]:
        """Requeues running jobs whose lease has expired and returns what became of them.

        Those with a cancel request are canceled instead. Those that have crashed `max_crashes` times fail.
        """
        expired = (Job.status == "running") & (Job.lease_until < now())
        rows = self._requeue_crashed(expired, max_crashes=max_crashes)
        return [ExpiredJob(row.id, row.kind, row.status, row.error) for row in rows]

    def expire(self) -> list[str]:
        """Deletes the results and inputs of jobs past their retention and returns the jobs' ids. The jobs stay.

        A training loses its checkpoints and preview; its model belongs to the dataset.
        """
        due = (Job.finished_at + Job.retention_seconds < now()) & Job.expired_at.is_(None) & Job.status.not_in(ACTIVE)
        expired = list(self.session.scalars(select(Job.id).where(due).limit(EXPIRY_BATCH)))
        for job_id in list(expired):
            if not self._update(due, Job.id == job_id, expired_at=now()):  # a user has just retried it
                expired.remove(job_id)
        for table in (Sample, Item, Checkpoint, Preview):
            self.session.execute(delete(table).where(table.job_id.in_(expired)))
        return expired

    # ----------------------------------------------------------------------------------------------------------------

    def _requeue_crashed(self, crashed: ColumnElement[bool], *, max_crashes: int) -> list[Row[Any]]:
        """Requeues, cancels or fails jobs and returns (id, kind, status, error) of each."""
        failed = self._update_to_end(
            crashed,
            Job.crash_count + 1 >= max_crashes,
            Job.cancel_requested.is_(False),
            status="failed",
            crash_count=Job.crash_count + 1,
            error={
                "code": "worker_died",
                "message": f"{max_crashes} workers died while they ran this job, often for lack of memory. See their "
                "logs, fix the cause and retry.",
            },
            **self._end_values(),
        )
        return failed + self._update_to_end(crashed, crash_count=Job.crash_count + 1, **self._requeue_values())

    @staticmethod
    def _requeue_values() -> dict[str, Any]:
        """Values that requeue a job, or cancel it if that was requested."""
        canceled = Job.cancel_requested.is_(True)
        return {
            "status": case((canceled, "canceled"), else_="queued"),
            "finished_at": case((canceled, now()), else_=Job.finished_at),
            "worker": None,
            "lease_until": None,
            "eta_seconds": None,
        }

    @staticmethod
    def _end_values() -> dict[str, Any]:
        return {"finished_at": now(), "lease_until": None, "eta_seconds": None}

    def _update_fenced(self, job_id: str, attempt: int, **changes: Any) -> None:
        # An update without changes still locks the row and checks the fence.
        values = changes or {"attempt": attempt}
        if not self._update(Job.id == job_id, Job.attempt == attempt, Job.status == "running", **values):
            raise LeaseLostError(f"job {job_id} is no longer attempt {attempt}'s")

    def _update_to_end(self, *conditions: ColumnElement[bool], **changes: Any) -> list[Row[Any]]:
        """Updates jobs that may end by it, and enqueues webhook messages for those that do.

        Returns (id, kind, status, error) of each updated job.
        """
        changed = update(Job).where(*conditions).values(**changes)
        statement = changed.returning(Job.id, Job.kind, Job.status, Job.error)
        rows = list(self.session.execute(statement, execution_options={"synchronize_session": False}))
        if ended := [row.id for row in rows if row.status not in ACTIVE]:
            Outbox(self.session).enqueue(ended)
        return rows

    def _update(self, *conditions: ColumnElement[bool], **changes: Any) -> int:
        return execute_counted(self.session, update(Job).where(*conditions).values(**changes))
