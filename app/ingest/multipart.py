"""Receives forms. Files of any size are hashed and written to disk as they arrive.

Images are validated while the rest of the form is still arriving.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qsl

from anyio import to_thread
from fastapi import Request
from fastapi.concurrency import contextmanager_in_threadpool
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.http.body_limit import allow_upload
from app.http.problems import ProblemError
from app.ingest.archive_readers import HEAD_BYTES, find_opener
from app.ingest.files import ReceivedFile, display_name, too_many_files
from config.settings import Settings
from imaging.decoder_pool import DecoderPool
from imaging.image_info import ImageCheck
from store.store import Store

BATCH_BYTES = 2**20  # written per thread call; starting a thread is cheap compared with writing this much
MAX_BATCH_CHUNKS = 2**12  # many small chunks take far more memory than their bytes
MAX_FIELDS = 100
MAX_FIELD_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024
MULTIPART, URLENCODED = b"multipart/form-data", b"application/x-www-form-urlencoded"


@dataclass
class ReceivedForm:
    folder: Path
    files: list[ReceivedFile] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def only_name(self) -> str | None:
        """The name of the file if there is only one: perhaps an archive, whose members' names start with it."""
        return self.files[0].name if len(self.files) == 1 else None


@asynccontextmanager
async def receive_form(request: Request, store: Store, settings: Settings) -> AsyncIterator[ReceivedForm]:
    """Receives a form. Its folder is deleted afterwards, with all files that were not moved out.

    Raises `ProblemError` if the body is not a form or is too large.
    """
    async with contextmanager_in_threadpool(_scratch(store)) as (folder, validator):
        await to_thread.run_sync(allow_upload, request, store.quota, settings)
        media_type, options = parse_options_header(request.headers.get("content-type"))
        if media_type == MULTIPART and b"boundary" in options:
            form = ReceivedForm(folder)
            receiver = _MultipartReceiver(options[b"boundary"], form, settings, store.decoders, validator)
            yield await _receive_files(request, receiver)
        elif media_type == URLENCODED:
            yield ReceivedForm(folder, fields=await _receive_fields(request))
        else:
            raise ProblemError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "not_a_form",
                "Send a multipart/form-data body with images or archives as parts named 'files'.",
            )


@contextmanager
def _scratch(store: Store) -> Iterator[tuple[Path, ThreadPoolExecutor]]:
    """Yields a folder for the files and threads to validate them. The threads end before the folder is deleted."""
    with store.blobs.scratch() as folder:
        validator = ThreadPoolExecutor(store.decoders.processes, "validate")
        try:
            yield folder, validator
        finally:
            validator.shutdown(cancel_futures=True)


async def _receive_files(request: Request, receiver: _MultipartReceiver) -> ReceivedForm:
    try:
        batch, size = [], 0
        async for chunk in request.stream():
            batch.append(chunk)
            size += len(chunk)
            if size >= BATCH_BYTES or len(batch) >= MAX_BATCH_CHUNKS:
                await to_thread.run_sync(receiver.feed, b"".join(batch))
                batch, size = [], 0
        await to_thread.run_sync(receiver.feed, b"".join(batch))
        return receiver.finish()
    except MultipartParseError as error:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "broken_form", f"The multipart body is invalid ({error}). Send it again."
        ) from error
    finally:
        receiver.close()


async def _receive_fields(request: Request) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FIELD_BYTES:
            raise _field_too_large()
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _field_too_large() -> ProblemError:
    return _too_large(
        "field_too_large",
        f"A form field exceeds {MAX_FIELD_BYTES:,} bytes. Send files as parts that have a filename.",
    )


def _too_large(code: str, detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, code, detail)


class _MultipartReceiver:
    """Turns the parser's events into a `ReceivedForm`."""

    def __init__(
        self,
        boundary: bytes,
        form: ReceivedForm,
        settings: Settings,
        decoders: DecoderPool,
        validator: ThreadPoolExecutor,
    ):
        self.form = form
        self.settings = settings
        self.ended = False
        self.decoders = decoders
        self.validator = validator
        self.header_name, self.header_value, self.header_bytes = b"", b"", 0
        self.disposition = b""
        self.field_name, self.file_name = "", None  # type: str, str | None
        self.value = bytearray()
        self.file: BinaryIO | None = None
        self.head, self.file_bytes, self.keep_bytes = b"", 0, 0
        self.hash = hashlib.sha256()
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_name,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> None:
        self.parser.write(data)

    def finish(self) -> ReceivedForm:
        if not self.ended:
            raise MultipartParseError("it ends before its closing boundary")
        return self.form

    def close(self) -> None:
        if self.file:
            self.file.close()

    def _begin_part(self) -> None:
        self.disposition, self.header_bytes = b"", 0
        self.value.clear()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self.header_name += data[start:end]
        self._count_header(end - start)

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self.header_value += data[start:end]
        self._count_header(end - start)

    def _count_header(self, size: int) -> None:
        self.header_bytes += size
        if self.header_bytes > MAX_HEADER_BYTES:
            raise MultipartParseError("the headers of a part are too long")

    def _end_header(self) -> None:
        if self.header_name.lower() == b"content-disposition":
            self.disposition = self.header_value
        self.header_name = self.header_value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self.disposition)
        self.field_name = options.get(b"name", b"").decode("utf-8", "replace")
        name = options.get(b"filename")
        self.file_name = None if name is None else display_name(name.decode("utf-8", "replace"))
        if self.file_name is None:
            if len(self.form.fields) >= MAX_FIELDS:
                raise _too_large("too_many_fields", f"The form has more than {MAX_FIELDS} fields besides its files.")
            return
        if len(self.form.files) >= self.settings.max_files:
            raise too_many_files(self.settings.max_files)
        self.hash = hashlib.sha256()
        self.head, self.file_bytes, self.keep_bytes = b"", 0, self.settings.max_file_bytes + 1
        self.file = (self.form.folder / f"part-{len(self.form.files)}").open("wb")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self.file:
            chunk = memoryview(data)[start:end]
            self.head += chunk[: HEAD_BYTES - len(self.head)]
            before, self.file_bytes = self.file_bytes, self.file_bytes + len(chunk)
            if before <= self.keep_bytes < self.file_bytes and find_opener(self.head, self.file_name or ""):
                self.keep_bytes = self.settings.max_upload_bytes
            self.hash.update(chunk)
            self.file.write(chunk[: max(0, self.keep_bytes - before)])  # one byte over the limit proves it too large
        else:
            self.value += data[start:end]
            if len(self.value) > MAX_FIELD_BYTES:
                raise _field_too_large()

    def _end_part(self) -> None:
        if self.file:
            path = Path(self.file.name)
            self.file.close()
            self.file = None
            name = self.file_name or "unnamed"
            self.form.files.append(ReceivedFile(name, path, self.hash.hexdigest(), self._start_validation(path)))
        else:
            self.form.fields[self.field_name] = self.value.decode("utf-8", "replace")

    def _start_validation(self, path: Path) -> Future[ImageCheck] | None:
        if self.file_bytes > self.settings.max_file_bytes or find_opener(self.head, self.file_name or ""):
            return None
        return self.validator.submit(self.decoders.check, path)

    def _end(self) -> None:
        self.ended = True
