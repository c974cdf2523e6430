"""Uploads that resume: a file comes in parts, and then is what `POST /datasets/{id}/images` would have made of it.

What its record says is on disk is on disk, whatever dies: a part is flushed before it is counted, and what lies behind
the count is cut off. The file stays until the images and the upload's end are recorded, in one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from threading import RLock
from typing import Any, BinaryIO

from anyio import CancelScope, move_on_after, sleep, to_thread
from fastapi import Request
from fastapi.concurrency import contextmanager_in_threadpool
from sqlalchemy.orm import Session

from app.datasets import service as datasets
from app.lookup import held
from app.datasets.schemas import Role, ImageUploadResponse
from app.http.body_limit import allow_upload, storage_full
from app.http.problems import ProblemDetails, ProblemError, not_found
from app.http.schemas import RejectedFile
from app.ingest.archive_readers import HEAD, find_opener
from app.ingest.files import ReceivedFile, display_name, too_large
from app.ingest.multipart import BATCH
from app.uploads.schemas import UploadRead, UploadStatus
from app.uploads.tus import file_name
from config.settings import Settings
from store.db.tables import Upload
from store.files.partial_uploads import FileBusyError
from store.repositories.uploads import UploadRepository
from store.store import Store

COUNT_EVERY = 8 * 2**20  # bytes after which what has come is flushed and counted
BUSY_SECONDS = 2  # after which a client may try again
LOOK_EVERY_SECONDS = 0.05


def begin(store: Store, settings: Settings, dataset_id: str, role: Role, length: int, metadata: str) -> Upload:
    """Raises `ProblemError` where there is no such dataset, or no room for so much."""
    datasets.require(store, dataset_id)
    if length > settings.max_upload_bytes:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "upload_too_large",
            f"The file has more than {settings.max_upload_bytes:,} bytes. Send less at a time, or raise "
            "PATINA_MAX_UPLOAD_BYTES.",
        )
    if length > store.room.left():
        raise storage_full()
    name = display_name(file_name(metadata))
    with store.database.write() as session:
        held(session, dataset_id)
        upload = UploadRepository(session).create(
            dataset_id, role, name=name, metadata=metadata, length=length, keep_seconds=settings.upload_seconds
        )
    if length == 0:  # no part will come
        with _held(store, upload.id):
            _concluded(store, settings, upload)
        _require_taken(store, upload.id)
    return upload


def get(store: Store, upload_id: str) -> Upload:
    """Raises `ProblemError` where there is no such upload."""
    with store.database.read() as session:
        return _found(session, upload_id)


def show(store: Store, upload_id: str) -> UploadRead:
    with store.database.read() as session:
        upload = _found(session, upload_id)
        status = UploadStatus.receiving
        if upload.concluded is not None:
            status = UploadStatus.refused if upload.problem else UploadStatus.taken
        return UploadRead(
            id=upload.id,
            dataset=upload.dataset_id,
            role=Role(upload.role),
            name=upload.name,
            status=status,
            length=upload.length,
            received=_received(store, upload),
            result=ImageUploadResponse.model_validate(upload.result) if upload.result else None,
            problem=ProblemDetails.model_validate(upload.problem) if upload.problem else None,
            created=upload.created,
            expires=upload.expires,
        )


def offset(store: Store, upload: Upload) -> int:
    """From where on the client shall send.

    Of a file that is there whole but was not looked at, for the process died over it, the last byte is asked for
    again: it is what begins the looking.
    """
    received = _received(store, upload)
    return received - 1 if upload.concluded is None and received == upload.length > 0 else received


async def receive(request: Request, store: Store, settings: Settings, upload_id: str, start: int) -> Upload:
    """Takes the body as the part of the file from `start` on; what of it has come is kept whatever breaks it off.

    With the last part the images are taken. Raises `ProblemError`.
    """
    upload = await to_thread.run_sync(get, store, upload_id)
    if upload.concluded is None:
        await to_thread.run_sync(allow_upload, request, store.room, settings)
        await _free(store, upload_id)
        async with contextmanager_in_threadpool(_held(store, upload_id)) as file:
            upload = await _receive(request, store, settings, upload_id, start, file)
    else:
        _require_offset(store, upload, start)
    await to_thread.run_sync(_require_taken, store, upload_id)
    return upload


def delete(store: Store, upload_id: str) -> None:
    """Raises `ProblemError` where there is no such upload, or more of it comes in this moment."""
    get(store, upload_id)
    with _held(store, upload_id):
        with store.database.write() as session:
            _found(session, upload_id)
            UploadRepository(session).delete(upload_id)
        store.unfinished.delete(upload_id)


async def _receive(
    request: Request, store: Store, settings: Settings, upload_id: str, start: int, file: BinaryIO
) -> Upload:
    upload, part = await to_thread.run_sync(_begun, store, settings, upload_id, start, file)
    if part:
        try:
            await _write(request, part)
        except _FileTooLargeError as error:
            await to_thread.run_sync(_refused, store, settings, upload, error)
            raise
    return await to_thread.run_sync(_ended, store, settings, upload_id)


def _begun(store: Store, settings: Settings, upload_id: str, start: int, file: BinaryIO) -> tuple[Upload, _Part | None]:
    """The upload, as it is now that nobody else changes it, and what is to be written of it; None where it is whole."""
    upload = get(store, upload_id)
    _require_offset(store, upload, start)
    return upload, _Part(store, settings, upload, file) if _received(store, upload) < upload.length else None


def _ended(store: Store, settings: Settings, upload_id: str) -> Upload:
    """The upload after a part, its images taken if it is whole."""
    upload = get(store, upload_id)
    if upload.concluded is None and _received(store, upload) == upload.length:
        return _concluded(store, settings, upload)
    return upload


def _require_offset(store: Store, upload: Upload, start: int) -> None:
    if start != (wanted := offset(store, upload)):
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "other_offset",
            f"The next byte that is wanted is number {wanted}, and not {start}. HEAD tells it.",
            headers={"Upload-Offset": str(wanted)},
        )


async def _write(request: Request, part: _Part) -> None:
    try:
        waiting = bytearray()
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= BATCH:
                # No longer waiting while it is written: what breaks off in between must not have it written again.
                batch, waiting = bytes(waiting), bytearray()
                await to_thread.run_sync(part.write, batch)
    finally:
        with CancelScope(shield=True):  # what has come has come, whether the client hung up or we are to leave
            await to_thread.run_sync(part.finish, bytes(waiting))


class _FileTooLargeError(ProblemError):
    """The file is larger than an image may be, and begins like no archive; nothing more of it is wanted."""

    def __init__(self, upload: Upload, limit: int):
        rejected = RejectedFile(name=upload.name, code="file_too_large", message=too_large(limit))
        words = f"{rejected.name}: {rejected.message}"
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY, rejected.code, words, rejected=[rejected.model_dump()])


class _Part:
    """Bytes on their way into a file that is held.

    Where the process is told to leave, `finish` can be called while a `write` goes on in its thread: it waits for that.
    """

    def __init__(self, store: Store, settings: Settings, upload: Upload, file: BinaryIO):
        self.store = store
        self.settings = settings
        self.upload = upload
        self.file = file
        self.lock = RLock()
        self.began = self.at = self.counted = _received(store, upload)
        file.truncate(self.at)
        file.seek(0)
        self.head = file.read(min(HEAD, self.at))
        file.seek(self.at)

    def write(self, data: bytes) -> None:
        """Raises `ProblemError` for more than the file was said to have, and when its beginning shows it too large."""
        with self.lock:
            if self.at + len(data) > self.upload.length:
                raise ProblemError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "beyond_length",
                    f"The file was said to have {self.upload.length:,} bytes, and this is more. Begin a new upload "
                    "with the length that it has.",
                )
            self.head += data[: HEAD - len(self.head)]
            limit = self.settings.max_file_bytes
            if (
                self.upload.length > limit
                and len(self.head) == HEAD
                and not find_opener(self.head, self.upload.name)
            ):
                raise _FileTooLargeError(self.upload, limit)
            self.file.write(data)
            self.at += len(data)
            if self.at - self.counted >= COUNT_EVERY:
                self._count()

    def finish(self, data: bytes) -> None:
        with self.lock:
            try:
                self.write(data)
            finally:
                if self.at > self.counted:
                    self._count()
                self.store.room.keep(self.at - self.began)

    def _count(self) -> None:
        self.store.unfinished.flush(self.file)
        with self.store.database.write() as session:
            if not UploadRepository(session).receive(self.upload.id, self.at, self.settings.upload_seconds):
                raise not_found("upload", self.upload.id)
        self.counted = self.at


def _concluded(store: Store, settings: Settings, upload: Upload) -> Upload:
    """Makes of a whole file, which is held, what `POST /datasets/{id}/images` would; nothing is written to it any more.

    Raises `ProblemError` where it may be tried again.
    """
    conclude = partial(_conclude, settings=settings, upload=upload)
    with store.blobs.scratch() as folder:
        path = folder / "part-0"
        # A second name, for images are taken by moving them; the first stays until their record is made.
        store.unfinished.link(upload.id, path)
        with path.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        file = ReceivedFile(upload.name, path, sha256)
        role = Role(upload.role)
        try:
            datasets.add_images(
                store,
                settings,
                upload.dataset_id,
                role,
                [file],
                folder,
                lambda session, answer: conclude(session, result=answer.model_dump(mode="json")),
            )
        except ProblemError as error:
            if not _is_final(error):
                raise
            _refused(store, settings, upload, error)
    store.unfinished.delete(upload.id)
    return get(store, upload.id)


def _refused(store: Store, settings: Settings, upload: Upload, error: ProblemError) -> None:
    with store.database.write() as session:
        _conclude(session, settings, upload, problem=error.details)
    store.unfinished.delete(upload.id)


def _conclude(
    session: Session,
    settings: Settings,
    upload: Upload,
    result: dict[str, Any] | None = None,
    problem: dict[str, Any] | None = None,
) -> None:
    UploadRepository(session).conclude(upload.id, settings.upload_seconds, result=result, problem=problem)


def _is_final(error: ProblemError) -> bool:
    """Whether the same file would be refused again; there may be room later."""
    return error.status == HTTPStatus.UNPROCESSABLE_ENTITY or error.code == "too_many_files"


def _require_taken(store: Store, upload_id: str) -> None:
    """Raises the `ProblemError` that the file was refused with, if it was."""
    with store.database.read() as session:
        if problem := _found(session, upload_id).problem:
            raise ProblemError.again(problem)


def _received(store: Store, upload: Upload) -> int:
    """Bytes that are there: of an upload that a backup brought back, none."""
    if upload.concluded is not None:
        return upload.length
    return min(upload.received, store.unfinished.size(upload.id))


@contextmanager
def _held(store: Store, upload_id: str) -> Iterator[BinaryIO]:
    """The file for this request alone. Raises `ProblemError` (423) where another one has it."""
    try:
        with store.unfinished.held(upload_id) as file:
            yield file
    except FileBusyError as error:
        raise ProblemError(
            HTTPStatus.LOCKED,
            "upload_busy",
            "Another request is sending this file, or was until a moment ago. Try again in a while.",
            headers={"Retry-After": str(BUSY_SECONDS)},
        ) from error


async def _free(store: Store, upload_id: str) -> None:
    """Waits a little while another request has the file: one that broke off may still be writing what had come."""
    with move_on_after(BUSY_SECONDS):
        while await to_thread.run_sync(store.unfinished.is_busy, upload_id):
            await sleep(LOOK_EVERY_SECONDS)


def _found(session: Session, upload_id: str) -> Upload:
    upload = UploadRepository(session).get(upload_id)
    if upload is None:
        raise not_found("upload", upload_id)
    return upload
