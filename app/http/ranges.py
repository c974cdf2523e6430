"""Byte ranges of responses (RFC 9110), for clients that resume a download."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from app.http.problems import ProblemError, problem_responses
from store.files.blobs import Blobs
from store.files.stored_file import StoredFile

REDIRECT_SECONDS = 3600.0
ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)
Redirect = Annotated[
    bool,
    Query(
        description="Redirect to the bucket with the files, if the service has one. The URL works for an hour without "
        "a token; the file is then named by its SHA-256."
    ),
]
# Responses, other than 200, of an endpoint whose file may be requested in part.
RANGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    int(HTTPStatus.PARTIAL_CONTENT): {"description": "With `Range: bytes=N-M`: these bytes of the file."},
    int(HTTPStatus.TEMPORARY_REDIRECT): {"description": "With `redirect=true`: the file is at `Location`."},
    int(HTTPStatus.NOT_MODIFIED): {"description": "With `If-None-Match`: the client has this file already."},
    **problem_responses(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
}


@dataclass(frozen=True)
class ByteRange:
    """The bytes from `start` to before `stop` of a file of `size` bytes."""

    start: int
    stop: int
    size: int

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Content-Range": f"bytes {self.start}-{self.stop - 1}/{self.size}",
            "Content-Length": str(self.stop - self.start),
        }


def wants_range(headers: Mapping[str, str], etag: str) -> bool:
    """Tells whether a request asks for a part of the entity with this tag, in a form that is answered."""
    match = ONE_RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    return match is not None and any(match.groups()) and headers.get("if-range", etag) == etag


def select_range(headers: Mapping[str, str], size: int, etag: str) -> ByteRange | None:
    """Returns the range that a request asks for; None for the whole file, also if it asks for several ranges.

    Raises `ProblemError` (416) if the file has no such bytes.
    """
    if not wants_range(headers, etag):
        return None
    first, last = headers["range"].replace(" ", "").lower().removeprefix("bytes=").split("-")
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        raise ProblemError(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            "range_not_satisfiable",
            f"The file has {size} bytes; the request asks for bytes after its end.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return ByteRange(start, stop, size)


def respond_with_file(
    request_headers: Mapping[str, str],
    blobs: Blobs,
    file: StoredFile,
    *,
    media_type: str,
    name: str,
    redirect: bool = False,
    check_parts: bool = True,
) -> Response:
    """Returns a response with a stored file, or with the part of it that was asked for.

    With `redirect` it leads to the bucket that has the file, unless that is a part of a blob. Raises `BlobMissing`, and
    `BlobCorrupt` for a part, unless `check_parts` is False, which saves reading the whole file; a whole file that is
    corrupt breaks off before its end.
    """
    if redirect and file.part is None and (url := blobs.signed_url(file.sha256, REDIRECT_SECONDS)):
        return RedirectResponse(url, HTTPStatus.TEMPORARY_REDIRECT, {"Cache-Control": "no-store"})
    etag = file.etag
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Disposition": f'attachment; filename="{name}"'}
    size = blobs.size(file.sha256)
    size = size if file.part is None else file.part.size
    byte_range = select_range(request_headers, size, etag)
    if byte_range is None:
        headers["Content-Length"] = str(size)
        return StreamingResponse(file.iter_chunks(blobs), media_type=media_type, headers=headers)
    start, stop = byte_range.start, byte_range.stop
    content = file.iter_range(blobs, start, stop) if check_parts else blobs.iter_part(file.sha256, start, stop - start)
    return StreamingResponse(content, HTTPStatus.PARTIAL_CONTENT, headers | byte_range.headers, media_type=media_type)
