"""The OpenAPI document: FastAPI's, plus authentication, with every error as a problem detail."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.auth.middleware import is_public
from app.http.problems import MEDIA_TYPE, ProblemDetails
from config.settings import Settings

PROBLEM_SCHEMA = ProblemDetails.__name__
BEARER_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token from `patina token create`. Scope `read` reads its own and shared datasets, jobs and "
    "models; `submit` also creates and changes its own; `admin` does everything with every record.",
}


def extend_document(app: FastAPI, settings: Settings) -> None:
    """Replaces the security and error descriptions of FastAPI's document with ours."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                servers=[{"url": settings.root_path}] if settings.root_path else None,
            )
            _add_security(document, settings)
            _add_problem_responses(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI documents this way of extending it


def _add_security(document: dict[str, Any], settings: Settings) -> None:
    document["components"]["securitySchemes"] = {"token": BEARER_SCHEME}
    optional: list[dict[str, Any]] = [] if settings.tokens_needed else [{}]
    for path, operations in document["paths"].items():
        statuses = {HTTPStatus.TOO_MANY_REQUESTS} if settings.tokens_needed else {HTTPStatus.MISDIRECTED_REQUEST}
        if not is_public(path):
            statuses |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        for operation in operations.values():
            if not is_public(path):
                operation["security"] = [*optional, {"token": []}]
            for status in statuses:
                operation["responses"].setdefault(str(int(status)), {"description": status.phrase})


def _add_problem_responses(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas[PROBLEM_SCHEMA] = ProblemDetails.model_json_schema()
    for operations in document["paths"].values():
        for operation in operations.values():
            if "requestBody" in operation:
                for error in (
                    HTTPStatus.BAD_REQUEST,
                    HTTPStatus.REQUEST_TIMEOUT,
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                ):
                    operation["responses"].setdefault(str(int(error)), {"description": error.phrase})
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    response["content"] = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{PROBLEM_SCHEMA}"}}}
