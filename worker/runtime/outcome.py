"""The outcome of an attempt at a job: what its work raises becomes a status in its record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from config.tracing import annotate_span
from store.errors import DatabaseError, LeaseLostError, QueueUnavailable
from store.repositories.jobs import JobRepository
from store.store import Store
from worker.runtime.lease import JobCanceledError, ShardYielded, WorkerShutdown
from worker.runtime.transient_errors import PAUSE_SECONDS, is_transient, to_error

RECORD_TIMEOUT = 60.0  # seconds to wait for the database; 0 for a worker that shuts down
ALL_FAILED = {"code": "all_failed", "message": "All images failed; see the per-image results."}

log = structlog.get_logger()


class JobFailedError(Exception):
    """The job cannot be done. The code is stable; the message says why and what to do."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class ShardDone:
    """What the work on images returns: how many of them the job's next shard should have, None for as many as usual."""

    next_items: int | None


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. The status "queued" returns its shard to the queue."""

    status: str
    error: dict[str, str] | None = None
    done: ShardDone | None = None


def run_and_record(store: Store, job_id: str, attempt: int, work: Callable[[], ShardDone | None]) -> None:
    """Runs the work of an attempt and records its outcome. Nothing that the work raises leaves this function."""
    try:
        done = work()
    except Exception as error:
        record_outcome(store, job_id, attempt, error)
    else:
        record_outcome(store, job_id, attempt, None, done)


def record_outcome(
    store: Store, job_id: str, attempt: int, error: Exception | None, done: ShardDone | None = None
) -> None:
    """Records how an attempt ended. `error` is what its work raised, None if it succeeded, which it returned as `done`.

    While the database is unavailable, this retries up to RECORD_TIMEOUT seconds. After that, maintenance requeues the
    job when its lease expires.
    """
    if isinstance(error, LeaseLostError):
        log.info("lease lost")
        return
    outcome = Outcome("succeeded", done=done) if error is None else _outcome_of(error)
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


def _outcome_of(error: Exception) -> Outcome:
    match error:
        case JobCanceledError():
            return Outcome("canceled")
        case WorkerShutdown() | ShardYielded():
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
    done = outcome.done
    annotate_span({"patina.status": outcome.status, "patina.code": (outcome.error or {}).get("code", "")})
    with store.database.write() as session:
        jobs = JobRepository(session)
        has_ended = jobs.finish(
            job_id,
            attempt,
            outcome.status,
            outcome.error,
            error_if_none_ok=ALL_FAILED if done else None,
            shard_items=done.next_items if done else None,
        )
        job = jobs.get(job_id) if has_ended else None
    if job is not None:
        log.info("job ended", status=job.status, **(job.error or {}))


def requeue(store: Store, job_id: str, attempt: int, error: dict[str, str] | None = None) -> None:
    """Queues the shard again for any worker. `error` says why it waits. Raises `LeaseLostError`."""
    with store.database.write() as session:
        jobs = JobRepository(session)
        jobs.release(job_id, attempt, error)
        job = jobs.get(job_id)
    if job is None:
        return
    if job.status == "queued":
        log.info("job requeued")
    enqueue(store, job_id, job.kind)


def enqueue(store: Store, job_id: str, kind: str) -> None:
    """Wakes a worker for the job. If the queue is unavailable, maintenance does it later."""
    try:
        store.queue.enqueue(job_id, kind)
    except QueueUnavailable as error:
        log.warning("queue unavailable", error=str(error))
