"""Degrade endpoint."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from app.degrade.schemas import DEGRADE_BODY
from app.degrade.service import DegradeSubmission
from app.http.dependencies import SettingsDep, StoreDep
from app.http.idempotency import IdempotencyKey
from app.http.schemas import Id
from app.jobs.dependencies import JobsDep
from app.jobs.responses import SUBMIT_RESPONSES, Prefer, respond_accepted
from app.jobs.schemas import JobRead
from app.jobs.submit import submit

router = APIRouter(prefix="/datasets", tags=["degrade"])


@router.post(
    "/{dataset_id}/degrade",
    status_code=HTTPStatus.ACCEPTED,
    summary="Degrade clean images into low-resolution / kernel / noise triplets",
    responses=SUBMIT_RESPONSES,
    openapi_extra=DEGRADE_BODY,
)
async def degrade(
    dataset_id: Id,
    request: Request,
    response: Response,
    store: StoreDep,
    jobs: JobsDep,
    settings: SettingsDep,
    prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> JobRead:
    """A rejected file becomes a failed item of the job. If all files are rejected, the status is 422, without a job."""
    job = await submit(DegradeSubmission(store, settings, dataset_id), request, idempotency_key)
    return await respond_accepted(job, prefer, jobs, response)
