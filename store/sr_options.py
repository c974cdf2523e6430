"""The options of an sr job, read from its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class ImageFormat(StrEnum):
    """Formats of results."""

    png = "png"
    jpeg = "jpeg"
    webp = "webp"
    avif = "avif"
    tiff = "tiff"

    @property
    def suffix(self) -> str:
        return {"jpeg": "jpg", "tiff": "tif"}.get(self.value, self.value)

    @property
    def is_lossy(self) -> bool:
        return self in (ImageFormat.jpeg, ImageFormat.webp, ImageFormat.avif)

    @property
    def max_bits(self) -> int:
        """The largest depth of a channel."""
        return 8 if self.is_lossy else 16


class Metadata(StrEnum):
    keep = "keep"
    drop = "drop"


class Color(StrEnum):
    srgb = "srgb"
    keep = "keep"


class Depth(StrEnum):
    """Bits per channel of results; `keep`: those of the source, 8 or 16."""

    eight = "8"
    sixteen = "16"
    keep = "keep"


@dataclass(frozen=True)
class SrOptions:
    tile: int | None = None
    image_format: ImageFormat = ImageFormat.png
    quality: int | None = None  # of a lossy format
    metadata: Metadata = Metadata.keep
    color: Color = Color.srgb
    depth: Depth = Depth.eight

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Self:
        """Reads a job's parameters. Jobs of earlier versions lack options, which then have their defaults."""
        return cls(
            parameters.get("tile"),
            ImageFormat(parameters.get("image_format", ImageFormat.png)),
            parameters.get("quality"),
            Metadata(parameters.get("metadata", Metadata.keep)),
            Color(parameters.get("color", Color.srgb)),
            Depth(parameters.get("depth", Depth.eight)),
        )
