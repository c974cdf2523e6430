"""The call that super-resolves images."""

from __future__ import annotations

from http import HTTPStatus

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from app.http.dependencies import JobsOfApp, SettingsOfApp, StoreOfApp
from app.http.idempotency import IdempotencyKey, Once, content
from app.jobs.responses import ANSWERS, Prefer, answer_accepted
from app.jobs.schemas import JobOut
from app.sr import service
from app.sr.schemas import SR_BODY, SrIn
from app.uploads.fields import read_fields
from app.uploads.multipart import received_form

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
    store: StoreOfApp,
    jobs: JobsOfApp,
    settings: SettingsOfApp,
    prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """A file that cannot be used becomes a failed item of the job; if none can, it is 422 and there is no job."""
    await to_thread.run_sync(service.require, store, settings, idempotency_key)
    async with received_form(request, store, settings) as form:
        wanted = read_fields(SrIn, form.fields)
        once = Once.of(idempotency_key, "sr", wanted.model_dump(mode="json"), content(form.files))
        job = await to_thread.run_sync(service.super_resolve, store, settings, wanted, form.files, form.folder, once)
    return await answer_accepted(job, prefer, jobs, response)
