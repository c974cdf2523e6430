"""Inputs endpoints: files for one job, sent in several requests."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response

from app.http.dependencies import SettingsDep, StoreDep
from app.http.problems import problem_responses
from app.http.root_path import link
from app.http.schemas import Id
from app.ingest.documentation import FILES_BODY
from app.ingest.multipart import receive_form
from app.inputs import service
from app.inputs.schemas import InputsCreate, InputsRead, PartRead

router = APIRouter(prefix="/inputs", tags=["inputs"])
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)
MAX_PARTS = 100_000
PartNumber = Annotated[
    int, Path(ge=0, lt=MAX_PARTS, description="The job's items are in the order of the parts.", examples=[0])
]


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    summary="Create inputs for a job of many files",
    responses={int(HTTPStatus.OK): {"model": InputsRead, "description": "Inputs with this `key` exist."}},
)
def create_inputs(payload: InputsCreate, store: StoreDep, settings: SettingsDep, response: Response) -> InputsRead:
    """For thousands of files. Send them in parts, by `PUT /inputs/{id}/parts/{number}`.

    Then name the inputs in `POST /sr` or `POST /datasets/{id}/degrade`, instead of files. One job takes them.
    """
    inputs, is_new = service.create(store, settings, payload.key)
    response.headers["Location"] = link(f"/inputs/{inputs.id}")
    if not is_new:
        response.status_code = HTTPStatus.OK
    return inputs


@router.get("/{inputs_id}", summary="Get inputs and which parts have arrived", responses=NOT_FOUND)
def get_inputs(inputs_id: Id, store: StoreDep) -> InputsRead:
    return service.read(store, inputs_id)


@router.put(
    "/{inputs_id}/parts/{number}",
    summary="Send a part of the files",
    responses=NOT_FOUND | problem_responses(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY),
    openapi_extra=FILES_BODY,
)
async def put_part(
    inputs_id: Id,
    number: PartNumber,
    request: Request,
    store: StoreDep,
    settings: SettingsDep,
    digest: Annotated[
        str | None,
        Query(
            max_length=128,
            pattern=r"^[!-~]+$",
            description="Any text that identifies the part's content, such as a hash. It is listed with the part.",
        ),
    ] = None,
) -> PartRead:
    """Replaces a part that has this number. A rejected file becomes a failed item of the job.

    One large file is sent by a resumable upload instead: `POST /inputs/{id}/parts/{number}/uploads`.
    """
    await to_thread.run_sync(service.read, store, inputs_id)  # before the body is received
    part = service.Part(inputs_id, number, digest)
    async with receive_form(request, store, settings) as form:
        return await to_thread.run_sync(service.put_part, store, settings, part, form)


@router.delete(
    "/{inputs_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Delete inputs that no job has taken",
    responses=NOT_FOUND,
)
def delete_inputs(inputs_id: Id, store: StoreDep) -> None:
    service.delete(store, inputs_id)
