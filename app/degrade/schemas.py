"""The form of a degrade request."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.jobs.schemas import ArchiveFormat
from app.uploads.documentation import form_body


class DegradeIn(BaseModel):
    """The fields beside the files."""

    model_config = ConfigDict(extra="forbid")

    samples: int = Field(1, ge=1, description="Degradations drawn for each image.")
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed gives the same bytes.")
    model: str | None = Field(None, description="Id of a model. Unset: the dataset's latest.")
    format: ArchiveFormat = Field(ArchiveFormat.zip, description="Form of the archive unless its call names another.")
    source: str | None = Field(None, description="Id of a dataset whose HR images are degraded, instead of files.")


DEGRADE_BODY = form_body(
    [],
    samples={"type": "integer", "minimum": 1, "default": 1, "example": 4},
    seed={"type": "integer", "minimum": 0, "default": 0, "example": 7},
    model={"type": "string", "description": "Id of a model. Unset: the dataset's latest."},
    format={"type": "string", "enum": [form.value for form in ArchiveFormat], "default": "zip", "example": "zip"},
    source={"type": "string", "description": "Id of a dataset whose HR images are degraded, instead of files."},
)
