"""The call that super-resolves images."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Request, Response

from app.dependencies import SettingsOfApp, StoreOfApp
from app.jobs.responses import REFUSALS, answer_accepted
from app.jobs.schemas import JobOut
from app.sr import service
from app.sr.schemas import SR_BODY, SrIn
from app.uploads.fields import read_fields
from app.uploads.multipart import receive_form

router = APIRouter(tags=["sr"])


@router.post(
    "/sr",
    status_code=HTTPStatus.ACCEPTED,
    summary="Super-resolve images",
    responses=REFUSALS,
    openapi_extra=SR_BODY,
)
async def super_resolve(
    request: Request,
    response: Response,
    store: StoreOfApp,
    settings: SettingsOfApp,
    prefer: Annotated[str | None, Header()] = None,
) -> JobOut:
    """A file that cannot be used becomes a failed item of the job; if none can, it is 422 and there is no job."""
    with store.blobs.scratch() as folder:
        form = await receive_form(request, folder, max_bytes=settings.max_upload_bytes)
        wanted = read_fields(SrIn, form.fields)
        job = await to_thread.run_sync(service.super_resolve, store, settings, wanted, form.files, folder)
    return await answer_accepted(job, prefer, store, response)
