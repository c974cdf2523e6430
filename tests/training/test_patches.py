"""Patches of real photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.training_factories import make_config
from training.data.photos import Photos
from training.phases.patches import sample_lr
from training.state import TrainState


@pytest.mark.parametrize(("qualities", "on_grid"), [((60,), True), ((), False)])
def test_patches_of_jpeg_photos_start_at_a_block(qualities: tuple[int, ...], on_grid: bool, tmp_path: Path) -> None:
    """Generated ones do, and a discriminator would see the difference. JPEG's chroma blocks are 16 pixels wide."""
    config = make_config("default")
    config = replace(config, degradation=replace(config.degradation, jpeg_qualities=qualities))
    row, column = np.indices((100, 120), dtype=np.uint8)
    photos = Photos.write(tmp_path, [np.stack([row, column, row], 2)])
    patches = sample_lr(TrainState(config, 0, "cpu"), photos, 100, augment=False)
    corners = (255 * patches[:, :2, 0, 0]).round().int()
    assert len(set(map(tuple, corners.tolist()))) > 10
    assert bool((corners % 16 == 0).all()) == on_grid
