"""Executes one job: claim it, hold its lease, run the function of its kind."""

from __future__ import annotations

from functools import partial

import structlog

from store.db.tables import Job
from store.repositories.jobs import JobRepository
from worker.runtime.context import WorkerContext
from worker.runtime.lease import Lease
from worker.runtime.outcome import record_outcome, run_and_record

log = structlog.get_logger()


def execute_job(context: WorkerContext, job_id: str) -> None:
    """Runs a queued job. Does nothing if another worker has it or it ended: the queue may deliver an id twice."""
    with structlog.contextvars.bound_contextvars(job=job_id):
        with context.store.database.write() as session:
            jobs = JobRepository(session)
            job = jobs.claim(job_id, context.name, context.settings.lease_seconds)
            needs_newer_worker = job is None and jobs.mark_worker_too_old(job_id)
        if needs_newer_worker:
            log.warning("job requires newer worker, skipped")
        if job is None:
            return
        log.info("job started", kind=job.kind, attempt=job.attempt)
        with Lease(context.store, context.settings, job_id, job.attempt, context.shutdown) as lease:
            run_job(context, job, lease)


def run_job(context: WorkerContext, job: Job, lease: Lease) -> None:
    """Runs the job's function, which depends on its kind, and records the outcome."""
    # Local imports: the train worker must never import torch, which degrade and sr need.
    match job.kind:
        case "train":
            from worker.jobs.train import run_training_process  # noqa: PLC0415

            run_training_process(context, job, lease)
        case "degrade":
            from worker.jobs.degrade import run_degrade  # noqa: PLC0415

            run_and_record(context.store, job.id, job.attempt, partial(run_degrade, context, job, lease))
        case "sr":
            from worker.jobs.sr import run_sr  # noqa: PLC0415

            run_and_record(context.store, job.id, job.attempt, partial(run_sr, context, job, lease))
        case kind:  # it has a queue, so this worker claimed it
            error = NotImplementedError(f"worker/execute.py has no function for jobs of kind {kind}")
            record_outcome(context.store, job.id, job.attempt, error)
