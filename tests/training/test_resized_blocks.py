"""Photos that were compressed, then resized, are found by their blocks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from models.compression import Compression
from training.data.photos import PhotoCompression, Photos
from training.data.resized_blocks import count_resized, find_block_period
from training.report.alarms import find_resized_alarm

Pixels = NDArray[np.uint8]


def resize(pixels: Pixels, ratio: float, quality: int | None) -> Pixels:
    image = Image.fromarray(pixels)
    if quality:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        image = Image.open(buffer).convert("RGB")
    return np.asarray(image.resize((round(ratio * image.width), round(ratio * image.height)), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("ratio", [0.66, 0.8])
def test_the_size_of_blocks_is_found(ratio: float) -> None:
    for picture in (data.astronaut(), data.coffee()):
        assert find_block_period(resize(picture, ratio, 50)) == pytest.approx(8 * ratio, rel=0.02)
        assert find_block_period(resize(picture, ratio, None)) is None
        assert find_block_period(picture) is None
    assert find_block_period(np.zeros((40, 400, 3), np.uint8)) is None


def test_many_resized_photos_are_an_alarm(tmp_path: Path) -> None:
    shots = [resize(data.astronaut(), 0.8, quality) for quality in (40, 50, 60, None)]
    photos = Photos.write(tmp_path, shots)
    assert count_resized(photos) == (0, 0)
    photos.compressions = [PhotoCompression(Compression())] * 4
    assert count_resized(photos) == (3, 4)
    assert [alarm.code for alarm in find_resized_alarm(3, 4)] == ["compressed_then_resized"]
    assert find_resized_alarm(1, 1) == find_resized_alarm(2, 12) == ()
