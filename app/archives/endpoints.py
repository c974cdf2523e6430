"""The call that fetches all results of a job."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from app.archives import service
from app.archives.schemas import ArchiveQuery
from app.archives.streams import sent
from app.http.dependencies import StoreDep
from app.http.problems import problem_responses
from app.http.schemas import Id

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "/{job_id}/archive",
    summary="All results in one archive",
    response_class=StreamingResponse,
    responses=problem_responses(
        HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY
    ),
)
def get_archive(job_id: Id, store: StoreDep, wanted: Annotated[ArchiveQuery, Query()]) -> StreamingResponse:
    """Streams: it begins at once and is never held whole. `manifest.jsonl` comes last.

    A WebDataset shard holds each sample's files as `KEY.lr.png`, `KEY.kernel.npy` and so on, its manifest line as
    `KEY.json`, and neither failed samples nor a manifest. The headers `Patina-Samples` and `Patina-Shards` tell how
    many good samples and how many shards there are.
    """
    made = service.archive(store, job_id, wanted)
    return StreamingResponse(
        sent(made.content),
        media_type=made.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{made.name}"',
            "Patina-Samples": str(made.samples),
            "Patina-Shards": str(made.shards),
        },
    )
