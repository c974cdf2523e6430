"""The outcome of an attempt at a job: what its work raises becomes a status in its record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from store.errors import DatabaseError, LeaseLostError, QueueUnavailable
from store.repositories.jobs import JobRepository
from store.store import Store
from worker.runtime.lease import JobCanceledError, WorkerShutdown
from worker.runtime.transient_errors import PAUSE_SECONDS, is_transient, to_error

RECORD_TIMEOUT = 60.0  # seconds to wait for the database; 0 for a worker that shuts down

log = structlog.get_logger()


class JobFailedError(Exception):
    """The job cannot be done. The code is stable; the message says why and what to do."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. The status "queued" returns the job to the queue."""

    status: str
    error: dict[str, str] | None = None


def run_and_record(store: Store, job_id: str, attempt: int, work: Callable[[], None]) -> None:
    """Runs the work of an attempt and records its outcome. Nothing that the work raises leaves this function."""
    try:
        work()
    except Exception as error:
        record_outcome(store, job_id, attempt, error)
    else:
        record_outcome(store, job_id, attempt, None)


def record_outcome(store: Store, job_id: str, attempt: int, error: Exception | None) -> None:
    """Records how an attempt ended. `error` is what its work raised, None if it succeeded.

    While the database is unavailable, this retries up to RECORD_TIMEOUT seconds. After that, maintenance requeues the
    job when its lease expires.
    """
    if isinstance(error, LeaseLostError):
        log.info("lease lost")
        return
    outcome = _outcome_of(error)
    deadline = time.monotonic() + (0 if isinstance(error, WorkerShutdown) else RECORD_TIMEOUT)
    while True:
        try:
            _record(store, job_id, attempt, outcome)
        except LeaseLostError:
            log.info("lease lost")
        except DatabaseError as failure:
            retry = is_transient(failure) and time.monotonic() < deadline
            log.warning("could not record job outcome", error=str(failure), retry=retry)
            if retry:
                time.sleep(PAUSE_SECONDS)
                continue
        return


def _outcome_of(error: Exception | None) -> Outcome:
    match error:
        case None:
            return Outcome("succeeded")
        case JobCanceledError():
            return Outcome("canceled")
        case WorkerShutdown():
            return Outcome("queued")
        case JobFailedError():
            return Outcome("failed", {"code": error.code, "message": error.message})
    text = f"{type(error).__name__}: {error}"
    if is_transient(error):
        # The job is not to blame and loses nothing. It retries after a pause for as long as the outage lasts.
        log.warning("job paused: dependency unavailable", error=text)
        time.sleep(PAUSE_SECONDS)
        return Outcome("queued", to_error(error))
    log.error("job failed", exc_info=error)
    message = f"{text}. The worker's log has details. Fix the cause and retry the job."
    return Outcome("failed", {"code": "internal_error", "message": message})


def _record(store: Store, job_id: str, attempt: int, outcome: Outcome) -> None:
    if outcome.status == "queued":
        requeue(store, job_id, attempt, outcome.error)
        return
    with store.database.write() as session:
        JobRepository(session).finish(job_id, attempt, outcome.status, outcome.error)
    log.info("job ended", status=outcome.status, **(outcome.error or {}))


def requeue(store: Store, job_id: str, attempt: int, error: dict[str, str] | None = None) -> None:
    """Queues the job again for any worker. `error` says why it waits. Raises `LeaseLostError`."""
    with store.database.write() as session:
        jobs = JobRepository(session)
        jobs.release(job_id, attempt, error)
        job = jobs.get(job_id)
    log.info("job requeued")
    if job is not None:
        enqueue(store, job_id, job.kind)


def enqueue(store: Store, job_id: str, kind: str) -> None:
    """Puts the job on the queue. If the queue is unavailable, maintenance does it later."""
    try:
        store.queue.enqueue(job_id, kind)
    except QueueUnavailable as error:
        log.warning("queue unavailable", error=str(error))
