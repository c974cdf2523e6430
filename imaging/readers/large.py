"""Decodes large images with little memory: Pillow's pixels are given back while they are copied.

Pillow has four bytes for each pixel, the result three. Both at once take 1.4 GB of a photo of 200 megapixels. Here
Pillow decodes into a mapping of ours, whose pages are freed as soon as their rows are converted.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageFile

from imaging.readers.base import STRIP_ROWS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGE_PIXELS = 24_000_000
BYTES_PER_PIXEL = 4  # of Pillow


def is_large(image: Image.Image) -> bool:
    """Checks whether an image that is not loaded yet is worth it, and one whose pixels Pillow has as RGBX."""
    is_plain = image.mode == "RGB" and "transparency" not in image.info
    return is_plain and image.width * image.height > LARGE_PIXELS and isinstance(image, ImageFile.ImageFile)


def iter_rows(image: Image.Image) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Decodes an image for which `is_large` holds. Yields strips of rows (n, w, 3) with the number of the first.

    A strip is valid until the next one.
    """
    import numpy as np  # noqa: PLC0415 - the API seldom needs it and starts faster without it

    width, height = image.size
    memory: Any = mmap.mmap(-1, width * height * BYTES_PER_PIXEL)
    # Loading an image that has memory already decodes into that.
    shared = Image.frombuffer("RGBX", image.size, memory, "raw", "RGBX", 0, 1)
    image.im = shared.im
    image.load()
    pixels = np.frombuffer(memory, np.uint8).reshape(height, width, BYTES_PER_PIXEL)
    row_bytes, freed = width * BYTES_PER_PIXEL, 0
    for top in range(0, height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, height)
        yield top, pixels[top:bottom, :, :3]
        end = bottom * row_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        with suppress(AttributeError, OSError):  # not every system can
            memory.madvise(mmap.MADV_REMOVE, freed, end - freed)
        freed = end
    image._im = None  # what it had is gone
