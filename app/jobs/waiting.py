"""Answers that are held until a job changes."""

from __future__ import annotations

from collections.abc import Callable

from anyio import current_time, sleep, to_thread

from app.jobs import service
from app.jobs.schemas import JobOut
from store.store import Store

LOOK_EVERY_SECONDS = 0.1


async def until_changed(store: Store, job: JobOut, seconds: float) -> JobOut:
    """The job as soon as it differs from `job`, or as it is after so many seconds."""
    return await _until(lambda now: now != job, store, job, seconds)


async def until_finished(store: Store, job: JobOut, seconds: float) -> JobOut:
    """The job as soon as it has ended, or as it is after so many seconds."""
    return await _until(lambda now: now.status.is_final, store, job, seconds)


async def _until(enough: Callable[[JobOut], bool], store: Store, job: JobOut, seconds: float) -> JobOut:
    end = current_time() + seconds
    while not enough(job) and not job.status.is_final and current_time() < end:
        await sleep(LOOK_EVERY_SECONDS)
        job = await to_thread.run_sync(service.get, store, job.id)
    return job
