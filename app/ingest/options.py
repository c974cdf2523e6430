"""What the sender of images decides: which frames to take, and what becomes of more than 8 bits per channel."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field


class Frames(StrEnum):
    first = "first"
    all = "all"


class Depth(StrEnum):
    """`keep` is for results of the same depth, and no value of the form field `depth` of uploads."""

    refuse = "refuse"
    scale = "scale"
    keep = "keep"


class Transparency(StrEnum):
    """`crop` leaves transparent parts out: the image is its opaque rectangle."""

    crop = "crop"
    keep = "keep"


FRAMES = Field(
    Frames.first,
    description="Of an animation, or of a TIFF with pages: the `first`, or `all`, each as an image named "
    "`NAME.0001.png` and so on.",
)
DEPTH = Field(
    Depth.refuse,
    description="Images with more than 8 bits per channel: `refuse` them, or `scale` their full range to 0..255 (of "
    "floating-point images: 0 to 1).",
)
FRAMES_SCHEMA: dict[str, Any] = {"type": "string", "enum": ["first", "all"], "default": "first", "example": "all"}
DEPTH_SCHEMA: dict[str, Any] = {
    "type": "string",
    "enum": ["refuse", "scale"],
    "default": "refuse",
    "example": "scale",
}


class ReadOptions(BaseModel):
    """The form fields, besides the files, of a request that adds images."""

    frames: Frames = FRAMES
    depth: Depth = DEPTH


DEFAULTS = ReadOptions()
