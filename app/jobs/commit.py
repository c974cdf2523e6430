"""Records a new job and puts it on the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from app.http.idempotency import IdempotentRequest
from app.jobs.limits import check_capacity, check_priority
from app.jobs.mapping import to_job_read
from app.jobs.schemas import JobRead, Kind
from config.settings import Settings
from store.db.database import Session
from store.db.tables import Checkpoint, Job
from store.errors import QueueUnavailable
from store.repositories.expansion import Expansion
from store.repositories.jobs import ALL, JobRepository
from store.repositories.models import CheckpointRepository
from store.repositories.samples import NewItem, SampleRepository
from store.store import Store

log = structlog.get_logger()


@dataclass(frozen=True)
class NewJob:
    """A job that was checked and can be recorded."""

    kind: Kind
    dataset_id: str | None
    model_id: str | None
    parameters: dict[str, Any]
    unit: str
    total: int
    items: Sequence[tuple[str, NewItem]] = ()  # (output name, image)
    expansion: Expansion | None = None  # which items a worker lists instead
    priority: int = 0
    checkpoints: Sequence[Checkpoint] = ()  # of the training that this one continues


def commit(
    store: Store, settings: Settings, request: IdempotentRequest, prepare: Callable[[Session], NewJob]
) -> JobRead:
    """Returns the job that the same request created before, or a new one, which is put on the queue.

    `prepare` locks what the job needs and checks it again, in the transaction that records the job. Raises the errors
    of `prepare`, and `ProblemError` if a limit is reached or the idempotency key is in use.
    """

    def create(session: Session) -> Job:
        new = prepare(session)
        check_priority(session, new.priority)
        job = JobRepository(session).create(
            new.kind.value,
            dataset_id=new.dataset_id,
            model_id=new.model_id,
            parameters=new.parameters,
            unit=new.unit,
            total=new.total,
            retention_seconds=settings.result_seconds,
            priority=new.priority,
            num_items=len(new.items) or ALL,
            expansion=new.expansion.to_json() if new.expansion else None,
        )
        if new.items:
            SampleRepository(session).add_items(job.id, new.items)
        for checkpoint in new.checkpoints:
            CheckpointRepository(session).put(
                job.id, step=checkpoint.step, seconds=checkpoint.seconds, sha256=checkpoint.sha256
            )
        check_capacity(session, settings)  # last, because it blocks others who add jobs
        return job

    with store.database.write() as session:
        job, is_new = request.get_or_create(session, Job, lambda: create(session))
        result = to_job_read(job)
    if is_new:
        enqueue(store, result)
    return result


def enqueue(store: Store, job: JobRead) -> None:
    """Puts a recorded job on the queue. If the queue is unavailable, the reaper enqueues the job later."""
    log.info("job accepted", job=job.id, kind=job.kind)
    try:
        store.queue.enqueue(job.id, job.kind)
    except QueueUnavailable as error:
        log.warning("queue unavailable, the reaper will enqueue the job", job=job.id, error=str(error))
