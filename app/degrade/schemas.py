"""Degrade request schema."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.archives.schemas import ArchiveFormat, Extra
from app.http.schemas import Id
from app.ingest.documentation import form_body
from app.ingest.options import DEPTH, DEPTH_SCHEMA, FRAMES, FRAMES_SCHEMA, Depth, Frames
from app.jobs.options import PRIORITY, PRIORITY_SCHEMA, STORE, STORE_SCHEMA, Priority
from store.degrade_options import LrFormat
from store.result_store import ResultStore

QUALITIES = r"^\d{1,3}(-\d{1,3})?$"

T = TypeVar("T")
Quality = Annotated[int, Field(ge=1, le=100)]


def _split_commas(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _parse_qualities(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.match(QUALITIES, value):
        raise ValueError("use a quality such as 75, or a range such as 60-95")
    lowest, _, highest = value.partition("-")
    if int(highest or lowest) < int(lowest):
        raise ValueError("the range must start with its lower end")
    return lowest, highest or lowest


CommaSeparated = Annotated[list[T], BeforeValidator(_split_commas)]


# After the digests of idempotent requests were first stored.
DEGRADE_FIELDS_ADDED = ("inputs", "frames", "depth", "source_from", "source_to", "priority", "store")


class DegradeRequest(BaseModel):
    """The form fields besides the files."""

    model_config = ConfigDict(extra="forbid")

    samples: int = Field(1, ge=1, description="Number of degradations sampled for each image.")
    seed: int = Field(0, ge=0, lt=2**63, description="The same seed gives the same bytes.")
    model: Id | None = Field(None, description="Id of a model. Default: the dataset's latest.")
    format: ArchiveFormat = Field(ArchiveFormat.zip, description="Default format of the job's archive.")
    source: Id | None = Field(None, description="Id of a dataset whose HR images are degraded, instead of files.")
    source_from: int | None = Field(
        None, ge=0, description="With `source`: number of its first image to degrade, from 0, in the order of arrival."
    )
    source_to: int | None = Field(
        None, ge=1, description="With `source`: number after that of its last image to degrade. Default: all."
    )
    inputs: Id | None = Field(None, description="Id of inputs whose files are degraded, instead of `files`.")
    frames: Frames = FRAMES
    depth: Depth = DEPTH
    crop: int | None = Field(
        None, ge=32, le=8192, description="Split images into square crops of this side first; a multiple of the scale."
    )
    crop_step: int | None = Field(None, ge=1, le=8192, description="Pixels between crops. Default: `crop`.")
    min_detail: float | None = Field(
        None,
        gt=0,
        le=255,
        description="Skip images or crops with less detail: mean absolute difference of neighboring pixels, 0..255.",
    )
    leave_out: CommaSeparated[Extra] = Field(
        [], description="Files to leave out of the results: `kernel`, `noise`, or `kernel,noise`."
    )
    lr_format: LrFormat = Field(LrFormat.png, description="Lossless format of low-resolution images.")
    jpeg: Annotated[tuple[Quality, Quality], BeforeValidator(_parse_qualities)] | None = Field(
        None,
        description="Apply JPEG compression after the learned degradation: a quality, `75`, or a range, `60-95`, from "
        "which one is sampled for each result. The triplet then no longer adds up; its manifest line says so.",
    )
    store: ResultStore = STORE
    priority: Priority = PRIORITY
    validation: float | None = Field(
        None, ge=0, le=1, description="Fraction of the images in the validation split, chosen by their SHA-256."
    )


DEGRADE_BODY = form_body(
    [],
    DegradeRequest,
    samples={"type": "integer", "minimum": 1, "default": 1, "example": 4},
    seed={"type": "integer", "minimum": 0, "default": 0, "example": 7},
    model={"type": "string"},
    format={"type": "string", "enum": [format.value for format in ArchiveFormat], "default": "zip", "example": "zip"},
    source={"type": "string"},
    source_from={"type": "integer", "minimum": 0, "example": 0},
    source_to={"type": "integer", "minimum": 1, "example": 1000},
    inputs={"type": "string"},
    frames=FRAMES_SCHEMA,
    depth=DEPTH_SCHEMA,
    crop={"type": "integer", "minimum": 32, "maximum": 8192, "example": 480},
    crop_step={"type": "integer", "minimum": 1, "maximum": 8192, "example": 240},
    min_detail={"type": "number", "exclusiveMinimum": 0, "maximum": 255, "example": 1.5},
    leave_out={"type": "string", "enum": ["kernel", "noise", "kernel,noise"], "example": "noise"},
    lr_format={"type": "string", "enum": [format.value for format in LrFormat], "default": "png", "example": "webp"},
    jpeg={"type": "string", "pattern": QUALITIES, "example": "60-95"},
    store=STORE_SCHEMA,
    priority=PRIORITY_SCHEMA,
    validation={"type": "number", "minimum": 0, "maximum": 1, "example": 0.05},
)
