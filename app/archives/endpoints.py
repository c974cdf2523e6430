"""Archive endpoint."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from app.archives import service
from app.archives.schemas import ArchiveQuery
from app.archives.streams import stream
from app.http.dependencies import StoreDep
from app.http.problems import problem_responses
from app.http.schemas import Id

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "/{job_id}/archive",
    summary="Download all results in one archive",
    response_class=StreamingResponse,
    responses=problem_responses(
        HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY
    ),
)
def get_archive(job_id: Id, store: StoreDep, query: Annotated[ArchiveQuery, Query()]) -> StreamingResponse:
    """Streams the archive; it starts at once and is never held in memory. `manifest.jsonl` comes last.

    A WebDataset shard has each sample's files as `KEY.lr.png`, `KEY.kernel.npy` and so on, and its manifest line as
    `KEY.json`. It has no failed samples and no manifest. The headers `Patina-Samples` and `Patina-Shards` give the
    number of successful samples and of shards.
    """
    archive = service.create_archive(store, job_id, query)
    return StreamingResponse(
        stream(archive.content),
        media_type=archive.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{archive.name}"',
            "Patina-Samples": str(archive.samples),
            "Patina-Shards": str(archive.shards),
        },
    )
