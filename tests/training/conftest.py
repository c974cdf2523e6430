"""Small sets of photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.data.photos import Photos


def make_photo(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Rectangles of random colors. They have edges and flat areas, as photos do."""
    image = np.zeros((height, width, 3), np.uint8)
    for _ in range(60):
        top, left = rng.integers(height), rng.integers(width)
        image[top : top + rng.integers(8, 60), left : left + rng.integers(8, 60)] = rng.integers(0, 256, 3)
    return image


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Photos, Photos]:
    """(real low-resolution, clean high-resolution)."""
    folder: Path = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    real = [make_photo(rng, 70, 80) for _ in range(3)]
    clean = [make_photo(rng, 260, 270) for _ in range(3)]
    return Photos.write(folder / "lr", real), Photos.write(folder / "hr", clean)
