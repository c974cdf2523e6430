"""Validates the fields of a streamed form like a JSON body."""

from __future__ import annotations

from typing import TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound=BaseModel)


def parse_fields(schema: type[Schema], fields: dict[str, str]) -> Schema:
    """Treats empty fields as absent, because browsers send them. Raises FastAPI's `RequestValidationError`."""
    try:
        return schema.model_validate({name: value for name, value in fields.items() if value != ""})
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        raise RequestValidationError([{**detail, "loc": ("body", *detail["loc"])} for detail in details]) from error
