"""What is known of a video before its frames are read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, NamedTuple

SD_HEIGHT = 576  # up to here, video without a tag for its matrix has BT.601
# Code points of ITU-T H.273.
BT709, UNSPECIFIED, BT470BG, SMPTE170M, SMPTE240M, BT2020 = 1, 2, 5, 6, 7, 9
RGB_MATRIX = 0
PQ, HLG = 16, 18


class ColorTags(NamedTuple):
    """Matrix, primaries and transfer as numbers of ITU-T H.273, and whether levels have the full range."""

    matrix: int
    primaries: int
    transfer: int
    full_range: bool

    @property
    def is_hdr(self) -> bool:
        return self.transfer in (PQ, HLG)


@dataclass(frozen=True)
class VideoInfo:
    """`width` and `height` are those of frames after rotation, in pixels; `pixel_aspect` is a pixel's width by height.

    `rotation` is in degrees, counterclockwise. `frames` is an estimate.
    """

    container: str
    codec: str
    width: int
    height: int
    rotation: int
    pixel_aspect: tuple[int, int]
    bits: int
    rate: float  # frames per second, on average
    time_base: tuple[int, int]  # of the frames' time stamps, in seconds
    seconds: float | None
    frames: int | None
    interlaced: bool
    colors: ColorTags

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "colors": list(self.colors)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> VideoInfo:
        """Raises `TypeError`, `KeyError` or `ValueError` for other fields."""
        matrix, primaries, transfer, full_range = fields["colors"]
        numerator, denominator = map(int, fields["time_base"])
        wide, high = map(int, fields["pixel_aspect"])
        if min(numerator, denominator, wide, high, int(fields["width"]), int(fields["height"])) < 1:
            raise ValueError(fields)
        colors = ColorTags(int(matrix), int(primaries), int(transfer), bool(full_range))
        given = {**fields, "colors": colors, "time_base": (numerator, denominator), "pixel_aspect": (wide, high)}
        return cls(**given)

    def to_seconds(self, stamp: int) -> float:
        """Returns the time of a frame with this time stamp, in seconds."""
        return float(stamp * Fraction(*self.time_base))


def complete_tags(tags: ColorTags, width: int, height: int) -> ColorTags:
    """Returns the tags with what is unspecified as players take it: BT.601 for small frames, else BT.709."""
    small = height <= SD_HEIGHT and width <= 1024
    matrix = tags.matrix
    if matrix in (UNSPECIFIED, 3) or matrix > 10:
        matrix = (BT470BG if height > 480 else SMPTE170M) if small else BT709
    fallback = matrix if matrix in (BT709, BT470BG, SMPTE170M, SMPTE240M, BT2020) else BT709
    primaries = tags.primaries if tags.primaries not in (0, UNSPECIFIED, 3) else fallback
    default_transfer = SMPTE170M if fallback in (BT470BG, SMPTE170M) else fallback
    if default_transfer == BT2020:
        default_transfer = 14  # BT.2020 with 10 bits
    transfer = tags.transfer if tags.transfer not in (0, UNSPECIFIED, 3) else default_transfer
    return ColorTags(matrix, primaries, transfer, tags.full_range)
