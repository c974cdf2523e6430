"""Super-resolution request schema."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.archives.schemas import ArchiveFormat
from app.http.schemas import Id
from app.ingest.documentation import form_body
from app.ingest.options import FRAMES, FRAMES_SCHEMA, Frames, ReadOptions
from app.ingest.options import Depth as ReadDepth
from app.jobs.options import PRIORITY, PRIORITY_SCHEMA, STORE, STORE_SCHEMA, Priority
from store.result_store import ResultStore
from store.sr_options import Color, Depth, ImageFormat, Metadata

# After the digests of idempotent requests were first stored.
SR_FIELDS_ADDED = ("inputs", "quality", "metadata", "color", "frames", "depth", "archive", "priority", "store")


class SrRequest(BaseModel):
    """The form fields besides the files."""

    model_config = ConfigDict(extra="forbid")

    dataset: Id | None = Field(None, description="Id of a dataset; its latest model is used.")
    model: Id | None = Field(None, description="Id of a model, instead of a dataset.")
    tile: int | None = Field(
        None, ge=16, le=4096, description="Side of a tile in low-resolution pixels. Default: chosen to fit the memory."
    )
    inputs: Id | None = Field(None, description="Id of inputs whose files are super-resolved, instead of `files`.")
    format: ImageFormat | ArchiveFormat = Field(
        ImageFormat.png,
        description="Format of the results: png, jpeg, webp, avif or tiff. A format of `archive` sets that instead.",
    )
    quality: int | None = Field(
        None, ge=1, le=100, description="Quality of jpeg (default: 95), webp (90) or avif (85)."
    )
    metadata: Metadata = Field(
        Metadata.keep,
        description="`keep`: results have the EXIF and XMP of their sources, without orientation and thumbnail. "
        "`drop`: they have neither, so no place and no camera. A color profile that the pixels need always stays.",
    )
    color: Color = Field(
        Color.srgb, description="`srgb`: results are sRGB. `keep`: results have the color profile of their RGB sources."
    )
    frames: Frames = FRAMES
    depth: Depth | None = Field(
        None,
        description="Bits per channel of results: 8, 16 (png and tiff), or `keep` those of the source. Without it, "
        "results have 8, and images with more are refused.",
    )
    archive: ArchiveFormat = Field(ArchiveFormat.zip, description="Default format of the job's archive.")
    store: ResultStore = STORE
    priority: Priority = PRIORITY

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.format, ArchiveFormat):  # what `format` was before results had formats
            self.archive, self.format = self.format, ImageFormat.png
        if self.quality is not None and not self.format.is_lossy:
            raise ValueError(f"{self.format} is lossless and has no quality; omit `quality`, or use jpeg, webp or avif")
        if self.depth is Depth.sixteen and self.format.max_bits < 16:
            raise ValueError(f"{self.format} has 8 bits per channel; use png or tiff for 16, or depth=keep")
        return self

    def to_read_options(self) -> ReadOptions:
        """Returns how the job's images are read: deep ones only if `depth` says what becomes of them."""
        depths = {None: ReadDepth.refuse, Depth.eight: ReadDepth.scale}
        return ReadOptions(frames=self.frames, depth=depths.get(self.depth, ReadDepth.keep))

    def to_parameters(self) -> dict[str, Any]:
        """Returns the job's parameters; `format` is that of its archive."""
        options = self.model_dump(mode="json", include={"tile", "quality", "metadata", "color", "store"})
        options["depth"] = (self.depth or Depth.eight).value
        return {**options, "image_format": self.format.value, "format": self.archive.value}


SR_BODY = form_body(
    [],
    SrRequest,
    dataset={"type": "string"},
    model={"type": "string"},
    inputs={"type": "string"},
    frames=FRAMES_SCHEMA,
    tile={"type": "integer", "minimum": 16, "maximum": 4096},
    format={
        "type": "string",
        "enum": [*map(str, ImageFormat), *map(str, ArchiveFormat)],
        "default": "png",
        "example": "jpeg",
    },
    quality={"type": "integer", "minimum": 1, "maximum": 100, "example": 95},
    metadata={"type": "string", "enum": [*map(str, Metadata)], "default": "keep", "example": "drop"},
    color={"type": "string", "enum": [*map(str, Color)], "default": "srgb", "example": "keep"},
    depth={"type": "string", "enum": [*map(str, Depth)], "example": "keep"},
    archive={"type": "string", "enum": [*map(str, ArchiveFormat)], "default": "zip", "example": "tar"},
    store=STORE_SCHEMA,
    priority=PRIORITY_SCHEMA,
)
