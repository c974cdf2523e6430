from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from tests.training.conftest import photo
from training.likeness import most_alike, views_of
from training.photos import Photos


def test_a_blurred_and_noisy_photo_is_like_the_one_that_it_shows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = [photo(rng, 160, 200) for _ in range(5)]
    shots = []
    for shown in (3, 0, 4):
        blurred = gaussian_filter(clean[shown].astype(float), (3, 3, 0))[::4, ::4]
        shots.append((blurred + rng.normal(0, 12, blurred.shape)).clip(0, 255).astype(np.uint8))
    real, all_clean = Photos.write(tmp_path / "lr", shots), Photos.write(tmp_path / "hr", clean)
    assert most_alike(real, all_clean, 4, [0, 1, 2, 3, 4]) == [3, 0, 4]
    assert set(most_alike(real, all_clean, 4, [1, 2])) <= {1, 2}


def test_photos_smaller_than_a_block_are_compared_too(tmp_path: Path) -> None:
    grey = np.full((4, 5, 3), 90, np.uint8)
    real = Photos.write(tmp_path / "lr", [grey])
    clean = Photos.write(tmp_path / "hr", [np.full((20, 20, 3), level, np.uint8) for level in (10, 100)])
    assert most_alike(real, clean, 4, [0, 1]) == [1]


def test_photos_of_one_view_are_found_whatever_their_blur_and_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    scenes = [photo(rng, 96, 120).astype(float) for _ in range(4)]
    shots = [
        (gaussian_filter(scenes[scene], (blur, blur, 0)) + rng.normal(0, level, scenes[scene].shape))
        for scene, blur, level in ((0, 0.3, 1), (1, 1, 3), (0, 1.5, 12), (2, 0.3, 12), (1, 0.5, 8), (0, 1, 5))
    ]
    shots.append(scenes[3][:, :-8])
    shots.append(scenes[3])  # of another shape: not from the same place
    photos = Photos.write(tmp_path / "lr", [shot.clip(0, 255).astype(np.uint8) for shot in shots])
    assert sorted(views_of(photos, [0, 1, 2, 3, 4, 5, 6, 7])) == [[0, 2, 5], [1, 4], [3], [6], [7]]
    assert sorted(views_of(photos, [1, 2, 5])) == [[1], [2, 5]]
