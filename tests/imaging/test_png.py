"""PNG files written row by row."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

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


def test_missing_rows_raise() -> None:
    with pytest.raises(ValueError, match="2 rows are missing"), PngWriter(io.BytesIO(), 3, 4) as png:
        png.write(make_picture(2, 3))


@pytest.mark.parametrize("rows", [make_picture(2, 4), make_picture(5, 3), make_picture(2, 3).astype(np.float32)])
def test_rows_that_do_not_fit_raise(rows: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    with pytest.raises(ValueError, match="at most 4 rows of 3"):
        PngWriter(io.BytesIO(), 3, 4).write(rows)
