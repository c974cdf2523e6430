"""Where queued jobs stand, and why they wait."""

from __future__ import annotations

from app.jobs.schemas import JobRead, Status, WaitRead, WaitReason
from config.settings import Settings
from store.errors import QueueUnavailable
from store.queue import INFERENCE, QUEUE_OF_KIND
from store.repositories.schedule import Place, ScheduleRepository, TokenLimits
from store.store import Store


def add_place(store: Store, settings: Settings, job: JobRead) -> JobRead:
    """Returns the job, a queued one with its place and the reason why it waits."""
    if job.status is not Status.queued:
        return job
    limits = TokenLimits(settings.token_max_running, settings.token_worker_seconds_per_day)
    with store.as_anyone().database.read() as session:  # others' jobs count, too
        place = ScheduleRepository(session, limits).find_place(job.id)
    if place is None:  # a worker has just taken it
        return job
    return job.model_copy(update={"wait": _explain(place, limits, _count_workers(store, job))})


def _count_workers(store: Store, job: JobRead) -> int | None:
    try:
        return store.queue.count_workers(QUEUE_OF_KIND.get(job.kind, INFERENCE))
    except QueueUnavailable:
        return None


def _explain(place: Place, limits: TokenLimits, workers: int | None) -> WaitRead:
    if workers == 0:
        reason, message = WaitReason.no_worker, "No worker of this kind is running. Start one."
    elif place.over_seconds:
        reason = WaitReason.token_seconds
        message = f"Its token has used {limits.worker_seconds:,.0f} seconds of workers within 24 hours."
    elif place.over_running:
        reason = WaitReason.token_running
        message = f"{limits.running} workers are busy with this token's jobs, as many as it may have."
    elif place.place > 1:
        reason, message = WaitReason.others_first, f"{place.place - 1} jobs come before it."
    else:
        reason, message = WaitReason.next, "The next free worker takes it."
    return WaitRead(place=place.place, reason=reason, message=message)
