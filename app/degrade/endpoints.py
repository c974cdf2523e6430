"""The call that degrades images."""

from __future__ import annotations

from http import HTTPStatus

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from app.degrade import service
from app.degrade.schemas import DEGRADE_BODY, DegradeIn
from app.http.dependencies import JobsOfApp, SettingsOfApp, StoreOfApp
from app.http.idempotency import IdempotencyKey, Once, content
from app.http.schemas import Id
from app.jobs.responses import ANSWERS, Prefer, answer_accepted
from app.jobs.schemas import JobOut
from app.uploads.fields import read_fields
from app.uploads.multipart import received_form

router = APIRouter(prefix="/datasets", tags=["degrade"])


@router.post(
    "/{dataset_id}/degrade",
    status_code=HTTPStatus.ACCEPTED,
    summary="Make low-resolution / kernel / noise triplets from clean images",
    responses=ANSWERS,
    openapi_extra=DEGRADE_BODY,
)
async def degrade(
    dataset_id: Id,
    request: Request,
    response: Response,
    store: StoreOfApp,
    jobs: JobsOfApp,
    settings: SettingsOfApp,
    prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> JobOut:
    """A file that cannot be used becomes a failed item of the job; if none can, it is 422 and there is no job."""
    await to_thread.run_sync(service.require, store, settings, dataset_id, idempotency_key)
    async with received_form(request, store, settings) as form:
        wanted = read_fields(DegradeIn, form.fields)
        once = Once.of(idempotency_key, "degrade", dataset_id, wanted.model_dump(mode="json"), content(form.files))
        job = await to_thread.run_sync(
            service.degrade, store, settings, dataset_id, wanted, form.files, form.folder, once
        )
    return await answer_accepted(job, prefer, jobs, response)
