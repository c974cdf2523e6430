"""Accepts jobs that come with files, in four stages: precheck, receive, validate, commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from anyio import to_thread
from fastapi import Request
from pydantic import BaseModel

from app.http.idempotency import IdempotentRequest
from app.ingest.fields import parse_fields
from app.ingest.files import describe_files
from app.ingest.multipart import ReceivedForm, receive_form
from app.jobs.commit import NewJob, commit
from app.jobs.limits import precheck_capacity
from app.jobs.mapping import to_job_read
from app.jobs.schemas import JobRead
from config.settings import Settings
from store.db.database import Session
from store.db.tables import Job
from store.store import Store

Payload = TypeVar("Payload", bound=BaseModel)


class Submission(Protocol[Payload]):
    """What the endpoints that submit jobs do differently."""

    @property
    def store(self) -> Store: ...

    @property
    def settings(self) -> Settings: ...

    @property
    def target(self) -> tuple[str, ...]:
        """The kind of job, and the ids in the URL: part of the request's digest."""

    @property
    def schema(self) -> type[Payload]:
        """The form fields besides the files."""

    def describe(self, payload: Payload) -> dict[str, Any]:
        """Returns the fields for the request's digest; see `describe_payload`."""

    def precheck(self, session: Session) -> None:
        """Raises `ProblemError` if the body need not be received."""

    def validate(self, payload: Payload, form: ReceivedForm) -> Callable[[Session], NewJob]:
        """Checks the fields, then the images, and stores the images as blobs. Raises `ProblemError`.

        Returns the function that `commit` calls to check again, now with locks, what may have changed meanwhile.
        """


async def submit(submission: Submission[Payload], request: Request, key: str | None) -> JobRead:
    """Returns the new job, or the one that the same request created before. Raises `ProblemError`."""
    store, settings = submission.store, submission.settings
    await to_thread.run_sync(precheck, submission, key)
    async with receive_form(request, store, settings) as form:
        payload = parse_fields(submission.schema, form.fields)
        content = submission.describe(payload), describe_files(form.files)
        idempotent = IdempotentRequest.create(key, *submission.target, *content)
        return await to_thread.run_sync(accept, submission, payload, form, idempotent)


def precheck(submission: Submission[Payload], key: str | None) -> None:
    """Raises `ProblemError` before the body is received."""
    with submission.store.database.read() as session:
        submission.precheck(session)
        precheck_capacity(session, submission.settings, key)


def accept(
    submission: Submission[Payload], payload: Payload, form: ReceivedForm, idempotent: IdempotentRequest
) -> JobRead:
    """Validates and commits a received form, unless the same request has created its job before."""
    store = submission.store
    with store.database.read() as session:
        if existing := idempotent.find_existing(session, Job):
            return to_job_read(existing)
    return commit(store, submission.settings, idempotent, submission.validate(payload, form))
