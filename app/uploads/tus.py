"""The protocol tus 1.0 (https://tus.io/protocols/resumable-upload): its headers and their errors."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Header, Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from app.http.problems import ProblemError
from app.ingest.options import ReadOptions
from config.settings import Settings
from store.db.tables import Upload

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination"
PART = "application/offset+octet-stream"
METADATA = re.compile(r"[!-+\--~]+( [A-Za-z0-9+/]*=*)?(,\s*[!-+\--~]+( [A-Za-z0-9+/]*=*)?)*|")
NAME_KEYS = ("filename", "name")  # tusd documents the first; some clients send the second
OPTION_KEYS = tuple(ReadOptions.model_fields)
PART_BODY = {
    "requestBody": {
        "required": True,
        "content": {PART: {"schema": {"type": "string", "format": "binary"}, "example": "the file's bytes"}},
    }
}
Handler = Callable[[Request], Coroutine[Any, Any, Response]]

Resumable = Annotated[str, Header(alias="Tus-Resumable", pattern=re.escape(VERSION), examples=[VERSION])]
Length = Annotated[int, Header(alias="Upload-Length", ge=0, lt=2**63, description="Size of the file in bytes.")]
Offset = Annotated[
    int, Header(alias="Upload-Offset", ge=0, lt=2**63, description="Offset in the file where the body starts.")
]
Metadata = Annotated[
    str,
    Header(
        alias="Upload-Metadata",
        max_length=4096,
        description="`filename` and its Base64; responses use it as the file's name. Also `frames` and `depth`, as in "
        "`POST /datasets/{id}/images`, and of a part of inputs its `digest`.",
        examples=["filename cGhvdG9zLnppcA=="],
    ),
]

Override = Annotated[Literal["PATCH", "DELETE"], Header(alias="X-HTTP-Method-Override")]


class TusRoute(APIRoute):
    """Adds the protocol's version to every response, and rejects requests of another version with 412."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()

        async def handle_tus(request: Request) -> Response:
            _require_version(request)
            return await handle(request)

        return handle_tus

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_tus(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Tus-Resumable"] = VERSION
            await send(message)

        await super().handle(scope, receive, send_tus)


def _require_version(request: Request) -> None:
    if request.method != "OPTIONS" and request.headers.get("tus-resumable") != VERSION:
        raise ProblemError(
            HTTPStatus.PRECONDITION_FAILED,
            "unsupported_tus_version",
            f"Only tus {VERSION} is supported. Send 'Tus-Resumable: {VERSION}'.",
            headers={"Tus-Version": VERSION},
        )


def tus_headers(settings: Settings) -> dict[str, str]:
    return {"Tus-Version": VERSION, "Tus-Extension": EXTENSIONS, "Tus-Max-Size": str(settings.max_upload_bytes)}


def parse_file_name(metadata: str) -> str:
    """Returns the client's name for its file. Raises `ProblemError` (400) if the metadata is invalid."""
    pairs = _parse_metadata(metadata)
    return next((pairs[key] for key in NAME_KEYS if key in pairs), "") or "unnamed"


def parse_options(metadata: str) -> ReadOptions:
    """Returns how the client wants its images to be read. Raises `ProblemError` (400) if the metadata is invalid."""
    pairs = _parse_metadata(metadata)
    try:
        return ReadOptions.model_validate({key: pairs[key] for key in OPTION_KEYS if key in pairs})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _bad_metadata(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def parse_digest(metadata: str) -> str | None:
    """Returns what identifies the content of a part of inputs. Raises `ProblemError` (400) as above."""
    return _parse_metadata(metadata).get("digest") or None


def _parse_metadata(metadata: str) -> dict[str, str]:
    if not METADATA.fullmatch(metadata):
        raise _bad_metadata("expected 'key Base64,key Base64'")
    pairs = dict(pair.strip().partition(" ")[::2] for pair in metadata.split(",") if pair)
    try:
        return {key: base64.b64decode(text, validate=True).decode("utf-8", "replace") for key, text in pairs.items()}
    except ValueError as error:
        raise _bad_metadata(str(error)) from error


def _bad_metadata(reason: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, "bad_metadata", f"The header Upload-Metadata is invalid: {reason}.")


def expiry_headers(upload: Upload) -> dict[str, str]:
    return {"Upload-Expires": format_datetime(datetime.fromtimestamp(upload.expires_at, UTC), usegmt=True)}


def require_part(request: Request) -> None:
    """Raises `ProblemError` (415) if the body is not a part of a file."""
    if request.headers.get("content-type") != PART:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not_a_part", f"Send the file's bytes as Content-Type: {PART}."
        )
