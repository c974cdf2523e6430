"""Only the owner of a dataset or job may change it. Other callers of a shared one may only use it.

Who may see a record is decided in store/db/access.py.
"""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Depends, Request

from app.http.dependencies import StoreDep
from app.http.problems import ProblemError
from app.http.schemas import Id
from store.db.access import Caller
from store.repositories.datasets import DatasetRepository
from store.repositories.jobs import JobRepository


def _require_dataset_owner(dataset_id: Id, request: Request, store: StoreDep) -> None:
    caller: Caller = request.state.caller
    if caller.is_admin:
        return
    with store.database.read() as session:
        dataset = DatasetRepository(session).get(dataset_id)
    if dataset is not None and dataset.owner != caller.token:  # the endpoint answers 404 for None
        raise _forbidden("dataset")


def _require_job_owner(job_id: Id, request: Request, store: StoreDep) -> None:
    caller: Caller = request.state.caller
    if caller.is_admin:
        return
    with store.database.read() as session:
        job = JobRepository(session).get(job_id)
        dataset = DatasetRepository(session).get(job.dataset_id) if job and job.dataset_id else None
    if job is not None and caller.token not in (job.owner, dataset.owner if dataset else None):
        raise _forbidden("job")


def _forbidden(noun: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.FORBIDDEN,
        "forbidden",
        f"The {noun} is shared with you. Only its owner's token, or an admin's, may change it.",
    )


RequireDatasetOwner = Depends(_require_dataset_owner)
RequireJobOwner = Depends(_require_job_owner)
