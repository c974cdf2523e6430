"""The call that super-resolves images."""

from __future__ import annotations

from http import HTTPStatus

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from app.http.dependencies import JobsDep, SettingsDep, StoreDep
from app.http.idempotency import IdempotencyKey, Once, content
from app.jobs.responses import ANSWERS, Prefer, respond_accepted
from app.jobs.schemas import JobRead
from app.sr import service
from app.sr.schemas import SR_BODY, SrRequest
from app.ingest.fields import parse_fields
from app.ingest.multipart import receive_form

router = APIRouter(tags=["sr"])


@router.post(
    "/sr",
    status_code=HTTPStatus.ACCEPTED,
    summary="Super-resolve images",
    responses=ANSWERS,
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
    """A file that cannot be used becomes a failed item of the job; if none can, it is 422 and there is no job."""
    await to_thread.run_sync(service.require, store, settings, idempotency_key)
    async with receive_form(request, store, settings) as form:
        wanted = parse_fields(SrRequest, form.fields)
        once = Once.of(idempotency_key, "sr", wanted.model_dump(mode="json"), content(form.files))
        job = await to_thread.run_sync(service.super_resolve, store, settings, wanted, form.files, form.folder, once)
    return await respond_accepted(job, prefer, jobs, response)
