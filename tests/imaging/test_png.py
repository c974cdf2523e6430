"""PNG files written row by row."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from imaging.image_files import read_picture
from imaging.png import PngWriter
from tests.support.images import make_picture


@pytest.mark.parametrize(("height", "width", "rows_per_write"), [(1, 1, 1), (33, 47, 5), (64, 20, 64)])
def test_image_written_in_pieces_reads_back(height: int, width: int, rows_per_write: int) -> None:
    pixels, file = make_picture(height, width), io.BytesIO()
    with PngWriter(file, width, height) as png:
        for first in range(0, height, rows_per_write):
            png.write(pixels[first : first + rows_per_write])
    with Image.open(file) as image:
        image.verify()  # checksums
    np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels)


@pytest.mark.parametrize("bits", [8, 16])
def test_rows_may_lie_in_memory_in_any_order(bits: int) -> None:
    gray = (make_picture(5, 7)[..., :1].astype(np.uint16) * 257 >> (16 - bits)).astype(f"uint{bits}")
    for pixels in (np.broadcast_to(gray, (5, 7, 3)), make_picture(7, 5).transpose(1, 0, 2).astype(f"uint{bits}")):
        file = io.BytesIO()
        with PngWriter(file, 7, 5, bits=bits) as png:
            png.write(pixels)
        file.seek(0)
        np.testing.assert_array_equal(read_picture(file, deep=True).rgb, pixels)


def test_missing_rows_raise() -> None:
    with pytest.raises(ValueError, match="2 rows are missing"), PngWriter(io.BytesIO(), 3, 4) as png:
        png.write(make_picture(2, 3))


@pytest.mark.parametrize("rows", [make_picture(2, 4), make_picture(5, 3), make_picture(2, 3).astype(np.float32)])
def test_rows_that_do_not_fit_raise(rows: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    with pytest.raises(ValueError, match="at most 4 rows of 3"):
        PngWriter(io.BytesIO(), 3, 4).write(rows)
