"""Calls on jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.sse import EventSourceResponse

from app.auth.ownership import RequireJobOwner
from app.http.dependencies import JobsDep, SettingsDep, StoreDep, WatcherDep
from app.http.idempotency import IdempotencyKey, Once
from app.http.problems import problem_responses
from app.http.schemas import Count, Cursor, Id, Limit, Page
from app.jobs import service
from app.jobs.events import END, all_changes, events_of
from app.jobs.responses import MAX_WAIT_SECONDS, accept_headers
from app.jobs.schemas import EventRead, JobRead, Kind, ResultRead, Status
from app.jobs.waiting import wait_until_changed

router = APIRouter(prefix="/jobs", tags=["jobs"])
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)
NOT_FOUND_OR_GONE = problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {EventSourceResponse.media_type: {"schema": {"type": "string"}}}}
}
# Proxies must not hold events back.
EVENT_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
FILE_TYPES = {
    "json": "application/json",
    "png": "image/png",
    "webp": "image/webp",
    "npy": "application/octet-stream",
}


@router.get("", summary="All jobs, the newest first")
def list_jobs(
    store: StoreDep,
    cursor: Cursor = None,
    limit: Limit = 100,
    status: Status | None = None,
    kind: Kind | None = None,
    dataset: Id | None = None,
) -> Page[JobRead]:
    return service.page(store, cursor, limit, status, kind, dataset)


@router.get("/events", summary="Changes of all jobs, as server-sent events", response_class=Response, responses=STREAM)
async def follow_jobs(store: StoreDep, watcher: WatcherDep) -> EventSourceResponse:
    """An event `job`, with the job, for each one that changes from now on."""
    return EventSourceResponse(all_changes(store, watcher), headers=EVENT_HEADERS)


@router.get("/{job_id}", summary="A job's status and progress", responses=NOT_FOUND)
async def get_job(
    job_id: Id,
    jobs: JobsDep,
    wait: Annotated[
        float, Query(ge=0, description=f"Hold the answer until the job changes, at most {MAX_WAIT_SECONDS} s.")
    ] = 0,
) -> JobRead:
    job = await jobs.get(job_id)
    return await wait_until_changed(jobs, job, min(wait, MAX_WAIT_SECONDS)) if wait else job


@router.get(
    "/{job_id}/events",
    summary="A job's progress, log and metrics, as server-sent events",
    response_class=Response,
    responses=NOT_FOUND | STREAM | {int(HTTPStatus.NO_CONTENT): {"description": "Nothing more will come."}},
)
async def follow_job(
    job_id: Id,
    jobs: JobsDep,
    store: StoreDep,
    watcher: WatcherDep,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """All that has happened, and then what happens, until the job has ended.

    `job` is the job whenever it has changed; `log`, `metrics` and `preview` are as in `GET /jobs/{id}/history`, and
    numbered, so that they go on after `Last-Event-ID`; `end` comes last. Who comes back after it is answered 204, which
    tells browsers to stay away.
    """
    job = await jobs.get(job_id)
    number, _, ended = (last_event_id or "0").partition("-")
    if ended == END and job.status.is_final:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    after = service.number_of(number) or 0
    return EventSourceResponse(events_of(store, watcher, job_id, after), headers=EVENT_HEADERS)


@router.get("/{job_id}/history", summary="What has happened in a job", responses=NOT_FOUND)
def list_events(job_id: Id, store: StoreDep, cursor: Cursor = None, limit: Limit = 1000) -> Page[EventRead]:
    """Its log lines, the metrics of its training, and when its preview was renewed."""
    return service.history(store, job_id, cursor, limit)


@router.get(
    "/{job_id}/preview/{name}",
    summary="What a training makes by now",
    response_class=FileResponse,
    responses=NOT_FOUND_OR_GONE,
)
def get_preview(job_id: Id, name: str, store: StoreDep) -> FileResponse:
    """`gallery.json`: kernels, noise and alarms; `patches.png`: made patches among real ones.

    `examples.png`: three clean patches, each beside what is made of it and its noise, six times as strong.
    """
    path = store.blobs.verified(service.preview_file(store, job_id, name))
    return FileResponse(path, media_type=FILE_TYPES[name.rpartition(".")[2]], headers={"Cache-Control": "no-cache"})


@router.post("/{job_id}/cancel", summary="Stop a job", responses=NOT_FOUND, dependencies=[RequireJobOwner])
def cancel_job(job_id: Id, store: StoreDep) -> JobRead:
    """A running job stops within seconds; what it has finished stays. A job that has ended stays as it is."""
    return service.cancel(store, job_id)


@router.post(
    "/{job_id}/finish",
    status_code=HTTPStatus.ACCEPTED,
    summary="End a training now and keep what it has learned",
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    dependencies=[RequireJobOwner],
)
def finish_job(job_id: Id, store: StoreDep, response: Response) -> JobRead:
    """Its model comes within a minute. `POST /jobs/{id}/continue` trains on from there."""
    job = service.finish(store, job_id)
    response.headers.update(accept_headers(job))
    return job


@router.post(
    "/{job_id}/continue",
    status_code=HTTPStatus.ACCEPTED,
    summary="Train on where a training was ended early",
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
    """A new job, which makes a model of its own; the first one's stays."""
    job = service.go_on(store, settings, job_id, Once.of(idempotency_key, "continue", job_id))
    response.headers.update(accept_headers(job))
    return job


@router.post(
    "/{job_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    summary="Take up a failed or canceled job where it stopped",
    responses=problem_responses(
        HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.TOO_MANY_REQUESTS
    ),
    dependencies=[RequireJobOwner],
)
def retry_job(job_id: Id, store: StoreDep, settings: SettingsDep, response: Response) -> JobRead:
    job = service.retry(store, settings, job_id)
    response.headers.update(accept_headers(job))
    return job


@router.get("/{job_id}/results", summary="A job's finished samples", responses=NOT_FOUND_OR_GONE)
def list_results(job_id: Id, store: StoreDep, cursor: Cursor = None, limit: Limit = 100) -> Page[ResultRead]:
    return service.results(store, job_id, cursor, limit)


@router.get(
    "/{job_id}/results/{position}/{sample}/{what}",
    summary="One file of a sample",
    response_class=StreamingResponse,
    responses=NOT_FOUND_OR_GONE,
)
def get_result_file(job_id: Id, position: Count, sample: Count, what: str, store: StoreDep) -> StreamingResponse:
    sha256, suffix = service.result_file(store, job_id, position, sample, what)
    name = f"{job_id}_{position}_{sample}_{what}.{suffix}"
    return StreamingResponse(
        store.blobs.chunks(sha256),
        media_type=FILE_TYPES[suffix],
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(store.blobs.size(sha256)),
        },
    )
