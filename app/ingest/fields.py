"""The fields of a form that was streamed, checked like a JSON body."""

from __future__ import annotations

from typing import TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

Form = TypeVar("Form", bound=BaseModel)


def parse_fields(form: type[Form], fields: dict[str, str]) -> Form:
    """An empty field counts as left out, as browsers send it so. Raises FastAPI's `RequestValidationError`."""
    try:
        return form.model_validate({name: value for name, value in fields.items() if value != ""})
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from error
