"""How a job ends: every way that its work can end, turned into a state of its record."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import structlog

from store.errors import DatabaseError, LeaseLostError, QueueUnavailable
from store.repositories.jobs import JobRepository
from store.store import Store
from worker.runtime.lease import JobCanceledError, WorkerLeavingError
from worker.runtime.transient_errors import PAUSE_SECONDS, explained, is_outage

# What a database that is away is waited for, to record an end. A worker that is to leave waits for none.
PATIENCE_SECONDS = 60.0

End = Callable[[Store, str, int], None]  # records how a job's attempt ended

log = structlog.get_logger()


class JobFailedError(Exception):
    """The job cannot be done; the code is stable, the message says why and what to do."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


def conclude(store: Store, job_id: str, attempt: int, work: Callable[[], None]) -> None:
    """Does the work and records how it ended. Raises nothing that the work raised."""
    try:
        end = _end_of(work)
        give_up = time.monotonic() + (0 if end is give_back else PATIENCE_SECONDS)
        while not _recorded(end, store, job_id, attempt, last=time.monotonic() >= give_up):
            time.sleep(PAUSE_SECONDS)
    except LeaseLostError:
        log.info("job is no longer ours")
    except DatabaseError as error:
        log.warning("end not recorded, the job is taken up again when its lease has run out", error=str(error))


def _end_of(work: Callable[[], None]) -> End:
    """Does the work and gives what there is to record. Raises `LeaseLostError`."""
    try:
        work()
    except JobCanceledError:
        return partial(_finish, status="canceled")
    except WorkerLeavingError:
        return give_back
    except JobFailedError as error:
        return partial(_finish, status="failed", error={"code": error.code, "message": error.message})
    except LeaseLostError:
        raise
    except Exception as error:
        if is_outage(error):
            # The job is not to blame and loses nothing; it waits a little, for as often as the outage takes.
            log.warning("job waits for the service", error=f"{type(error).__name__}: {error}")
            time.sleep(PAUSE_SECONDS)
            return partial(give_back, why=explained(error))
        log.exception("job failed")
        message = f"{type(error).__name__}: {error}. The worker's log says more; retry the job when it is mended."
        return partial(_finish, status="failed", error={"code": "internal_error", "message": message})
    return partial(_finish, status="succeeded")


def _recorded(end: End, store: Store, job_id: str, attempt: int, *, last: bool) -> bool:
    """False where the database is away and this was not the `last` try."""
    try:
        end(store, job_id, attempt)
    except DatabaseError as error:
        if last or not is_outage(error):
            raise
        log.warning("end not recorded yet", error=str(error))
        return False
    return True


def give_back(store: Store, job_id: str, attempt: int, why: dict[str, str] | None = None) -> None:
    """Queues the job again for another worker. Raises `LeaseLostError`."""
    with store.database.write() as session:
        jobs = JobRepository(session)
        jobs.give_back(job_id, attempt, why)
        job = jobs.get(job_id)
    log.info("job given back")
    if job is not None:
        enqueue(store, job_id, job.kind)


def enqueue(store: Store, job_id: str, kind: str) -> None:
    """Where the queue is away, the reaper does it later."""
    try:
        store.queue.enqueue(job_id, kind)
    except QueueUnavailable as error:
        log.warning("queue unavailable", error=str(error))


def _finish(store: Store, job_id: str, attempt: int, status: str, error: dict[str, str] | None = None) -> None:
    with store.database.write() as session:
        JobRepository(session).finish(job_id, attempt, status, error)
    log.info("job ended", status=status, **(error or {}))
