"""The form of a super-resolution request."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.archives.schemas import ArchiveFormat
from app.http.schemas import Id
from app.ingest.documentation import form_body


class SrRequest(BaseModel):
    """The fields beside the files."""

    model_config = ConfigDict(extra="forbid")

    dataset: Id | None = Field(None, description="Id of a dataset; its latest model is used.")
    model: Id | None = Field(None, description="Id of a model, instead of a dataset.")
    tile: int | None = Field(
        None, ge=16, le=4096, description="Side of a tile in low-resolution pixels. Unset: what memory allows."
    )
    format: ArchiveFormat = Field(ArchiveFormat.zip, description="Form of the archive unless its call names another.")


SR_BODY = form_body(
    ["files"],
    SrRequest,
    dataset={"type": "string"},
    model={"type": "string"},
    tile={"type": "integer", "minimum": 16, "maximum": 4096},
    format={"type": "string", "enum": [form.value for form in ArchiveFormat], "default": "zip", "example": "zip"},
)
