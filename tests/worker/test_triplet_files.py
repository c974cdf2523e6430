"""The formats of low-resolution images: each has an encoder that loses nothing, and a media type."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from app.jobs.endpoints import MEDIA_TYPES
from store.degrade_options import LrFormat
from worker.jobs.triplet_files import LR_ENCODERS


@pytest.mark.parametrize("lr_format", LrFormat)
def test_lr_formats_are_lossless(lr_format: LrFormat) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8)
    content = LR_ENCODERS[lr_format](pixels)
    image = Image.open(io.BytesIO(content))
    assert MEDIA_TYPES[lr_format] == Image.MIME[image.format or ""]
    np.testing.assert_array_equal(np.asarray(image), pixels)
