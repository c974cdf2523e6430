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
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.http.headers import HEADERS
from store.errors import BlobCorrupt, BlobMissing, DatabaseUnavailable, QueueUnavailable, StorageUnavailable

MEDIA_TYPE = "application/problem+json"
DATABASE_RETRY_SECONDS = 2  # Retry-After while the database is unavailable

log = structlog.get_logger()


class ProblemDetails(BaseModel):
    """The body of every error response. Some have extra members, such as `rejected`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "type": "urn:patina:problem:no_model",
                "title": "Conflict",
                "status": 409,
                "code": "no_model",
                "detail": "No model has been trained for this dataset. Train one: POST /datasets/{id}/train.",
            }
        },
    )

    type: str
    title: str
    status: int
    code: str = Field(description="Stable; for programs to branch on.")
    detail: str = Field(description="What happened and what to do, for people.")


class ProblemError(HTTPException):
    """Ends a request with problem details. FastAPI lets only an `HTTPException` pass while it reads a body."""

    def __init__(
        self, status: HTTPStatus, code: str, detail: str, *, headers: dict[str, str] | None = None, **extra: Any
    ):
        super().__init__(status, detail, headers)
        self.status = status
        self.code = code
        self.extra = extra

    @classmethod
    def from_details(cls, details: dict[str, Any]) -> ProblemError:
        """Rebuilds the error from its `details`."""
        extra = {name: value for name, value in details.items() if name not in ProblemDetails.model_fields}
        return cls(HTTPStatus(details["status"]), details["code"], details["detail"], **extra)

    @property
    def details(self) -> dict[str, Any]:
        return problem_details(self.status, self.code, self.detail, **self.extra)

    def to_response(self) -> JSONResponse:
        return problem_response(self.status, self.code, self.detail, headers=self.headers, **self.extra)


def not_found(noun: str, record_id: str) -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, f"{noun}_not_found", f"There is no {noun} {record_id!r}.")


def problem_responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Returns `responses` of an endpoint for these errors; `app.documentation.openapi` adds their schema."""
    return {int(status): {"description": status.phrase} for status in statuses}


def install_problem_handlers(app: FastAPI) -> None:
    """Makes every error of `app`, ours and the framework's, a problem detail."""

    @app.exception_handler(ProblemError)
    async def problem_error(_: Request, error: ProblemError) -> JSONResponse:
        return error.to_response()

    @app.exception_handler(RequestValidationError)
    async def validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"at": ".".join(str(part) for part in found["loc"]), "message": found["msg"]} for found in error.errors()
        ]
        if any(found["type"] == "json_invalid" for found in error.errors()):
            return problem_response(HTTPStatus.BAD_REQUEST, "not_json", "The body is not valid JSON.", errors=errors)
        detail = "; ".join(f"{found['at']}: {found['message']}" for found in errors)
        return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail, errors=errors)

    @app.exception_handler(HTTPException)
    async def framework_error(_: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        code = status.phrase.lower().replace(" ", "_")
        return problem_response(status, code, str(error.detail), headers=error.headers)

    @app.exception_handler(OSError)
    async def os_error(_: Request, error: OSError) -> JSONResponse:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        return problem_response(HTTPStatus.INSUFFICIENT_STORAGE, "disk_full", "Disk full. Free space and retry.")

    @app.exception_handler(ClientDisconnect)
    async def client_disconnected(_: Request, error: ClientDisconnect) -> JSONResponse:
        return problem_response(HTTPStatus.BAD_REQUEST, "client_disconnected", "The client closed the connection.")

    @app.exception_handler(DatabaseUnavailable)
    async def database_unavailable(_: Request, error: DatabaseUnavailable) -> JSONResponse:
        log.warning("database unavailable", error=str(error))
        return problem_response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "database_unavailable",
            "Database unavailable; the request was not applied. Retry later.",
            headers={"Retry-After": str(DATABASE_RETRY_SECONDS)},
        )

    @app.exception_handler(QueueUnavailable)
    async def queue_unavailable(_: Request, error: QueueUnavailable) -> JSONResponse:
        log.warning("queue unavailable", error=str(error))
        return problem_response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "queue_unavailable",
            "Queue unavailable. Retry later; jobs are accepted all the same.",
            headers={"Retry-After": str(DATABASE_RETRY_SECONDS)},
        )

    @app.exception_handler(StorageUnavailable)
    async def storage_unavailable(_: Request, error: StorageUnavailable) -> JSONResponse:
        log.warning("storage unavailable", error=str(error))
        return problem_response(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "storage_unavailable",
            "Storage unavailable; the request was not applied. Retry later.",
            headers={"Retry-After": str(DATABASE_RETRY_SECONDS)},
        )

    @app.exception_handler(BlobCorrupt)
    async def blob_corrupt(_: Request, error: BlobCorrupt) -> JSONResponse:
        log.error("blob corrupt", error=str(error))
        return problem_response(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "blob_corrupt",
            "The file was changed on disk, so it is not served. Run `patina doctor` to repair it.",
        )

    @app.exception_handler(BlobMissing)
    async def blob_missing(_: Request, error: BlobMissing) -> JSONResponse:
        log.error("blob missing", error=str(error))
        return problem_response(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "blob_missing",
            "The file is missing from disk. Run `patina doctor` to repair it.",
        )

    @app.exception_handler(Exception)
    async def internal_error(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
        return problem_response(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "internal_error",
            "Internal error; the request is not at fault. The service's log has the details.",
            headers=HEADERS,  # Starlette sends this response outside of all middleware
        )


def problem_response(status: HTTPStatus, code: str, detail: str, *, headers: Any = None, **extra: Any) -> JSONResponse:
    """Builds the response of a problem; `extra` are additional members."""
    return _ProblemResponse(problem_details(status, code, detail, **extra), status, headers=headers)


def problem_details(status: HTTPStatus, code: str, detail: str, **extra: Any) -> dict[str, Any]:
    body = {"type": f"urn:patina:problem:{code}", "title": status.phrase, "status": int(status), "code": code}
    return {**body, "detail": detail, **extra}


class _ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        # The detail may repeat text of the request, including lone surrogates, which UTF-8 cannot encode.
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
