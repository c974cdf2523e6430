"""Who may change a dataset or a job: its owner. Who sees it, by sharing, may only use it."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Depends, Request

from app.http.dependencies import StoreDep
from app.http.problems import ProblemError
from app.http.schemas import Id
from store.db.access import Caller
from store.repositories.datasets import DatasetRepository
from store.repositories.jobs import JobRepository


def _require_own_dataset(dataset_id: Id, request: Request, store: StoreDep) -> None:
    caller: Caller = request.state.caller
    if caller.sees_all:
        return
    with store.database.read() as session:
        dataset = DatasetRepository(session).get(dataset_id)
    if dataset is not None and dataset.owner != caller.token:  # one that is not seen is the endpoint's to refuse
        raise _not_yours("dataset")


def _require_own_job(job_id: Id, request: Request, store: StoreDep) -> None:
    caller: Caller = request.state.caller
    if caller.sees_all:
        return
    with store.database.read() as session:
        job = JobRepository(session).get(job_id)
        dataset = DatasetRepository(session).get(job.dataset_id) if job and job.dataset_id else None
    if job is not None and caller.token not in (job.owner, dataset.owner if dataset else None):
        raise _not_yours("job")


def _not_yours(what: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.FORBIDDEN,
        f"{what}_not_yours",
        f"The {what} is shared with you; only the token that it belongs to, or an admin's, may change it.",
    )


RequireDatasetOwner = Depends(_require_own_dataset)
RequireJobOwner = Depends(_require_own_job)
