"""Errors as problem details (RFC 9457) with a stable `code`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"

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


class ProblemError(Exception):
    """Ends a request with problem details."""

    def __init__(self, status: HTTPStatus, code: str, detail: str, **more: Any):
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.more = more


def not_found(what: str, record_id: str) -> ProblemError:
    return ProblemError(HTTPStatus.NOT_FOUND, f"{what}_not_found", f"There is no {what} {record_id!r}.")


def problem_responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """For the `responses` of an endpoint: which errors it answers; `app.openapi` adds their form."""
    return {int(status): {"description": status.phrase} for status in statuses}


def install_problem_handlers(app: FastAPI) -> None:
    """Makes every error of `app`, our own and the framework's, a problem detail."""

    @app.exception_handler(ProblemError)
    async def ours(_: Request, error: ProblemError) -> JSONResponse:
        return _answer(error.status, error.code, error.detail, **error.more)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"at": ".".join(str(part) for part in found["loc"]), "message": found["msg"]} for found in error.errors()
        ]
        if any(found["type"] == "json_invalid" for found in error.errors()):
            return _answer(HTTPStatus.BAD_REQUEST, "not_json", "The body is not valid JSON.", errors=errors)
        detail = "; ".join(f"{found['at']}: {found['message']}" for found in errors)
        return _answer(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail, errors=errors)

    @app.exception_handler(HTTPException)
    async def frameworks(_: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        code = status.phrase.lower().replace(" ", "_")
        return _answer(status, code, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
        return _answer(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "internal_error",
            "Something went wrong that is not your request's fault; the service's log says what.",
        )


def _answer(status: HTTPStatus, code: str, detail: str, *, headers: Any = None, **more: Any) -> JSONResponse:
    body = {"type": f"urn:patina:problem:{code}", "title": status.phrase, "status": int(status), "code": code}
    return JSONResponse({**body, "detail": detail, **more}, status, headers=headers, media_type=MEDIA_TYPE)
