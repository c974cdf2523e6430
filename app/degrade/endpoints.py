"""The call that degrades images."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Request, Response

from app.datasets.service import require
from app.degrade import service
from app.degrade.schemas import DEGRADE_BODY, DegradeIn
from app.dependencies import SettingsOfApp, StoreOfApp
from app.jobs.responses import REFUSALS, answer_accepted
from app.jobs.schemas import JobOut
from app.uploads.fields import read_fields
from app.uploads.multipart import receive_form

router = APIRouter(prefix="/datasets", tags=["degrade"])


@router.post(
    "/{dataset_id}/degrade",
    status_code=HTTPStatus.ACCEPTED,
    summary="Make low-resolution / kernel / noise triplets from clean images",
    responses=REFUSALS,
    openapi_extra=DEGRADE_BODY,
)
async def degrade(
    dataset_id: str,
    request: Request,
    response: Response,
    store: StoreOfApp,
    settings: SettingsOfApp,
    prefer: Annotated[str | None, Header()] = None,
) -> JobOut:
    """A file that cannot be used becomes a failed item of the job; if none can, it is 422 and there is no job."""
    await to_thread.run_sync(require, store, dataset_id)
    with store.blobs.scratch() as folder:
        form = await receive_form(request, folder, max_bytes=settings.max_upload_bytes)
        wanted = read_fields(DegradeIn, form.fields)
        job = await to_thread.run_sync(
            partial(service.degrade, store, settings, dataset_id, wanted, form.files, folder)
        )
    return await answer_accepted(job, prefer, store, response)
