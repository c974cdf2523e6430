"""Holds a response until a job changes."""

from __future__ import annotations

from collections.abc import Callable

from anyio import current_time, sleep

from app.jobs.batching import JobLoader
from app.jobs.schemas import JobRead

# Pauses start short, so that the end of a short job is seen soon, and grow, so that a long job is polled rarely.
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, BACKOFF_FACTOR = 0.005, 0.1, 1.3


async def wait_until_changed(jobs: JobLoader, job: JobRead, seconds: float) -> JobRead:
    """Returns the job as soon as it differs from `job`, at the latest after `seconds` or when the API ends."""
    return await _wait(lambda current: current != job, jobs, job, seconds)


async def wait_until_finished(jobs: JobLoader, job: JobRead, seconds: float) -> JobRead:
    """Returns the job as soon as it has ended, at the latest after `seconds`."""
    return await _wait(lambda current: current.status.is_final, jobs, job, seconds)


async def _wait(condition: Callable[[JobRead], bool], jobs: JobLoader, job: JobRead, seconds: float) -> JobRead:
    deadline, pause = current_time() + seconds, FIRST_PAUSE_SECONDS
    while not (condition(job) or job.status.is_final or jobs.closed) and current_time() < deadline:
        await sleep(min(pause, max(0, deadline - current_time())))
        pause = min(pause * BACKOFF_FACTOR, MAX_PAUSE_SECONDS)
        job = await jobs.get(job.id)
    return job
