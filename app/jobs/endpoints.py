"""Job endpoints."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.sse import EventSourceResponse

from app.auth.ownership import RequireJobOwner
from app.http.dependencies import SettingsDep, StoreDep
from app.http.idempotency import IdempotencyKey, IdempotentRequest
from app.http.problems import problem_responses
from app.http.ranges import RANGE_RESPONSES, Redirect, respond_with_file
from app.http.schemas import Count, Cursor, Id, Limit, Page
from app.jobs import lifecycle, service
from app.jobs.dependencies import JobsDep, WatcherDep
from app.jobs.events import END, stream_all, stream_events
from app.jobs.places import add_place
from app.jobs.responses import MAX_WAIT_SECONDS, accept_headers
from app.jobs.schemas import EventRead, JobRead, Kind, ResultRead, Status
from app.jobs.waiting import wait_until_changed

router = APIRouter(prefix="/jobs", tags=["jobs"])
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)
NOT_FOUND_OR_GONE = problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {EventSourceResponse.media_type: {"schema": {"type": "string"}}}}
}
# X-Accel-Buffering keeps proxies from holding events back.
EVENT_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
MEDIA_TYPES = {
    "json": "application/json",
    "png": "image/png",
    "webp": "image/webp",
    "jpg": "image/jpeg",
    "avif": "image/avif",
    "tif": "image/tiff",
    "npy": "application/octet-stream",
}


@router.get("", summary="List jobs, newest first")
def list_jobs(
    store: StoreDep,
    cursor: Cursor = None,
    limit: Limit = 100,
    status: Status | None = None,
    kind: Kind | None = None,
    dataset: Id | None = None,
) -> Page[JobRead]:
    return service.list_jobs(store, cursor, limit, status, kind, dataset)


@router.get("/events", summary="Stream changes of all jobs (SSE)", response_class=Response, responses=STREAM)
async def follow_jobs(store: StoreDep, watcher: WatcherDep) -> EventSourceResponse:
    """Sends an event `job`, with the job, for each job that changes from now on."""
    return EventSourceResponse(stream_all(store, watcher), headers=EVENT_HEADERS)


@router.get("/{job_id}", summary="Get a job's status and progress", responses=NOT_FOUND)
async def get_job(
    job_id: Id,
    jobs: JobsDep,
    store: StoreDep,
    settings: SettingsDep,
    wait: Annotated[
        float, Query(ge=0, description=f"Hold the response until the job changes, at most {MAX_WAIT_SECONDS} s.")
    ] = 0,
) -> JobRead:
    job = await jobs.get(job_id)
    if wait:
        job = await wait_until_changed(jobs, job, min(wait, MAX_WAIT_SECONDS))
    return await to_thread.run_sync(add_place, store, settings, job) if job.status is Status.queued else job


@router.get(
    "/{job_id}/events",
    summary="Stream a job's progress, log and metrics (SSE)",
    response_class=Response,
    responses=NOT_FOUND | STREAM | {int(HTTPStatus.NO_CONTENT): {"description": "The stream has ended."}},
)
async def follow_job(
    job_id: Id,
    jobs: JobsDep,
    store: StoreDep,
    watcher: WatcherDep,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Sends all past events of the job, then new ones until it has ended.

    `job` is the job each time it changes. `log`, `metrics` and `preview` are the events of `GET /jobs/{id}/history`;
    they are numbered, so the stream resumes after `Last-Event-ID`. `end` comes last. A client that reconnects after it
    gets 204, which stops browsers from reconnecting.
    """
    job = await jobs.get(job_id)
    number, _, ended = (last_event_id or "0").partition("-")
    if ended == END and job.status.is_final:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    after = service.parse_number(number) or 0
    return EventSourceResponse(stream_events(store, watcher, job_id, after), headers=EVENT_HEADERS)


@router.get("/{job_id}/history", summary="List a job's events", responses=NOT_FOUND)
def list_events(job_id: Id, store: StoreDep, cursor: Cursor = None, limit: Limit = 1000) -> Page[EventRead]:
    """Lists log lines, the metrics of a training, and updates of its preview."""
    return service.list_events(store, job_id, cursor, limit)


@router.get(
    "/{job_id}/preview/{name}",
    summary="Get a preview of a running training",
    response_class=FileResponse,
    responses=NOT_FOUND_OR_GONE,
)
def get_preview(job_id: Id, name: str, store: StoreDep) -> FileResponse:
    """`gallery.json` has kernels, noise and alarms. `patches.png` shows generated patches among real ones.

    `examples.png` shows three clean patches. Beside each are its degraded version and its noise, amplified six times.
    """
    path = store.blobs.verified_path(service.find_preview(store, job_id, name))
    return FileResponse(path, media_type=MEDIA_TYPES[name.rpartition(".")[2]], headers={"Cache-Control": "no-cache"})


@router.post("/{job_id}/cancel", summary="Cancel a job", responses=NOT_FOUND, dependencies=[RequireJobOwner])
def cancel_job(job_id: Id, store: StoreDep) -> JobRead:
    """A running job stops within seconds and keeps its finished results. A job that has ended does not change."""
    return lifecycle.cancel(store, job_id)


@router.post(
    "/{job_id}/finish",
    status_code=HTTPStatus.ACCEPTED,
    summary="Finish a training early and keep its model",
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    dependencies=[RequireJobOwner],
)
def finish_job(job_id: Id, store: StoreDep, response: Response) -> JobRead:
    """The model is ready within a minute. `POST /jobs/{id}/continue` resumes the training from there."""
    job = lifecycle.finish(store, job_id)
    response.headers.update(accept_headers(job))
    return job


@router.post(
    "/{job_id}/continue",
    status_code=HTTPStatus.ACCEPTED,
    summary="Resume a training that was finished early",
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE),
    dependencies=[RequireJobOwner],
)
def continue_job(
    job_id: Id,
    store: StoreDep,
    settings: SettingsDep,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobRead:
    """Creates a new job with a model of its own; the first model stays."""
    request = IdempotentRequest.create(idempotency_key, "continue", job_id)
    job = lifecycle.resume_training(store, settings, job_id, request)
    response.headers.update(accept_headers(job))
    return job


@router.post(
    "/{job_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    summary="Resume a failed or canceled job",
    responses=problem_responses(
        HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS
    ),
    dependencies=[RequireJobOwner],
)
def retry_job(job_id: Id, store: StoreDep, settings: SettingsDep, response: Response) -> JobRead:
    job = lifecycle.retry(store, settings, job_id)
    response.headers.update(accept_headers(job))
    return job


@router.get("/{job_id}/results", summary="List a job's finished samples", responses=NOT_FOUND_OR_GONE)
def list_results(job_id: Id, store: StoreDep, cursor: Cursor = None, limit: Limit = 100) -> Page[ResultRead]:
    return service.list_results(store, job_id, cursor, limit)


@router.delete(
    "/{job_id}/results",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Delete the results of a job that has ended",
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    dependencies=[RequireJobOwner],
)
def delete_results(job_id: Id, store: StoreDep) -> None:
    """They are gone within seconds, and their inputs with them; of a training, its checkpoints, but not its model."""
    lifecycle.delete_results(store, job_id)


@router.get(
    "/{job_id}/results/{position}/{sample}/{what}",
    summary="Get a file of a sample",
    response_class=StreamingResponse,
    responses=NOT_FOUND_OR_GONE | RANGE_RESPONSES,
)
def get_result_file(
    job_id: Id, position: Count, sample: Count, what: str, store: StoreDep, request: Request, redirect: Redirect = False
) -> Response:
    file, suffix = service.find_result_file(store, job_id, position, sample, what)
    name = f"{job_id}_{position}_{sample}_{what}.{suffix}"
    return respond_with_file(
        request.headers, store.blobs, file, media_type=MEDIA_TYPES[suffix], name=name, redirect=redirect
    )
