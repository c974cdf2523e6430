"""How large a request's body may be: counted as it comes, whatever its head says, and never held to be counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from anyio import fail_after
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problems import ProblemError
from config.settings import Settings
from store.files.capacity import Room

SCOPE_KEY = "patina.body"
READ_TIMEOUT_SECONDS = 30  # after which a connection is given up: what its request holds is others' then


@dataclass
class Body:
    """What a request may send, what it said that it would, and how much of that has come."""

    announced: int
    most: int
    refusal: Callable[[], ProblemError]
    room: Room | None = None  # that it will be stored in
    received: int = 0
    claimed: int = 0
    ended: bool = False

    def count(self, size: int) -> None:
        """Raises `ProblemError` when it has become too much, or is announced to become so."""
        self.received += size
        expected = max(self.received, self.announced)
        if expected > self.most:
            raise self.refusal()
        if self.room and expected > self.claimed:
            if not self.room.claim(expected - self.claimed):
                raise storage_full()
            self.claimed = expected

    def end(self) -> None:
        if self.room:
            self.room.release(self.claimed)


class BodyLimit:
    """ASGI middleware: a body may be as large as JSON may, unless its endpoint calls `allow_upload`."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app = app
        self.settings = settings
        self.refusal = partial(_too_large, "body_too_large", settings.max_json_bytes, "PATINA_MAX_JSON_BYTES")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = scope[SCOPE_KEY] = Body(_announced(Request(scope)), self.settings.max_json_bytes, self.refusal)

        async def counted() -> Message:
            body.count(0)  # at the first byte and no sooner, for by now the endpoint has said what it allows
            try:
                with fail_after(None if body.ended else READ_TIMEOUT_SECONDS):
                    message = await receive()
            except TimeoutError:
                raise _silence() from None
            body.count(len(message.get("body", b"")))
            body.ended = not message.get("more_body", False)  # what comes then is that the client has gone
            return message

        try:
            await self.app(scope, counted, send)
        finally:
            body.end()


def allow_upload(request: Request, room: Room, settings: Settings) -> None:
    """For an endpoint that streams its body to disk."""
    body: Body = request.scope[SCOPE_KEY]
    body.most = settings.max_upload_bytes
    body.refusal = partial(_too_large, "upload_too_large", body.most, "PATINA_MAX_UPLOAD_BYTES")
    room.left()  # measures it, if need be, and here that holds nobody up
    body.room = room


def storage_full() -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "storage_full",
        "There is no room for this. Delete datasets that are no longer needed, or raise PATINA_MAX_STORAGE_BYTES or "
        "the disk's size.",
    )


def _too_large(code: str, limit: int, setting: str) -> ProblemError:
    message = f"The request has more than {limit:,} bytes. Send less at a time, or raise {setting}."
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, code, message)


def _silence() -> ProblemError:
    message = (
        f"Nothing more of the request came for {READ_TIMEOUT_SECONDS} seconds. Send it again; an upload that resumes goes on "
        "where it was."
    )
    return ProblemError(HTTPStatus.REQUEST_TIMEOUT, "silence", message)


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdecimal() else 0
