"""The OpenAPI document: the framework's, with the door described, and every error as the problem detail that it is."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.auth.middleware import is_open
from app.http.problems import MEDIA_TYPE, ProblemDetails
from config.settings import Settings

SCHEMA = ProblemDetails.__name__
SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token that `patina token create` made. With scope `read` it may look at its own and shared "
    "datasets, jobs and models; with `submit` also make and change its own; with `admin` all of everybody's.",
}


def extend_document(app: FastAPI, settings: Settings) -> None:
    """Makes `app` describe its door and its errors as they are; the framework would describe its own forms instead."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            _add_security(document, settings)
            _add_problem_responses(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way of extending it


def _add_security(document: dict[str, Any], settings: Settings) -> None:
    document["components"]["securitySchemes"] = {"token": SCHEME}
    optional: list[dict[str, Any]] = [] if settings.tokens_needed else [{}]
    for path, calls in document["paths"].items():
        answers = {HTTPStatus.TOO_MANY_REQUESTS} if settings.tokens_needed else {HTTPStatus.MISDIRECTED_REQUEST}
        if not is_open(path):
            answers |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
        for call in calls.values():
            if not is_open(path):
                call["security"] = [*optional, {"token": []}]
            for status in answers:
                call["responses"].setdefault(str(int(status)), {"description": status.phrase})


def _add_problem_responses(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas[SCHEMA] = ProblemDetails.model_json_schema()
    for calls in document["paths"].values():
        for call in calls.values():
            if "requestBody" in call:
                for said in (
                    HTTPStatus.BAD_REQUEST,
                    HTTPStatus.REQUEST_TIMEOUT,
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                ):
                    call["responses"].setdefault(str(int(said)), {"description": said.phrase})
            for status, answer in call["responses"].items():
                if int(status) >= 400:
                    answer["content"] = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{SCHEMA}"}}}
