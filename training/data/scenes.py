"""Groups photos by scene, independent of their blur and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.photos import Photos

BLOCK = 8  # side in low-resolution pixels of the blocks that colors are averaged over; far more than a kernel's width
SAME_SCENE_THRESHOLD = 4.0  # maximum mean difference, in 8-bit levels, between the blocks of two photos of a scene


def group_by_scene(photos: Photos, indices: list[int]) -> list[list[int]]:
    """Groups the photos at these indices. Photos of a scene have one size, one subject and one viewpoint."""
    scenes: dict[tuple[int, ...], list[tuple[NDArray[np.float32], list[int]]]] = {}  # by shape: (blocks, indices)
    for index in indices:
        blocks, known = _average_blocks(photos[index]), scenes.setdefault(photos[index].shape, [])
        differences = [float(np.abs(blocks - other).mean()) for other, _ in known]
        if differences and min(differences) <= SAME_SCENE_THRESHOLD:
            known[int(np.argmin(differences))][1].append(index)
        else:
            known.append((blocks, [index]))
    return [scene for known in scenes.values() for _, scene in known]


def _average_blocks(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the means of all blocks of a photo (H, W, 3), (blocks, 3)."""
    rows, cols = (max(1, side // BLOCK) for side in photo.shape[:2])
    means = photo[: rows * BLOCK, : cols * BLOCK].astype(np.float32)
    blocks: NDArray[np.float32] = means.reshape(rows, -1, cols, means.shape[1] // cols, 3).mean((1, 3)).reshape(-1, 3)
    return blocks
