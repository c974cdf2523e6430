"""What is known of an image file, without Pillow and numpy: the API starts faster without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from imaging.rejections import ImageWarning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Rectangle = tuple[int, int, int, int]
"""Top, left, height, width in pixels."""


@dataclass(frozen=True)
class ImageSize:
    """Pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class ImageCheck:
    """What is known of an accepted image.

    `size` is that of the whole image after its EXIF orientation; `opaque` its part without transparency (top, left,
    height, width), None if that is less than a quarter. `bits` is the depth of a channel.
    """

    size: ImageSize
    opaque: Rectangle | None
    bits: int = 8
    frames: int = 1
    warnings: tuple[ImageWarning, ...] = ()


class Picture(NamedTuple):
    """A whole image: RGB (h, w, 3), alpha (h, w) if it has any, in one type, and what its file says about it.

    `profile` is the ICC profile of the pixels; empty for sRGB. `exif` and `xmp` are as in the file. Its orientation is
    applied already.
    """

    rgb: NDArray[np.uint8] | NDArray[np.uint16]
    alpha: NDArray[np.uint8] | NDArray[np.uint16] | None
    profile: bytes
    exif: bytes
    xmp: bytes
