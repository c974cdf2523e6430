"""What all readers of image files have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from imaging.color import RGB
from imaging.rejections import ImageRejected, ImageWarning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.uint8] | NDArray[np.uint16]

EXIF_ORIENTATION = 0x0112
STRIP_ROWS = 64
HEADER_BYTES = 2**20  # of HEIF, AVIF and JPEG 2000 files, where we look for their properties


class Rows(NamedTuple):
    """Some rows of an image: samples (n, w, channels) in its color space, and alpha (n, w) if it has any."""

    samples: Samples
    alpha: Samples | None


class OpenImage:
    """An image whose header was read. Subclasses decode it.

    `width` and `height` are those of the stored pixels, before `orientation` (EXIF, 1..8) is applied. `bits` is the
    depth of a channel; samples of more than 8 bits are scaled to 16. `space` is one of `imaging.color`.
    """

    format = ""
    width = height = 0
    orientation = 1
    bits = 8
    frames = 1
    space = RGB
    has_alpha = False
    profile = exif = xmp = b""
    max_pixels_on_arrival = 24_000_000  # larger images are decoded later, where memory is planned

    def __init__(self) -> None:
        self.warnings: list[ImageWarning] = []

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def upright_size(self) -> tuple[int, int]:
        """Returns (width, height) after its orientation."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)

    def check(self) -> None:
        """Raises if the pixels are damaged, as far as that is found without much memory."""
        for _ in self.rows():
            pass

    def rows(self) -> Iterator[tuple[int, Rows]]:
        """Yields all rows, in strips with the number of the first row."""
        raise NotImplementedError

    def select(self, frame: int) -> None:
        """Makes a frame the one that is read, 0 the first."""
        if frame:
            raise EOFError(frame)

    def shrink(self, side: int) -> None:
        """May decode with fewer pixels, at least `side` of them a side, if that is faster."""

    def close(self) -> None:
        """Ends its use of the file."""


def unsupported_depth(what: str) -> ImageRejected:
    return ImageRejected(
        "unsupported_depth", f"The image is a {what}, which cannot be scaled to 8 bits. Convert it to 8 or 16 bits."
    )


def to_mask(opaque: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Returns 16-bit alpha that is full where a pixel is opaque, else 0."""
    import numpy as np  # noqa: PLC0415

    return np.where(opaque, np.uint16(65535), np.uint16(0))


def stretch(samples: NDArray[Any], bits: int) -> NDArray[np.uint16]:
    """Returns samples of 9 to 16 bits on the scale of 16."""
    import numpy as np  # noqa: PLC0415

    if bits >= 16 or bits <= 8:
        return samples.astype(np.uint16)
    full = 2**bits - 1
    return np.asarray((np.minimum(samples, full).astype(np.uint32) * 65535 + full // 2) // full, np.uint16)


def scale_float(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Returns 0..1 as 0..65535; what is outside is clipped."""
    import numpy as np  # noqa: PLC0415

    return np.asarray((np.clip(np.nan_to_num(values.astype(np.float32)), 0, 1) * 65535).round(), np.uint16)
