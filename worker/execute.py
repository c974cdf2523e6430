"""Executes shards of jobs: claim one, hold its lease, run the function of the job's kind."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial

import structlog

from config.tracing import record_span, span
from store.db.tables import Job
from store.repositories.claims import Claim, ClaimRaced
from store.repositories.jobs import JobRepository
from store.repositories.schedule import ScheduleRepository
from worker.runtime.context import WorkerContext
from worker.runtime.lease import Lease
from worker.runtime.outcome import enqueue, record_outcome, run_and_record

CLAIM_TRIES = 20  # in a row, when other workers claim at the same time
LONG_SLICE_SECONDS = 5.0  # after which a shard also gives way to one of a job that was begun before

log = structlog.get_logger()


def execute_job(context: WorkerContext, job_id: str) -> None:
    """Runs one shard after the other, in their fair order, until none waits. `job_id` is the job that was enqueued.

    Does nothing if other workers have it all: the queue may wake more workers than there are shards.
    """
    served: Job | None = None
    while not context.shutdown.is_set():
        claim = _claim_next(context, served)
        if served is not None and (claim is None or claim.job.id != served.id):
            _settle(context, served)
        if claim is None:
            break
        with structlog.contextvars.bound_contextvars(job=claim.job.id):
            if served is None and claim.has_rest:  # the entry that woke this worker is gone
                enqueue(context.store, claim.job.id, claim.job.kind)
            _run_claim(context, claim)
        served = claim.job
    if served is None:
        _report_if_worker_too_old(context, job_id)


def run_job(context: WorkerContext, claim: Claim, lease: Lease) -> None:
    """Runs the function of the job's kind and records the outcome."""
    # Local imports: the train worker must never import torch, which degrade and sr need.
    job = claim.job
    match job.kind:
        case "train":
            from worker.jobs.train import run_training_process  # noqa: PLC0415

            run_training_process(context, job, lease)
        case "degrade" | "sr" if claim.expansion is not None:
            from worker.jobs.expand import list_items  # noqa: PLC0415

            run_and_record(context.store, job.id, job.attempt, partial(list_items, context, claim, lease))
        case "degrade":
            from worker.jobs.degrade import run_degrade  # noqa: PLC0415

            run_and_record(context.store, job.id, job.attempt, partial(run_degrade, context, claim, lease))
        case "sr":
            from worker.jobs.sr import run_sr  # noqa: PLC0415

            run_and_record(context.store, job.id, job.attempt, partial(run_sr, context, claim, lease))
        case kind:  # it has a queue, so this worker claimed it
            error = NotImplementedError(f"worker/execute.py has no function for jobs of kind {kind}")
            record_outcome(context.store, job.id, job.attempt, error)


def _claim_next(context: WorkerContext, served: Job | None) -> Claim | None:
    workers = context.count_workers()  # before the transaction, which must not wait for the queue
    for _ in range(CLAIM_TRIES):
        try:
            with context.store.database.write() as session:
                return ScheduleRepository(session, context.token_limits).claim_next(
                    context.queue, context.name, context.settings.lease_seconds, workers=workers, served=served
                )
        except ClaimRaced:
            continue
    return None


def _run_claim(context: WorkerContext, claim: Claim) -> None:
    job, settings = claim.job, context.settings
    if claim.was_queued:
        log.info("job started", kind=job.kind, attempt=job.attempt)

    def is_better_waiting() -> bool:
        with context.store.database.write() as session:
            schedule = ScheduleRepository(session, context.token_limits)
            return schedule.reserve_better(context.queue, job, seconds=LONG_SLICE_SECONDS)

    may_yield = None if job.kind == "train" else is_better_waiting
    with (
        _trace(context, claim),
        Lease(context.store, settings, job.id, job.attempt, context.shutdown, may_yield=may_yield) as lease,
    ):
        run_job(context, claim, lease)


def _trace(context: WorkerContext, claim: Claim) -> AbstractContextManager[object]:
    """Returns the span of a shard, in the trace of the request that created its job."""
    job = claim.job
    if job.attempt == 1 and job.traceparent and job.started_at:
        record_span("queued", traceparent=job.traceparent, started=job.created_at, ended=job.started_at)
    attributes: dict[str, str | int | float] = {
        "patina.job": job.id,
        "patina.attempt": job.attempt,
        "patina.worker": context.name,
    }
    return span(f"{job.kind} shard", kind="consumer", traceparent=job.traceparent, attributes=attributes)


def _settle(context: WorkerContext, job: Job) -> None:
    with context.store.database.write() as session:
        JobRepository(session).settle(job.id)


def _report_if_worker_too_old(context: WorkerContext, job_id: str) -> None:
    with context.store.database.write() as session:
        needs_newer_worker = JobRepository(session).mark_worker_too_old(job_id)
    if needs_newer_worker:
        log.warning("job requires newer worker, skipped", job=job_id)
