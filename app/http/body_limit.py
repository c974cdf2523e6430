"""Limits the size of request bodies. Bytes are counted as they arrive, and the body is never held in memory."""

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
from store.files.quota import StorageQuota

SCOPE_KEY = "patina.body"
READ_TIMEOUT_SECONDS = 30  # a silent connection is closed after this time, and its reserved space is released


@dataclass
class Body:
    """The limit of a request's body, its announced length, and how much has arrived, in bytes."""

    content_length: int
    limit: int
    too_large_error: Callable[[], ProblemError]
    quota: StorageQuota | None = None  # where the body will be stored
    received: int = 0
    reserved: int = 0
    complete: bool = False

    def count(self, size: int) -> None:
        """Raises `ProblemError` if the body is, or is announced to be, too large or larger than the free storage."""
        self.received += size
        expected = max(self.received, self.content_length)
        if expected > self.limit:
            raise self.too_large_error()
        if self.quota and expected > self.reserved:
            if not self.quota.reserve(expected - self.reserved):
                raise storage_full(self.quota)
            self.reserved = expected

    def close(self) -> None:
        if self.quota:
            self.quota.release(self.reserved)


class BodyLimit:
    """ASGI middleware. A body may be as large as a JSON body, unless its endpoint calls `allow_upload`."""

    def __init__(self, app: ASGIApp, settings: Settings):
        self.app = app
        self.settings = settings
        self.too_large_error = partial(_too_large, "body_too_large", settings.max_json_bytes, "PATINA_MAX_JSON_BYTES")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = Body(_content_length(Request(scope)), self.settings.max_json_bytes, self.too_large_error)
        scope[SCOPE_KEY] = body

        async def receive_counted() -> Message:
            body.count(0)  # checks the announced length now, after the endpoint has set its limit
            try:
                with fail_after(None if body.complete else READ_TIMEOUT_SECONDS):
                    message = await receive()
            except TimeoutError:
                raise ProblemError(
                    HTTPStatus.REQUEST_TIMEOUT,
                    "read_timeout",
                    f"Request body timed out after {READ_TIMEOUT_SECONDS} s. Send it again; a resumable upload "
                    "continues where it stopped.",
                ) from None
            body.count(len(message.get("body", b"")))
            body.complete = not message.get("more_body", False)  # the only later message is the disconnect
            return message

        try:
            await self.app(scope, receive_counted, send)
        finally:
            body.close()


def allow_upload(request: Request, quota: StorageQuota, settings: Settings) -> None:
    """Raises the limit for an endpoint that streams its body to disk."""
    body: Body = request.scope[SCOPE_KEY]
    body.limit = settings.max_upload_bytes
    body.too_large_error = partial(_too_large, "upload_too_large", body.limit, "PATINA_MAX_UPLOAD_BYTES")
    quota.available()  # may measure the disk, which blocks nobody in this thread
    body.quota = quota


def storage_full(quota: StorageQuota) -> ProblemError:
    """Returns the error for a request that `quota` has no space for. It names the setting that limits."""
    if quota.disk_is_limit():
        detail = "Disk nearly full; PATINA_MIN_FREE_BYTES must stay free. Free space, or lower that setting."
    else:
        detail = "Storage quota exceeded. Delete datasets that you no longer need, or raise PATINA_MAX_STORAGE_BYTES."
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "storage_full", detail)


def _too_large(code: str, limit: int, setting: str) -> ProblemError:
    detail = f"The request body exceeds {limit:,} bytes. Send less at a time, or raise {setting}."
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, code, detail)


def _content_length(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdecimal() else 0
