from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training.networks import small
from training.data.patches import draw_real
from training.data.photos import Photos
from training.state import State


@pytest.mark.parametrize(("qualities", "on_grid"), [((60,), True), ((), False)])
def test_real_patches_begin_with_a_block_where_photos_are_compressed(
    qualities: tuple[int, ...], on_grid: bool, tmp_path: Path
) -> None:
    """As made ones do; a discriminator would see the difference. JPEG's blocks of colour are 16 pixels wide."""
    recipe = small("default")
    recipe = replace(recipe, degradation=replace(recipe.degradation, jpeg_qualities=qualities))
    row, column = np.indices((100, 120), dtype=np.uint8)
    photos = Photos.write(tmp_path, [np.stack([row, column, row], 2)])
    patches = draw_real(State(recipe, 0, "cpu"), photos, 100, turned=False)
    corners = (255 * patches[:, :2, 0, 0]).round().int()
    assert len(set(map(tuple, corners.tolist()))) > 10
    assert bool((corners % 16 == 0).all()) == on_grid
