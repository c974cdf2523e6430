"""Actions on jobs: cancel, finish, continue and retry."""

from __future__ import annotations

from http import HTTPStatus

import structlog

from app.http.idempotency import IdempotentRequest
from app.http.problems import ProblemError
from app.jobs.commit import NewJob, commit, enqueue
from app.jobs.limits import check_capacity
from app.jobs.mapping import to_job_read
from app.jobs.schemas import JobRead, Kind, Status
from app.jobs.service import check_not_expired
from app.lookup import get_job_or_404, lock_dataset_or_404
from config.settings import Settings
from store.db.database import Session
from store.db.tables import Job
from store.repositories.jobs import JobRepository
from store.repositories.models import CheckpointRepository
from store.repositories.retention import end_retention
from store.store import Store

log = structlog.get_logger()


def cancel(store: Store, job_id: str) -> JobRead:
    """Returns a job that has already ended unchanged."""
    with store.database.write() as session:
        get_job_or_404(session, job_id)
        JobRepository(session).request_cancel(job_id)
        log.info("cancel requested", job=job_id)
        session.expire_all()
        return to_job_read(get_job_or_404(session, job_id))


def retry(store: Store, settings: Settings, job_id: str) -> JobRead:
    with store.database.write() as session:
        job = get_job_or_404(session, job_id)
        check_not_expired(job)
        _lock_dataset(session, job)
        if not JobRepository(session).retry(job_id):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "job_not_retryable",
                "Only a failed or canceled job can be retried; this one is queued, running or has succeeded.",
            )
        check_capacity(session, settings)
        session.expire_all()
        result = to_job_read(get_job_or_404(session, job_id))
    log.info("job retried", job=job_id)
    enqueue(store, result)
    return result


def delete_results(store: Store, job_id: str) -> None:
    """Lets the results of a job that has ended expire now. Raises `ProblemError` (409) if it has not ended."""
    with store.database.write() as session:
        get_job_or_404(session, job_id)
        if not end_retention(session, job_id):
            raise ProblemError(
                HTTPStatus.CONFLICT, "job_not_finished", "The job has not ended. Cancel it, or wait until it ends."
            )
    log.info("deletion of results requested", job=job_id)


def finish(store: Store, job_id: str) -> JobRead:
    with store.database.write() as session:
        get_job_or_404(session, job_id)
        if not JobRepository(session).request_finish(job_id):
            raise ProblemError(
                HTTPStatus.CONFLICT, "training_not_running", "Only a running training can be finished early."
            )
        session.expire_all()
        return to_job_read(get_job_or_404(session, job_id))


def resume_training(store: Store, settings: Settings, job_id: str, request: IdempotentRequest) -> JobRead:
    """Raises `ProblemError` unless the job is a training that was ended early and has its checkpoint."""

    def prepare(session: Session) -> NewJob:
        ended = get_job_or_404(session, job_id)
        _lock_dataset(session, ended)
        JobRepository(session).lock_shared(job_id)  # its checkpoints must not expire before the new job names them
        checkpoints = CheckpointRepository(session).list_for_job(job_id)
        ended_early = ended.status == Status.succeeded and ended.finish_requested
        if ended_early and ended.expired_at is not None:
            raise ProblemError(
                HTTPStatus.GONE,
                "checkpoint_expired",
                "The checkpoint of this training was deleted at the time in `expires`. Train again.",
            )
        if not (ended_early and checkpoints):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "not_ended_early",
                "Only a training that was ended early and has a model can be continued. Retry a failed or canceled "
                f"one: POST /jobs/{job_id}/retry.",
            )
        return NewJob(
            Kind.train,
            dataset_id=ended.dataset_id,
            model_id=None,
            parameters=ended.parameters,
            unit=ended.unit,
            total=ended.parameters.get("max_steps") or 0,
            checkpoints=checkpoints,
            priority=ended.priority,
        )

    return commit(store, settings, request, prepare)


def _lock_dataset(session: Session, job: Job) -> None:
    """Locks the job's dataset, because deleting the dataset deletes the job."""
    if job.dataset_id is not None:
        lock_dataset_or_404(session, job.dataset_id)
