"""Receives a form: its files go straight from the wire to disk, hashed on the way, whatever their size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qsl

from anyio import to_thread
from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.problems import ProblemError

BATCH = 2**20  # bytes handed to the disk at a time: a thread's start is nothing beside writing so many
MAX_FIELD_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024
MULTIPART, URLENCODED = b"multipart/form-data", b"application/x-www-form-urlencoded"


@dataclass(frozen=True)
class ReceivedFile:
    """A file as the client named it, and where its bytes are now."""

    name: str
    path: Path
    sha256: str


@dataclass
class ReceivedForm:
    files: list[ReceivedFile] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


async def receive_form(request: Request, folder: Path, *, max_bytes: int) -> ReceivedForm:
    """Reads the body of a form, files into `folder`. Raises `ProblemError` for what is no form or too large."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind not in (MULTIPART, URLENCODED) or (kind == MULTIPART and b"boundary" not in options):
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "not_a_form",
            "Send a multipart/form-data body, with images or archives as parts named 'files'.",
        )
    if kind == URLENCODED:
        return await _receive_fields(request)

    form = _FormParser(options[b"boundary"], folder)
    try:
        waiting, received = bytearray(), 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > max_bytes:
                raise ProblemError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    "upload_too_large",
                    f"The request has more than {max_bytes:,} bytes. Send fewer files at a time, or raise "
                    "PATINA_MAX_UPLOAD_BYTES.",
                )
            waiting += chunk
            if len(waiting) >= BATCH:
                await to_thread.run_sync(form.feed, bytes(waiting))
                waiting.clear()
        await to_thread.run_sync(form.feed, bytes(waiting))
        return form.finish()
    except MultipartParseError as error:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST, "broken_form", f"The multipart body cannot be read ({error})."
        ) from error
    finally:
        form.close()


async def _receive_fields(request: Request) -> ReceivedForm:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FIELD_BYTES:
            raise _field_too_large()
    return ReceivedForm(fields=dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)))


def _field_too_large() -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "field_too_large",
        f"A form field has more than {MAX_FIELD_BYTES:,} bytes; files go into parts that have a filename.",
    )


class _FormParser:
    """Turns the parser's events into a `ReceivedForm`."""

    def __init__(self, boundary: bytes, folder: Path):
        self.form = ReceivedForm()
        self.folder = folder
        self.ended = False
        self.header_name, self.header_value, self.header_bytes = b"", b"", 0
        self.disposition = b""
        self.field_name, self.file_name = "", None  # type: str, str | None
        self.value = bytearray()
        self.file: BinaryIO | None = None
        self.hash = hashlib.sha256()
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._finished,
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

    def _begin(self) -> None:
        self.disposition, self.header_bytes = b"", 0
        self.value.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self.header_name += data[start:end]
        self._count_header(end - start)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self.header_value += data[start:end]
        self._count_header(end - start)

    def _count_header(self, size: int) -> None:
        self.header_bytes += size
        if self.header_bytes > MAX_HEADER_BYTES:
            raise MultipartParseError("a part's headers are too long")

    def _header_end(self) -> None:
        if self.header_name.lower() == b"content-disposition":
            self.disposition = self.header_value
        self.header_name = self.header_value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self.disposition)
        self.field_name = options.get(b"name", b"").decode("utf-8", "replace")
        name = options.get(b"filename")
        self.file_name = None if name is None else name.decode("utf-8", "replace")
        if self.file_name is not None:
            self.hash = hashlib.sha256()
            self.file = (self.folder / f"part-{len(self.form.files)}").open("wb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self.file:
            piece = memoryview(data)[start:end]
            self.hash.update(piece)
            self.file.write(piece)
        else:
            self.value += data[start:end]
            if len(self.value) > MAX_FIELD_BYTES:
                raise _field_too_large()

    def _end(self) -> None:
        if self.file:
            path = Path(self.file.name)
            self.file.close()
            self.file = None
            self.form.files.append(ReceivedFile(self.file_name or "unnamed", path, self.hash.hexdigest()))
        else:
            self.form.fields[self.field_name] = self.value.decode("utf-8", "replace")

    def _finished(self) -> None:
        self.ended = True
