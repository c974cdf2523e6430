"""Limits on jobs: of the queue, and of each token."""

from __future__ import annotations

from http import HTTPStatus

from app.http.idempotency import is_replay
from app.http.problems import ProblemError
from config.settings import Settings
from store.db.access import caller_of
from store.db.database import Session
from store.repositories.jobs import JobRepository
from store.repositories.tokens import TokenRepository
from store.repositories.usage import UsageRepository

QUEUE_FULL_RETRY_SECONDS = 30
DAY_RETRY_SECONDS = 3600  # usage is counted by the hour


def precheck_capacity(session: Session, settings: Settings, key: str | None) -> None:
    """Raises `ProblemError` (429) if the queue is full, unless the request is a replay, which adds no job."""
    if not is_replay(session, key):
        _check_capacity(session, settings, new=1)


def check_capacity(session: Session, settings: Settings) -> None:
    """Raises `ProblemError` (429) if the queue is full or the token is at a limit.

    Call it at the end of the transaction that adds a job, which counts: others wait until the transaction ends.
    """
    JobRepository(session).lock_queue()
    _check_capacity(session, settings, new=0)


def check_priority(session: Session, priority: int) -> None:
    """Raises `ProblemError` (403) if the caller's token does not allow this priority."""
    caller = caller_of(session)
    if caller.is_admin or caller.token is None:
        return
    allowed = TokenRepository(session).get_max_priority(caller.token)
    if priority > allowed:
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "priority_not_allowed",
            f"This token allows a priority of at most {allowed}. Ask for less, or for another token: patina token "
            f"create NAME --max-priority {priority}",
        )


def _check_capacity(session: Session, settings: Settings, *, new: int) -> None:
    jobs, token = JobRepository(session), caller_of(session).token
    if jobs.queue_length_at_least(settings.max_queued_jobs + 1 - new):
        raise _too_many(
            "queue_full",
            f"The queue is full: {settings.max_queued_jobs:,} jobs are waiting. Retry later, cancel some, or raise "
            "PATINA_MAX_QUEUED_JOBS.",
            QUEUE_FULL_RETRY_SECONDS,
        )
    if token is None:
        return
    limit = settings.token_max_queued_jobs
    if limit is not None and jobs.queue_length_at_least(limit + 1 - new, owner=token):
        raise _too_many(
            "token_queue_full",
            f"{limit:,} jobs of this token are waiting already. Retry when one has started, cancel some, or ask the "
            "operator to raise PATINA_TOKEN_MAX_QUEUED_JOBS.",
            QUEUE_FULL_RETRY_SECONDS,
        )
    seconds = settings.token_worker_seconds_per_day
    if seconds is not None and UsageRepository(session).worker_seconds(token) >= seconds:
        raise _too_many(
            "token_seconds_used",
            f"Workers have spent {seconds:,.0f} seconds on jobs of this token within 24 hours. Retry later, or ask "
            "the operator to raise PATINA_TOKEN_WORKER_SECONDS_PER_DAY.",
            DAY_RETRY_SECONDS,
        )


def _too_many(code: str, detail: str, retry_seconds: int) -> ProblemError:
    headers = {"Retry-After": str(retry_seconds)}
    return ProblemError(HTTPStatus.TOO_MANY_REQUESTS, code, detail, headers=headers)
