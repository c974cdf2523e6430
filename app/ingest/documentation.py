"""OpenAPI descriptions of bodies that are streamed instead of parsed by FastAPI."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from app.ingest.options import DEPTH_SCHEMA, FRAMES_SCHEMA, ReadOptions

FILES = {
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "description": "PNG, JPEG, WebP, TIFF, BMP, GIF, HEIC, AVIF or JPEG 2000 images, or .zip and .tar archives of "
    "them.",
}


def form_body(required: list[str], form: type[BaseModel] = BaseModel, **properties: dict[str, Any]) -> dict[str, Any]:
    """Returns `openapi_extra` for a multipart form of `files` and other fields, with the descriptions of `form`."""
    fields = {name: {**field, "description": form.model_fields[name].description} for name, field in properties.items()}
    schema = {"type": "object", "properties": {"files": FILES, **fields}, "required": required}
    example = {name: field["example"] for name, field in fields.items() if "example" in field}
    content = {"schema": schema, "example": {"files": ["0001.png"], **example}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


FILES_BODY = form_body(["files"], ReadOptions, frames=FRAMES_SCHEMA, depth=DEPTH_SCHEMA)
