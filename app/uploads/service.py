"""Upload service: creates, reads, completes and deletes resumable uploads.

A complete file is ingested as by `POST /datasets/{id}/images` or `PUT /inputs/{id}/parts/{number}`. Until its images
and its outcome are recorded, in one transaction, the file stays on disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from app.datasets import service as datasets
from app.datasets.schemas import ImageUploadResponse, Role
from app.http.body_limit import storage_full
from app.http.problems import ProblemDetails, ProblemError, not_found
from app.ingest.files import ReceivedFile, display_name
from app.inputs import service as inputs
from app.inputs.schemas import PartRead
from app.lookup import get_dataset_or_404, lock_dataset_or_404
from app.uploads.schemas import UploadRead, UploadStatus
from app.uploads.tus import parse_digest, parse_file_name, parse_options
from config.settings import Settings
from store.db.database import Session
from store.db.tables import Upload
from store.errors import LeaseHeld
from store.leases import UPLOAD
from store.repositories.uploads import DatasetTarget, InputsTarget, UploadRepository
from store.store import Store

LOCK_RETRY_SECONDS = 2


def create(
    store: Store, settings: Settings, target: DatasetTarget | InputsTarget, length: int, metadata: str
) -> Upload:
    """Raises `ProblemError` if there is no such target, or if `length` bytes are too large or exceed the storage."""
    with store.database.read() as session:
        _require_target(session, target)
    if length > settings.max_upload_bytes:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "upload_too_large",
            f"The file exceeds {settings.max_upload_bytes:,} bytes. Send less at a time, or raise "
            "PATINA_MAX_UPLOAD_BYTES.",
        )
    if length > store.quota.available():
        raise storage_full(store.quota)
    name = display_name(parse_file_name(metadata))
    parse_options(metadata)
    with store.database.write() as session:
        if isinstance(target, DatasetTarget):
            lock_dataset_or_404(session, target.dataset_id)
        else:
            inputs.prolong(session, settings, target.inputs_id)
        upload = UploadRepository(session).create(
            target, name=name, metadata=metadata, length=length, retention_seconds=settings.upload_seconds
        )
    if length == 0:  # no part will follow
        with lock_upload(store, upload.id):
            finalize(store, settings, upload)
        require_accepted(store, upload.id)
    return upload


def get(store: Store, upload_id: str) -> Upload:
    """Raises `ProblemError` (404) if there is no such upload."""
    with store.database.read() as session:
        return _get_or_404(session, upload_id)


def read(store: Store, upload_id: str) -> UploadRead:
    """Raises `ProblemError` (404) if there is no such upload."""
    with store.database.read() as session:  # `result` and `problem` are deferred columns
        upload = _get_or_404(session, upload_id)
        status = UploadStatus.receiving
        if upload.completed_at is not None:
            status = UploadStatus.rejected if upload.problem else UploadStatus.accepted
        return UploadRead(
            id=upload.id,
            dataset=upload.dataset_id,
            role=Role(upload.role) if upload.role else None,
            inputs=upload.inputs_id,
            number=upload.number,
            name=upload.name,
            status=status,
            length=upload.length,
            received=count_received(store, upload),
            result=ImageUploadResponse.model_validate(upload.result) if upload.result and upload.dataset_id else None,
            part=PartRead.model_validate(upload.result) if upload.result and upload.inputs_id else None,
            problem=ProblemDetails.model_validate(upload.problem) if upload.problem else None,
            created=upload.created_at,
            expires=upload.expires_at,
        )


def get_offset(store: Store, upload: Upload) -> int:
    """Returns the offset at which the client must continue.

    A complete file may not have been ingested, because the process died. Then the client must send its last byte
    again, which starts the ingestion.
    """
    received = count_received(store, upload)
    return received - 1 if upload.completed_at is None and received == upload.length > 0 else received


def count_received(store: Store, upload: Upload) -> int:
    """Returns the bytes that are on disk: none for an upload that a backup restored."""
    if upload.completed_at is not None:
        return upload.length
    return min(upload.received, store.partial_uploads.size(upload.id))


def delete(store: Store, upload_id: str) -> None:
    """Raises `ProblemError` if there is no such upload, or if another request is sending it."""
    get(store, upload_id)
    with lock_upload(store, upload_id):
        with store.database.write() as session:
            _get_or_404(session, upload_id)
            UploadRepository(session).delete(upload_id)
        store.partial_uploads.delete(upload_id)


def finalize(store: Store, settings: Settings, upload: Upload) -> Upload:
    """Ingests a complete upload, which the caller has locked, and records the outcome.

    Raises `ProblemError` if a later attempt may succeed.
    """

    def record(session: Session, response: ImageUploadResponse | PartRead) -> None:
        _complete(session, settings, upload, result=response.model_dump(mode="json"))

    with store.blobs.scratch() as folder:
        path = folder / "part-0"
        # A copy or second name, because ingestion moves the file; the upload stays until the images are recorded.
        store.partial_uploads.assemble(upload.id, path)
        if path.stat().st_size != upload.length:  # a process that was frozen has replaced a part: it is sent again
            raise upload_busy()
        with path.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        file = ReceivedFile(upload.name, path, sha256)
        try:
            options = parse_options(upload.upload_metadata)
            if upload.dataset_id is not None and upload.role is not None:
                role = Role(upload.role)
                datasets.add_images(store, settings, upload.dataset_id, role, [file], folder, options, record)
            elif upload.inputs_id is not None and upload.number is not None:
                part = inputs.Part(upload.inputs_id, upload.number, parse_digest(upload.upload_metadata))
                inputs.put_files(store, settings, part, [file], folder, options, record)
        except ProblemError as error:
            if not _is_final(error):
                raise
            reject(store, settings, upload, error)
    store.partial_uploads.delete(upload.id)
    return get(store, upload.id)


def reject(store: Store, settings: Settings, upload: Upload, error: ProblemError) -> None:
    """Records why a file was rejected, and deletes it."""
    with store.database.write() as session:
        _complete(session, settings, upload, problem=error.details)
    store.partial_uploads.delete(upload.id)


def require_accepted(store: Store, upload_id: str) -> None:
    """Raises the `ProblemError` that the file was rejected with, if it was."""
    with store.database.read() as session:
        if problem := _get_or_404(session, upload_id).problem:
            raise ProblemError.from_details(problem)


@contextmanager
def lock_upload(store: Store, upload_id: str) -> Iterator[None]:
    """Inside, no other request writes the upload. Raises `ProblemError` (423) if another one does."""
    try:
        with store.leases.hold(UPLOAD + upload_id):
            yield
    except LeaseHeld as error:
        raise upload_busy() from error


def upload_busy() -> ProblemError:
    return ProblemError(
        HTTPStatus.LOCKED,
        "upload_busy",
        f"Another request is sending this file. Retry in {LOCK_RETRY_SECONDS} s.",
        headers={"Retry-After": str(LOCK_RETRY_SECONDS)},
    )


def _complete(
    session: Session,
    settings: Settings,
    upload: Upload,
    result: dict[str, Any] | None = None,
    problem: dict[str, Any] | None = None,
) -> None:
    UploadRepository(session).complete(upload.id, settings.upload_seconds, result=result, problem=problem)


def _is_final(error: ProblemError) -> bool:
    """Tells whether the same file would be rejected again; a full storage may have space later."""
    return error.status == HTTPStatus.UNPROCESSABLE_ENTITY or error.code == "too_many_files"


def _require_target(session: Session, target: DatasetTarget | InputsTarget) -> None:
    if isinstance(target, DatasetTarget):
        get_dataset_or_404(session, target.dataset_id)
    else:
        inputs.get_or_404(session, target.inputs_id)


def _get_or_404(session: Session, upload_id: str) -> Upload:
    upload = UploadRepository(session).get(upload_id)
    if upload is None:
        raise not_found("upload", upload_id)
    return upload
