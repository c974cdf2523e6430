"""Fixtures: small sets of photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.training_factories import PhotoSets, make_photo
from training.data.photos import Photos


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> PhotoSets:
    """(real low-resolution, clean high-resolution)."""
    folder: Path = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    real = [make_photo(rng, 70, 80) for _ in range(3)]
    clean = [make_photo(rng, 260, 270) for _ in range(3)]
    return Photos.write(folder / "lr", real), Photos.write(folder / "hr", clean)
