"""What the queue calls: claims a job and runs it."""

from __future__ import annotations

import structlog

from store.repositories.jobs import JobRepository
from worker.runtime.context import WorkerContext
from worker.runtime.lease import Lease
from worker.runtime.outcome import conclude

log = structlog.get_logger()


def run(context: WorkerContext, job_id: str) -> None:
    """Runs the job unless another worker has it or it has ended; queue entries may come twice."""
    with structlog.contextvars.bound_contextvars(job=job_id):
        with context.store.database.write() as session:
            job = JobRepository(session).claim(job_id, context.name, context.settings.lease_seconds)
            refused = job is None and JobRepository(session).refuse_newer(job_id)
        if job is None:
            if refused:
                log.warning("job is for newer workers than this one, left to them")
            return
        log.info("job started", kind=job.kind, attempt=job.attempt)
        with Lease(context.store, context.settings, job_id, job.attempt, context.leaving) as lease:
            # Imported here: the train worker must never import torch, which degrade and sr need.
            match job.kind:
                case "train":
                    from worker.jobs.train import supervise  # noqa: PLC0415

                    supervise(context, job, lease)
                case "degrade":
                    from worker.jobs.degrade import degrade  # noqa: PLC0415

                    conclude(context.store, job_id, job.attempt, lambda: degrade(context, job, lease))
                case "sr":
                    from worker.jobs.sr import super_resolve_images  # noqa: PLC0415

                    conclude(context.store, job_id, job.attempt, lambda: super_resolve_images(context, job, lease))
