"""Photos are grouped by scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from tests.support.training_factories import make_photo
from training.data.photos import Photos
from training.data.scenes import group_by_scene


def test_photos_smaller_than_a_block_are_compared(tmp_path: Path) -> None:
    photos = Photos.write(tmp_path / "lr", [np.full((4, 5, 3), level, np.uint8) for level in (90, 200, 91)])
    assert group_by_scene(photos, [0, 1, 2]) == [[0, 2], [1]]


def test_scenes_are_found_despite_blur_and_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scenes = [make_photo(rng, 96, 120).astype(float) for _ in range(4)]
    shots = [
        (gaussian_filter(scenes[scene], (blur, blur, 0)) + rng.normal(0, sigma, scenes[scene].shape))
        for scene, blur, sigma in ((0, 0.3, 1), (1, 1, 3), (0, 1.5, 12), (2, 0.3, 12), (1, 0.5, 8), (0, 1, 5))
    ]
    shots.append(scenes[3][:, :-8])
    shots.append(scenes[3])  # another shape: not from the same viewpoint
    photos = Photos.write(tmp_path / "lr", [shot.clip(0, 255).astype(np.uint8) for shot in shots])
    assert sorted(group_by_scene(photos, [0, 1, 2, 3, 4, 5, 6, 7])) == [[0, 2, 5], [1, 4], [3], [6], [7]]
    assert sorted(group_by_scene(photos, [1, 2, 5])) == [[1], [2, 5]]
