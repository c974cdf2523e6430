"""Super-resolution endpoint."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from app.http.dependencies import SettingsDep, StoreDep
from app.http.idempotency import IdempotencyKey
from app.jobs.dependencies import JobsDep
from app.jobs.responses import SUBMIT_RESPONSES, Prefer, respond_accepted
from app.jobs.schemas import JobRead
from app.jobs.submit import submit
from app.sr.schemas import SR_BODY
from app.sr.service import SrSubmission

router = APIRouter(tags=["sr"])


@router.post(
    "/sr",
    status_code=HTTPStatus.ACCEPTED,
    summary="Super-resolve images",
    responses=SUBMIT_RESPONSES,
    openapi_extra=SR_BODY,
)
async def super_resolve(
    request: Request,
    response: Response,
    store: StoreDep,
    jobs: JobsDep,
    settings: SettingsDep,
    prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> JobRead:
    """A rejected file becomes a failed item of the job. If all files are rejected, the status is 422, without a job."""
    job = await submit(SrSubmission(store, settings), request, idempotency_key)
    return await respond_accepted(job, prefer, jobs, response)
