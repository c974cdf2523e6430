"""The form of a degrade request."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.archives.schemas import ArchiveFormat, Extra
from app.http.schemas import Id
from app.ingest.documentation import form_body
from store.degrade_options import LrFormat

QUALITIES = r"^\d{1,3}(-\d{1,3})?$"

T = TypeVar("T")
Quality = Annotated[int, Field(ge=1, le=100)]


def _parts(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _qualities(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.match(QUALITIES, value):
        raise ValueError("a quality is such as 75, a range such as 60-95")
    lowest, _, highest = value.partition("-")
    if int(highest or lowest) < int(lowest):
        raise ValueError("a range begins with its lower end")
    return lowest, highest or lowest


CommaSeparated = Annotated[list[T], BeforeValidator(_parts)]


class DegradeRequest(BaseModel):
    """The fields beside the files."""

    model_config = ConfigDict(extra="forbid")

    samples: int = Field(1, ge=1, description="Degradations drawn for each image.")
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed gives the same bytes.")
    model: Id | None = Field(None, description="Id of a model. Unset: the dataset's latest.")
    format: ArchiveFormat = Field(ArchiveFormat.zip, description="Form of the archive unless its call names another.")
    source: Id | None = Field(None, description="Id of a dataset whose HR images are degraded, instead of files.")
    crop: int | None = Field(
        None, ge=32, le=8192, description="Cut images into squares of so many pixels first; a multiple of the scale."
    )
    crop_step: int | None = Field(None, ge=1, le=8192, description="Pixels from square to square. Unset: `crop`.")
    min_detail: float | None = Field(
        None,
        gt=0,
        le=255,
        description="Leave out images, or squares, that are flatter: mean difference of neighbouring pixels, of 255.",
    )
    leave_out: CommaSeparated[Extra] = Field([], description="What not to keep: `kernel`, `noise`, or `kernel,noise`.")
    lr_format: LrFormat = Field(LrFormat.png, description="Of low-resolution images; both are lossless.")
    jpeg: Annotated[tuple[Quality, Quality], BeforeValidator(_qualities)] | None = Field(
        None,
        description="Compress once more, after the learned degradation: a quality, `75`, or a range that one is drawn "
        "from for each sample, `60-95`. The triplet then no longer adds up, which its manifest line tells.",
    )
    validation: float | None = Field(
        None, ge=0, le=1, description="Fraction of the images that is set apart for validation, by their SHA-256."
    )


DEGRADE_BODY = form_body(
    [],
    DegradeRequest,
    samples={"type": "integer", "minimum": 1, "default": 1, "example": 4},
    seed={"type": "integer", "minimum": 0, "default": 0, "example": 7},
    model={"type": "string"},
    format={"type": "string", "enum": [form.value for form in ArchiveFormat], "default": "zip", "example": "zip"},
    source={"type": "string"},
    crop={"type": "integer", "minimum": 32, "maximum": 8192, "example": 480},
    crop_step={"type": "integer", "minimum": 1, "maximum": 8192, "example": 240},
    min_detail={"type": "number", "exclusiveMinimum": 0, "maximum": 255, "example": 1.5},
    leave_out={"type": "string", "enum": ["kernel", "noise", "kernel,noise"], "example": "noise"},
    lr_format={"type": "string", "enum": [form.value for form in LrFormat], "default": "png", "example": "webp"},
    jpeg={"type": "string", "pattern": QUALITIES, "example": "60-95"},
    validation={"type": "number", "minimum": 0, "maximum": 1, "example": 0.05},
)
