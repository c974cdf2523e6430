"""The call that degrades images."""

from __future__ import annotations

from http import HTTPStatus

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from app.degrade import service
from app.degrade.schemas import DEGRADE_BODY, DegradeRequest
from app.http.dependencies import JobsDep, SettingsDep, StoreDep
from app.http.idempotency import IdempotencyKey, Once, content
from app.http.schemas import Id
from app.jobs.responses import ANSWERS, Prefer, respond_accepted
from app.jobs.schemas import JobRead
from app.ingest.fields import parse_fields
from app.ingest.multipart import receive_form

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
    store: StoreDep,
    jobs: JobsDep,
    settings: SettingsDep,
    prefer: Prefer = None,
    idempotency_key: IdempotencyKey = None,
) -> JobRead:
    """A file that cannot be used becomes a failed item of the job; if none can, it is 422 and there is no job."""
    await to_thread.run_sync(service.require, store, settings, dataset_id, idempotency_key)
    async with receive_form(request, store, settings) as form:
        wanted = parse_fields(DegradeRequest, form.fields)
        once = Once.of(idempotency_key, "degrade", dataset_id, wanted.model_dump(mode="json"), content(form.files))
        job = await to_thread.run_sync(
            service.degrade, store, settings, dataset_id, wanted, form.files, form.folder, once
        )
    return await respond_accepted(job, prefer, jobs, response)
