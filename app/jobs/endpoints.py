"""Calls on jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from app.dependencies import StoreOfApp
from app.jobs import service
from app.jobs.archive import MEDIA_TYPES, archive
from app.jobs.manifest import SUFFIX
from app.jobs.responses import LONGEST_WAIT_SECONDS, accept_headers
from app.jobs.schemas import ArchiveFormat, JobOut, Kind, ResultOut, Status
from app.jobs.waiting import until_changed
from app.problems import problem_responses
from app.schemas import Cursor, Limit, Page

router = APIRouter(prefix="/jobs", tags=["jobs"])
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)
FILE_TYPES = {"png": "image/png", "npy": "application/octet-stream"}


@router.get("", summary="All jobs, the newest first")
def list_jobs(
    store: StoreOfApp,
    cursor: Cursor = None,
    limit: Limit = 100,
    status: Status | None = None,
    kind: Kind | None = None,
    dataset: str | None = None,
) -> Page[JobOut]:
    return service.page(store, cursor, limit, status, kind, dataset)


@router.get("/{job_id}", summary="A job's status and progress", responses=NOT_FOUND)
async def get_job(
    job_id: str,
    store: StoreOfApp,
    wait: Annotated[
        float, Query(ge=0, description=f"Hold the answer until the job changes, at most {LONGEST_WAIT_SECONDS} s.")
    ] = 0,
) -> JobOut:
    job = await to_thread.run_sync(service.get, store, job_id)
    return await until_changed(store, job, min(wait, LONGEST_WAIT_SECONDS)) if wait else job


@router.post("/{job_id}/cancel", summary="Stop a job", responses=NOT_FOUND)
def cancel_job(job_id: str, store: StoreOfApp) -> JobOut:
    """A running job stops within seconds; what it has finished stays. A job that has ended stays as it is."""
    return service.cancel(store, job_id)


@router.post(
    "/{job_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    summary="Take up a failed or canceled job where it stopped",
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def retry_job(job_id: str, store: StoreOfApp, response: Response) -> JobOut:
    job = service.retry(store, job_id)
    response.headers.update(accept_headers(job))
    return job


@router.get("/{job_id}/results", summary="A job's finished samples", responses=NOT_FOUND)
def list_results(job_id: str, store: StoreOfApp, cursor: Cursor = None, limit: Limit = 100) -> Page[ResultOut]:
    return service.results(store, job_id, cursor, limit)


@router.get(
    "/{job_id}/results/{position}/{sample}/{what}",
    summary="One file of a sample",
    response_class=StreamingResponse,
    responses=NOT_FOUND,
)
def get_result_file(job_id: str, position: int, sample: int, what: str, store: StoreOfApp) -> StreamingResponse:
    sha256 = service.result_file(store, job_id, position, sample, what)
    name = f"{job_id}_{position}_{sample}_{what}.{SUFFIX[what]}"
    return StreamingResponse(
        store.blobs.chunks(sha256),
        media_type=FILE_TYPES[SUFFIX[what]],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(store.blobs.size(sha256)),
        },
    )


@router.get(
    "/{job_id}/archive",
    summary="All results in one archive",
    response_class=StreamingResponse,
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def get_archive(job_id: str, store: StoreOfApp, format: ArchiveFormat | None = None) -> StreamingResponse:
    """Streams: it begins at once and is never held whole. `manifest.jsonl` comes last."""
    manifest, wanted = service.manifest(store, job_id)
    form = format or ArchiveFormat(wanted)
    return StreamingResponse(
        archive(manifest, store.blobs, form),
        media_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{job_id}.{form}"'},
    )
