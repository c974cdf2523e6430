"""The protocol tus 1.0 (https://tus.io/protocols/resumable-upload): its headers, and what of them cannot be."""

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
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from app.http.problems import ProblemError
from config.settings import Settings
from store.db.tables import Upload

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination"
PART = "application/offset+octet-stream"
METADATA = re.compile(r"[!-+\--~]+( [A-Za-z0-9+/]*=*)?(,\s*[!-+\--~]+( [A-Za-z0-9+/]*=*)?)*|")
NAMES = ("filename", "name")  # tusd's documentation has the first, some clients send the second
Answer = Callable[[Request], Coroutine[Any, Any, Response]]

Resumable = Annotated[str, Header(alias="Tus-Resumable", pattern=re.escape(VERSION), examples=[VERSION])]
Length = Annotated[int, Header(alias="Upload-Length", ge=0, lt=2**63, description="Bytes of the whole file.")]
Offset = Annotated[int, Header(alias="Upload-Offset", ge=0, lt=2**63, description="Where in the file the body begins.")]
Metadata = Annotated[
    str,
    Header(
        alias="Upload-Metadata",
        max_length=4096,
        description="`filename` and its Base64, by which answers name the file.",
        examples=["filename cGhvdG9zLnppcA=="],
    ),
]

Override = Annotated[Literal["PATCH", "DELETE"], Header(alias="X-HTTP-Method-Override")]


class TusRoute(APIRoute):
    """Every answer says which version is spoken here, and a request that speaks another is refused with 412."""

    def get_route_handler(self) -> Answer:
        answer = super().get_route_handler()

        async def answer_tus(request: Request) -> Response:
            _require_version(request)
            return await answer(request)

        return answer_tus

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
            "other_tus_version",
            f"Send 'Tus-Resumable: {VERSION}'; no other version of the protocol is spoken here.",
            headers={"Tus-Version": VERSION},
        )


def abilities(settings: Settings) -> dict[str, str]:
    return {"Tus-Version": VERSION, "Tus-Extension": EXTENSIONS, "Tus-Max-Size": str(settings.max_upload_bytes)}


def file_name(metadata: str) -> str:
    """What the client calls its file. Raises `ProblemError` where that cannot be read."""
    if not METADATA.fullmatch(metadata):
        raise _bad_metadata("its form is 'key Base64,key Base64'")
    pairs = dict(pair.strip().partition(" ")[::2] for pair in metadata.split(",") if pair)
    coded = next((pairs[name] for name in NAMES if name in pairs), "")
    try:
        return base64.b64decode(coded, validate=True).decode("utf-8", "replace") or "unnamed"
    except ValueError as error:
        raise _bad_metadata(str(error)) from error


def _bad_metadata(why: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, "bad_metadata", f"The header Upload-Metadata cannot be read: {why}.")


def expiry(upload: Upload) -> dict[str, str]:
    return {"Upload-Expires": format_datetime(datetime.fromtimestamp(upload.expires, UTC), usegmt=True)}


def require_part(request: Request) -> None:
    """Raises `ProblemError` (415) for a body that is no part of a file."""
    if request.headers.get("content-type") != PART:
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not_a_part", f"Send the file's bytes as Content-Type: {PART}."
        )
