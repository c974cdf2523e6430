"""Errors as problem details (RFC 9457) with a stable `code`."""

from __future__ import annotations

import errno
import json
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.http.headers import HEADERS
from store.files.blobs import BlobDamagedError, BlobLostError

MEDIA_TYPE = "application/problem+json"
DATABASE_AWAY_SECONDS = 2  # after which a client may ask again

log = structlog.get_logger()


class ProblemDetails(BaseModel):
    """What every error answers; some add members of their own, such as `rejected`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "urn:patina:problem:no_model",
                "title": "Conflict",
                "status": 409,
                "code": "no_model",
                "detail": "Nothing has been trained for this dataset yet. Train it first: POST /datasets/{id}/train.",
            }
        },
    )

    type: str
    title: str
    status: int
    code: str = Field(description="Stable; for programs to branch on.")
    detail: str = Field(description="What is wrong and what to do, for people.")


class ProblemError(HTTPException):
    """Ends a request with problem details. The framework lets its own kind of error, and no other, out of a body."""

    def __init__(
        self, status: HTTPStatus, code: str, detail: str, *, headers: dict[str, str] | None = None, **more: Any
    ):
        super().__init__(status, detail, headers)
        self.status = status
        self.code = code
        self.more = more

    @classmethod
    def again(cls, details: dict[str, Any]) -> ProblemError:
        """The error that had these `details`."""
        more = {name: value for name, value in details.items() if name not in ProblemDetails.model_fields}
        return cls(HTTPStatus(details["status"]), details["code"], details["detail"], **more)

    @property
    def details(self) -> dict[str, Any]:
        return problem_details(self.status, self.code, self.detail, **self.more)

    def answer(self) -> JSONResponse:
        return problem_response(self.status, self.code, self.detail, headers=self.headers, **self.more)


def not_found(what: str, record_id: str) -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, f"{what}_not_found", f"There is no {what} {record_id!r}.")


def problem_responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """For the `responses` of an endpoint: which errors it answers; `app.documentation.openapi` adds their form."""
    return {int(status): {"description": status.phrase} for status in statuses}


def install_problem_handlers(app: FastAPI) -> None:
    """Makes every error of `app`, our own and the framework's, a problem detail."""

    @app.exception_handler(ProblemError)
    async def ours(_: Request, error: ProblemError) -> JSONResponse:
        return error.answer()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"at": ".".join(str(part) for part in found["loc"]), "message": found["msg"]} for found in error.errors()
        ]
        if any(found["type"] == "json_invalid" for found in error.errors()):
            return problem_response(HTTPStatus.BAD_REQUEST, "not_json", "The body is not valid JSON.", errors=errors)
        detail = "; ".join(f"{found['at']}: {found['message']}" for found in errors)
        return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail, errors=errors)

    @app.exception_handler(HTTPException)
    async def frameworks(_: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        code = status.phrase.lower().replace(" ", "_")
        return problem_response(status, code, str(error.detail), headers=error.headers)

    @app.exception_handler(OSError)
    async def of_the_system(_: Request, error: OSError) -> JSONResponse:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        return problem_response(
            HTTPStatus.INSUFFICIENT_STORAGE, "disk_full", "The service's disk is full. Make room, then send this again."
        )

    @app.exception_handler(ClientDisconnect)
    async def of_a_client_that_left(_: Request, error: ClientDisconnect) -> JSONResponse:
        return problem_response(HTTPStatus.BAD_REQUEST, "hung_up", "The request broke off.")  # read by nobody

    @app.exception_handler(OperationalError)
    async def of_the_database(_: Request, error: OperationalError) -> JSONResponse:
        log.warning("database away", error=str(error.orig))
        return problem_response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "database_away",
            "The database is busy, full or not there; nothing of this was kept. Send it again in a while.",
            headers={"Retry-After": str(DATABASE_AWAY_SECONDS)},
        )

    @app.exception_handler(BlobDamagedError)
    async def of_the_blobs(_: Request, error: BlobDamagedError) -> JSONResponse:
        log.error("blob damaged", error=str(error))
        return problem_response(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "blob_damaged",
            "The file has changed on disk and is not handed out. `patina doctor` says how to mend it.",
        )

    @app.exception_handler(BlobLostError)
    async def of_lost_blobs(_: Request, error: BlobLostError) -> JSONResponse:
        log.error("blob lost", error=str(error))
        return problem_response(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "blob_lost",
            "The file is gone from disk. `patina doctor` says how to mend it.",
        )

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
        return problem_response(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "internal_error",
            "Something went wrong that is not your request's fault; the service's log says what.",
            headers=HEADERS,  # the framework makes this answer outside of all middleware
        )


def problem_response(status: HTTPStatus, code: str, detail: str, *, headers: Any = None, **more: Any) -> JSONResponse:
    """A problem detail; `more` are members of its own."""
    return _ProblemResponse(problem_details(status, code, detail, **more), status, headers=headers)


def problem_details(status: HTTPStatus, code: str, detail: str, **more: Any) -> dict[str, Any]:
    body = {"type": f"urn:patina:problem:{code}", "title": status.phrase, "status": int(status), "code": code}
    return {**body, "detail": detail, **more}


class _ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        # What a request says may be repeated here, halves of characters too, which no encoding has.
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
