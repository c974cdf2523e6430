"""Holds a response until a job changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from anyio import current_time, sleep

from app.jobs.batching import JobLoader
from app.jobs.schemas import JobRead

# Pauses grow with the job's age, so that the end of a short job is seen soon, and a long job is polled rarely. Clients
# ask again at every change, so the age of a request does not count.
PAUSE_OF_AGE, MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.05, 0.005, 0.25


async def wait_until_changed(jobs: JobLoader, job: JobRead, seconds: float) -> JobRead:
    """Returns the job as soon as it differs from `job`, at the latest after `seconds` or when the API ends."""
    return await _wait(lambda current: current != job, jobs, job, seconds)


async def wait_until_finished(jobs: JobLoader, job: JobRead, seconds: float) -> JobRead:
    """Returns the job as soon as it has ended, at the latest after `seconds`."""
    return await _wait(lambda current: current.status.is_final, jobs, job, seconds)


async def _wait(condition: Callable[[JobRead], bool], jobs: JobLoader, job: JobRead, seconds: float) -> JobRead:
    deadline = current_time() + seconds
    while not (condition(job) or job.status.is_final or jobs.closed) and current_time() < deadline:
        await sleep(min(_choose_pause(job), max(0, deadline - current_time())))
        job = await jobs.get(job.id)
    return job


def _choose_pause(job: JobRead) -> float:
    age = (datetime.now(UTC) - job.created).total_seconds()
    return min(max(PAUSE_OF_AGE * age, MIN_PAUSE_SECONDS), MAX_PAUSE_SECONDS)
