"""Answers that are held until a job changes."""

from __future__ import annotations

from collections.abc import Callable

from anyio import current_time, sleep

from app.jobs.batching import JobLoader
from app.jobs.schemas import JobRead

# A short job is seen to end soon after it has, a long one is not asked after too often.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, GROWTH = 0.005, 0.1, 1.3


async def wait_until_changed(jobs: JobLoader, job: JobRead, seconds: float) -> JobRead:
    """The job as soon as it differs from `job`, or as it is after so many seconds."""
    return await _until(lambda now: now != job, jobs, job, seconds)


async def wait_until_finished(jobs: JobLoader, job: JobRead, seconds: float) -> JobRead:
    """The job as soon as it has ended, or as it is after so many seconds."""
    return await _until(lambda now: now.status.is_final, jobs, job, seconds)


async def _until(enough: Callable[[JobRead], bool], jobs: JobLoader, job: JobRead, seconds: float) -> JobRead:
    end, pause = current_time() + seconds, FIRST_PAUSE_SECONDS
    while not enough(job) and not job.status.is_final and current_time() < end:
        await sleep(min(pause, max(0, end - current_time())))
        pause = min(pause * GROWTH, LONGEST_PAUSE_SECONDS)
        job = await jobs.get(job.id)
    return job
