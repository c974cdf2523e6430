"""Receives the parts of an upload.

A part is flushed to disk before it is counted, and bytes after the count are truncated. The count in the record is
therefore always on disk, even after a crash.
"""

from __future__ import annotations

from http import HTTPStatus
from threading import RLock

from anyio import CancelScope, current_time, move_on_after, sleep, to_thread
from fastapi import Request
from fastapi.concurrency import contextmanager_in_threadpool

from app.http.body_limit import allow_upload
from app.http.problems import ProblemError, not_found
from app.http.schemas import RejectedFile
from app.ingest.archive_readers import HEAD_BYTES, find_opener
from app.ingest.files import file_too_large_message
from app.ingest.multipart import BATCH_BYTES
from app.uploads.service import (
    LOCK_RETRY_SECONDS,
    count_received,
    finalize,
    get,
    get_offset,
    lock_upload,
    reject,
    require_accepted,
    upload_busy,
)
from config.settings import Settings
from store.db.database import Session
from store.db.tables import Upload
from store.errors import LeaseHeld
from store.leases import UPLOAD
from store.repositories.inputs import InputsRepository
from store.repositories.uploads import UploadRepository
from store.store import Store

COUNT_BYTES = 8 * 2**20  # received bytes are flushed and counted in steps of this size
POLL_SECONDS = 0.05


async def receive(request: Request, store: Store, settings: Settings, upload_id: str, start: int) -> Upload:
    """Writes the body to the file at offset `start`. Bytes that arrive are kept, however the request ends.

    Ingests the images after the last part. Raises `ProblemError`.
    """
    upload = await to_thread.run_sync(get, store, upload_id)
    if upload.completed_at is None:
        await to_thread.run_sync(allow_upload, request, store.quota, settings)
        await _wait_for_lock(store, settings, upload_id)
        async with contextmanager_in_threadpool(lock_upload(store, upload_id)):
            upload = await _receive(request, store, settings, upload_id, start)
    else:
        _check_offset(store, upload, start)
    await to_thread.run_sync(require_accepted, store, upload_id)
    return upload


async def _receive(request: Request, store: Store, settings: Settings, upload_id: str, start: int) -> Upload:
    upload, part = await to_thread.run_sync(_begin_part, store, settings, upload_id, start)
    if part:
        try:
            await _write(request, part)
        except _FileTooLargeError as error:
            await to_thread.run_sync(reject, store, settings, upload, error)
            raise
    return await to_thread.run_sync(_end_part, store, settings, upload_id)


def _begin_part(store: Store, settings: Settings, upload_id: str, start: int) -> tuple[Upload, _Part | None]:
    """Returns the locked upload, and the part to write; None if the file is complete."""
    upload = get(store, upload_id)
    _check_offset(store, upload, start)
    return upload, _Part(store, settings, upload) if count_received(store, upload) < upload.length else None


def _end_part(store: Store, settings: Settings, upload_id: str) -> Upload:
    """Returns the upload after a part; a complete file is ingested."""
    upload = get(store, upload_id)
    if upload.completed_at is None and count_received(store, upload) == upload.length:
        return finalize(store, settings, upload)
    return upload


def _check_offset(store: Store, upload: Upload, start: int) -> None:
    if start != (expected := get_offset(store, upload)):
        raise ProblemError(
            HTTPStatus.CONFLICT,
            "offset_mismatch",
            f"The upload continues at offset {expected}, not {start}. HEAD returns the offset.",
            headers={"Upload-Offset": str(expected)},
        )


async def _write(request: Request, part: _Part) -> None:
    try:
        pending = bytearray()
        async for chunk in request.stream():
            pending += chunk
            if len(pending) >= BATCH_BYTES:
                # Cleared before the write, so that an interruption does not write the same bytes twice.
                batch, pending = bytes(pending), bytearray()
                await to_thread.run_sync(part.write, batch)
    finally:
        with CancelScope(shield=True):  # keeps received bytes when the client disconnects or the service shuts down
            await to_thread.run_sync(part.finish, bytes(pending))


class _FileTooLargeError(ProblemError):
    """The file is larger than an image may be, and it is no archive; the rest of it is not needed."""

    def __init__(self, upload: Upload, limit: int):
        rejected = RejectedFile(name=upload.name, code="file_too_large", message=file_too_large_message(limit))
        detail = f"{rejected.name}: {rejected.message}"
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY, rejected.code, detail, rejected=[rejected.model_dump()])


class _Part:
    """Appends bytes to a locked upload, until `finish`.

    During a shutdown, `finish` may be called while a `write` is running in its thread; it waits for that.
    """

    def __init__(self, store: Store, settings: Settings, upload: Upload):
        self.store = store
        self.settings = settings
        self.upload = upload
        self.lock = RLock()
        self.start = self.offset = self.counted = count_received(store, upload)
        self.file = store.partial_uploads.open(upload.id, self.offset)
        self.head = self.file.read_head(HEAD_BYTES)

    def write(self, data: bytes) -> None:
        """Raises `ProblemError` if the data exceed the announced length, or if the file turns out to be too large."""
        with self.lock:
            if self.offset + len(data) > self.upload.length:
                raise ProblemError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "length_exceeded",
                    f"The data exceed the announced length of {self.upload.length:,} bytes. Create a new upload with "
                    "the right length.",
                )
            self.head += data[: HEAD_BYTES - len(self.head)]
            limit = self.settings.max_file_bytes
            if (
                self.upload.length > limit
                and len(self.head) == HEAD_BYTES
                and not find_opener(self.head, self.upload.name)
            ):
                raise _FileTooLargeError(self.upload, limit)
            self.file.write(data)
            self.offset += len(data)
            if self.offset - self.counted >= COUNT_BYTES:
                self._count()

    def finish(self, data: bytes) -> None:
        with self.lock, self.file:
            try:
                self.write(data)
            finally:
                if self.offset > self.counted:
                    self._count()
                self.store.quota.commit(self.offset - self.start)

    def _count(self) -> None:
        with self.store.database.read() as session:  # before bytes of another request are replaced
            self._require_lease(session)
        self.file.flush()
        with self.store.database.write() as session:
            self._require_lease(session)
            if not UploadRepository(session).set_received(self.upload.id, self.offset, self.settings.upload_seconds):
                raise not_found("upload", self.upload.id)
            if self.upload.inputs_id is not None:  # they must not expire while a part of them arrives
                InputsRepository(session).prolong(self.upload.inputs_id, self.settings.upload_seconds)
        self.counted = self.offset

    def _require_lease(self, session: Session) -> None:
        """Raises `ProblemError` (423) if this process was frozen, and another one has continued."""
        try:
            self.store.leases.require(session, UPLOAD + self.upload.id)
        except LeaseHeld as error:
            raise upload_busy() from error


async def _wait_for_lock(store: Store, settings: Settings, upload_id: str) -> None:
    """Waits for a request that broke off and may still be writing, or for the lease of a process that died.

    Gives up when another request has renewed its lease meanwhile: that one is alive.
    """
    first = await to_thread.run_sync(store.leases.expiry, UPLOAD + upload_id)
    earliest = current_time() + LOCK_RETRY_SECONDS
    with move_on_after(LOCK_RETRY_SECONDS + settings.lease_seconds):
        while (expiry := await to_thread.run_sync(store.leases.expiry, UPLOAD + upload_id)) is not None:
            if expiry != first and current_time() > earliest:
                return
            await sleep(POLL_SECONDS)
