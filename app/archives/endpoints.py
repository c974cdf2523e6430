"""Archive endpoint."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.archives import service
from app.archives.schemas import ArchiveQuery, ShardRead
from app.archives.segments import measure, read_all, read_part
from app.archives.streams import stream
from app.http.dependencies import StoreDep
from app.http.problems import problem_responses
from app.http.ranges import RANGE_RESPONSES, Redirect, respond_with_file, select_range, wants_range
from app.http.schemas import Count, Cursor, Id, Limit, Page

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "/{job_id}/archive",
    summary="Download all results in one archive",
    response_class=StreamingResponse,
    responses=problem_responses(
        HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY
    )
    | RANGE_RESPONSES,
)
def get_archive(
    job_id: Id, store: StoreDep, query: Annotated[ArchiveQuery, Query()], request: Request
) -> StreamingResponse:
    """Streams the archive; it starts at once and is never held in memory. `manifest.jsonl` comes last.

    The same request gives the same bytes, so an interrupted download can be resumed with `Range`. `ETag` changes if
    the job was retried.

    With `format=webdataset`, the archive of a job with `store=shards` has the tars of `GET /jobs/{id}/shards` one after
    the other, unless other parameters ask for other files.

    A WebDataset shard has each sample's files as `KEY.lr.png`, `KEY.kernel.npy` and so on, and its manifest line as
    `KEY.json`. It has no failed samples and no manifest. The headers `Patina-Samples` and `Patina-Shards` give the
    number of successful samples and of shards.
    """
    archive = service.create_archive(store, job_id, query)
    headers = {
        "Content-Disposition": f'attachment; filename="{archive.name}"',
        "ETag": archive.etag,
        "Accept-Ranges": "bytes",
        "Patina-Samples": str(archive.samples),
        "Patina-Shards": str(archive.shards),
    }
    if archive.measure_first or wants_range(request.headers, archive.etag):
        size = measure(archive.segments())
        headers["Content-Length"] = str(size)
        if byte_range := select_range(request.headers, size, archive.etag):
            part = read_part(archive.segments(), byte_range)
            headers |= byte_range.headers
            return StreamingResponse(stream(part), HTTPStatus.PARTIAL_CONTENT, headers, archive.media_type)
    return StreamingResponse(stream(read_all(archive.segments())), HTTPStatus.OK, headers, archive.media_type)


@router.get(
    "/{job_id}/shards",
    summary="List the shards of a job with store=shards",
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE),
)
def list_shards(job_id: Id, store: StoreDep, cursor: Cursor = None, limit: Limit = 100) -> Page[ShardRead]:
    """Lists the tars with the job's results, while it runs those that are finished. They never change."""
    return service.list_shards(store, job_id, cursor, limit)


@router.get(
    "/{job_id}/shards/{shard}",
    summary="Download a shard",
    response_class=StreamingResponse,
    responses=problem_responses(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE) | RANGE_RESPONSES,
)
def get_shard(job_id: Id, shard: Count, store: StoreDep, request: Request, redirect: Redirect = False) -> Response:
    """A part of it is not checked: compare the SHA-256 of the whole with that in the list."""
    file = service.find_shard(store, job_id, shard)
    return respond_with_file(
        request.headers,
        store.blobs,
        file,
        media_type="application/x-tar",
        name=f"{job_id}_{shard:06}.tar",
        redirect=redirect,
        check_parts=False,
    )
