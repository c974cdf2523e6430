"""Super-resolution request schema."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.archives.schemas import ArchiveFormat
from app.http.schemas import Id
from app.ingest.documentation import form_body


class SrRequest(BaseModel):
    """The form fields besides the files."""

    model_config = ConfigDict(extra="forbid")

    dataset: Id | None = Field(None, description="Id of a dataset; its latest model is used.")
    model: Id | None = Field(None, description="Id of a model, instead of a dataset.")
    tile: int | None = Field(
        None, ge=16, le=4096, description="Side of a tile in low-resolution pixels. Default: chosen to fit the memory."
    )
    format: ArchiveFormat = Field(ArchiveFormat.zip, description="Default format of the job's archive.")


SR_BODY = form_body(
    ["files"],
    SrRequest,
    dataset={"type": "string"},
    model={"type": "string"},
    tile={"type": "integer", "minimum": 16, "maximum": 4096},
    format={"type": "string", "enum": [format.value for format in ArchiveFormat], "default": "zip", "example": "zip"},
)
