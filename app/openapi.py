"""The OpenAPI document: the framework's, with every error described as the problem detail that it is."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.problems import MEDIA_TYPE, ProblemDetails

SCHEMA = ProblemDetails.__name__


def document_problems(app: FastAPI) -> None:
    """Makes `app` describe its errors as they are; the framework would describe its own forms instead."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = document["components"]["schemas"]
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            schemas[SCHEMA] = ProblemDetails.model_json_schema()
            for calls in document["paths"].values():
                for call in calls.values():
                    for status, answer in call["responses"].items():
                        if int(status) >= 400:
                            answer["content"] = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{SCHEMA}"}}}
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way of extending it
