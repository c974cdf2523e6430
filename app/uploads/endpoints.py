"""Upload endpoints: resumable uploads as in tus 1.0, and their results."""

from __future__ import annotations

from http import HTTPStatus

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from app.auth.ownership import RequireDatasetOwner
from app.datasets.schemas import Role
from app.http.dependencies import SettingsDep, StoreDep
from app.http.problems import problem_responses
from app.http.root_path import link
from app.http.schemas import Id
from app.inputs.endpoints import PartNumber
from app.uploads import service
from app.uploads.receive import receive
from app.uploads.schemas import UploadRead
from app.uploads.tus import (
    PART_BODY,
    Length,
    Metadata,
    Offset,
    Override,
    Resumable,
    TusRoute,
    expiry_headers,
    require_part,
    tus_headers,
)
from store.db.tables import Upload
from store.repositories.uploads import DatasetTarget, InputsTarget

router = APIRouter(tags=["uploads"])
tus = APIRouter(route_class=TusRoute)
WRONG_VERSION = problem_responses(HTTPStatus.PRECONDITION_FAILED)
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)
CREATION_PROBLEMS = (
    NOT_FOUND | WRONG_VERSION | problem_responses(HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
)


@tus.options(
    "/datasets/{dataset_id}/uploads",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Get the supported tus version and extensions",
)
async def get_capabilities(dataset_id: Id, settings: SettingsDep) -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=tus_headers(settings))


@tus.post(
    "/datasets/{dataset_id}/uploads",
    status_code=HTTPStatus.CREATED,
    summary="Create a resumable upload of an image or an archive",
    response_class=Response,
    responses=CREATION_PROBLEMS,
    dependencies=[RequireDatasetOwner],
)
def create_upload(
    dataset_id: Id,
    role: Role,
    store: StoreDep,
    settings: SettingsDep,
    length: Length,
    version: Resumable,
    metadata: Metadata = "",
) -> Response:
    """For large files and unreliable connections. Any tus 1.0 client can send them.

    Send the parts by `PATCH` to `Location`. After an interruption, `HEAD` returns how much has arrived.
    """
    upload = service.create(store, settings, DatasetTarget(dataset_id, role), length, metadata)
    return _respond_created(upload)


@tus.post(
    "/inputs/{inputs_id}/parts/{number}/uploads",
    status_code=HTTPStatus.CREATED,
    summary="Create a resumable upload of a part of inputs",
    response_class=Response,
    responses=CREATION_PROBLEMS,
)
def create_upload_of_part(
    inputs_id: Id,
    number: PartNumber,
    store: StoreDep,
    settings: SettingsDep,
    length: Length,
    version: Resumable,
    metadata: Metadata = "",
) -> Response:
    """For one large image or archive, as `PUT /inputs/{id}/parts/{number}`. Sent as an upload for a dataset."""
    upload = service.create(store, settings, InputsTarget(inputs_id, number), length, metadata)
    return _respond_created(upload)


def _respond_created(upload: Upload) -> Response:
    headers = {"Location": link(f"/uploads/{upload.id}"), **expiry_headers(upload)}
    return Response(status_code=HTTPStatus.CREATED, headers=headers)


@router.get("/uploads/{upload_id}", summary="Get an upload's status and result", responses=NOT_FOUND)
def get_upload(upload_id: Id, store: StoreDep) -> UploadRead:
    """A finished upload lists its accepted images and its rejected files, as `POST /datasets/{id}/images` does."""
    return service.read(store, upload_id)


@tus.head(
    "/uploads/{upload_id}",
    summary="Get an upload's offset",
    response_class=Response,
    responses=NOT_FOUND | WRONG_VERSION,
)
def get_offset(upload_id: Id, store: StoreDep, version: Resumable) -> Response:
    upload = service.get(store, upload_id)
    headers = {
        "Upload-Offset": str(service.get_offset(store, upload)),
        "Upload-Length": str(upload.length),
        "Cache-Control": "no-store",
    }
    if upload.upload_metadata:
        headers["Upload-Metadata"] = upload.upload_metadata
    return Response(headers=headers | expiry_headers(upload))


@tus.patch(
    "/uploads/{upload_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Send a part of a file",
    responses=NOT_FOUND
    | WRONG_VERSION
    | problem_responses(
        HTTPStatus.CONFLICT,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.LOCKED,
    ),
    openapi_extra=PART_BODY,
)
async def receive_part(
    upload_id: Id, request: Request, store: StoreDep, settings: SettingsDep, start: Offset, version: Resumable
) -> Response:
    """Keeps the bytes that arrive, also if the connection breaks.

    The response to the last part comes when the images have been ingested. It is 422 if all of them were rejected, as
    with `POST /datasets/{id}/images`.
    """
    require_part(request)
    upload = await receive(request, store, settings, upload_id, start)
    offset = await to_thread.run_sync(service.get_offset, store, upload)
    headers = {"Upload-Offset": str(offset), **expiry_headers(upload)}
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)


@tus.delete(
    "/uploads/{upload_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Delete an upload",
    responses=NOT_FOUND | WRONG_VERSION | problem_responses(HTTPStatus.LOCKED),
)
def delete_upload(upload_id: Id, store: StoreDep, version: Resumable) -> Response:
    """Deletes the bytes that have arrived. Images that were accepted stay in the dataset."""
    service.delete(store, upload_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@tus.post("/uploads/{upload_id}", include_in_schema=False)
async def override_method(
    upload_id: Id,
    request: Request,
    store: StoreDep,
    settings: SettingsDep,
    version: Resumable,
    method: Override,
    start: Offset = -1,
) -> Response:
    """For clients in environments that allow only GET and POST; the protocol specifies this."""
    if method == "PATCH":
        return await receive_part(upload_id, request, store, settings, start, version)
    return await to_thread.run_sync(delete_upload, upload_id, store, version)


router.include_router(tus)
