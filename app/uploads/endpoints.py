"""Calls on uploads that resume, as tus 1.0 has them, and what became of them."""

from __future__ import annotations

from http import HTTPStatus

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from app.auth.ownership import RequireDatasetOwner
from app.datasets.schemas import Role
from app.http.dependencies import SettingsDep, StoreDep
from app.http.problems import problem_responses
from app.http.schemas import Id
from app.uploads import service
from app.ingest.documentation import PART_BODY
from app.uploads.schemas import UploadRead
from app.uploads.tus import Length, Metadata, Offset, Override, Resumable, TusRoute, abilities, expiry, require_part

router = APIRouter(tags=["uploads"])
tus = APIRouter(route_class=TusRoute)
OTHER_VERSION = problem_responses(HTTPStatus.PRECONDITION_FAILED)
NOT_FOUND = problem_responses(HTTPStatus.NOT_FOUND)


@tus.options(
    "/datasets/{dataset_id}/uploads",
    status_code=HTTPStatus.NO_CONTENT,
    summary="What of the protocol tus is spoken here",
)
async def tell_abilities(dataset_id: Id, settings: SettingsDep) -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=abilities(settings))


@tus.post(
    "/datasets/{dataset_id}/uploads",
    status_code=HTTPStatus.CREATED,
    summary="Begin to add an image or an archive in parts",
    response_class=Response,
    responses=NOT_FOUND
    | OTHER_VERSION
    | problem_responses(HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    dependencies=[RequireDatasetOwner],
)
def begin_upload(
    dataset_id: Id,
    role: Role,
    store: StoreDep,
    settings: SettingsDep,
    length: Length,
    version: Resumable,
    metadata: Metadata = "",
) -> Response:
    """For what is large, over connections that break: any client of the protocol tus 1.0 can send it.

    `Location` is where the parts go, by `PATCH`. Where one broke off, `HEAD` tells how much has come.
    """
    upload = service.begin(store, settings, dataset_id, role, length, metadata)
    return Response(status_code=HTTPStatus.CREATED, headers={"Location": f"/uploads/{upload.id}", **expiry(upload)})


@router.get("/uploads/{upload_id}", summary="What became of an upload", responses=NOT_FOUND)
def get_upload(upload_id: Id, store: StoreDep) -> UploadRead:
    """The images of a finished one, and what of it was refused and why, as `POST /datasets/{id}/images` answers it."""
    return service.show(store, upload_id)


@tus.head(
    "/uploads/{upload_id}",
    summary="How much of an upload has come",
    response_class=Response,
    responses=NOT_FOUND | OTHER_VERSION,
)
def tell_offset(upload_id: Id, store: StoreDep, version: Resumable) -> Response:
    upload = service.get(store, upload_id)
    headers = {
        "Upload-Offset": str(service.offset(store, upload)),
        "Upload-Length": str(upload.length),
        "Cache-Control": "no-store",
    }
    if upload.description:
        headers["Upload-Metadata"] = upload.description
    return Response(headers=headers | expiry(upload))


@tus.patch(
    "/uploads/{upload_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Send a part of a file",
    responses=NOT_FOUND
    | OTHER_VERSION
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
    """What of it has come is kept, also where it breaks off.

    The last part's answer comes when the images are taken; it is 422 where none of them can be, as
    `POST /datasets/{id}/images` would have answered.
    """
    require_part(request)
    upload = await service.receive(request, store, settings, upload_id, start)
    offset = await to_thread.run_sync(service.offset, store, upload)
    headers = {"Upload-Offset": str(offset), **expiry(upload)}
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)


@tus.delete(
    "/uploads/{upload_id}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Give an upload up, or forget a finished one",
    responses=NOT_FOUND | OTHER_VERSION | problem_responses(HTTPStatus.LOCKED),
)
def delete_upload(upload_id: Id, store: StoreDep, version: Resumable) -> Response:
    """What of the file has come is deleted. Images that were taken stay."""
    service.delete(store, upload_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@tus.post("/uploads/{upload_id}", include_in_schema=False)
async def answer_override(
    upload_id: Id,
    request: Request,
    store: StoreDep,
    settings: SettingsDep,
    version: Resumable,
    method: Override,
    start: Offset = -1,
) -> Response:
    """For clients whose surroundings let nothing but GET and POST through, as the protocol has it."""
    if method == "PATCH":
        return await receive_part(upload_id, request, store, settings, start, version)
    return await to_thread.run_sync(delete_upload, upload_id, store, version)


router.include_router(tus)
