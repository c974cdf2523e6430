"""Which photos are of one view, whatever their blur and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.photos import Photos

BLOCK = 8  # side in low-resolution pixels of what colours are averaged over: far more than a kernel's width
SAME_VIEW = 4.0  # 8-bit levels by which the blocks of photos of one view differ at most, on average


def views_of(photos: Photos, among: list[int]) -> list[list[int]]:
    """The photos at these indices, those of one view together: equally large, of one thing and from one place."""
    views: dict[tuple[int, ...], list[tuple[NDArray[np.float32], list[int]]]] = {}  # by shape: what they show, which
    for index in among:
        blocks, known = _blocks(photos[index]), views.setdefault(photos[index].shape, [])
        off = [float(np.abs(blocks - shown).mean()) for shown, _ in known]
        if off and min(off) <= SAME_VIEW:
            known[int(np.argmin(off))][1].append(index)
        else:
            known.append((blocks, [index]))
    return [view for known in views.values() for _, view in known]


def _blocks(photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The means of the blocks of a photo (H, W, 3), one after the other, (blocks, 3)."""
    rows, cols = (max(1, side // BLOCK) for side in photo.shape[:2])
    means = photo[: rows * BLOCK, : cols * BLOCK].astype(np.float32)
    blocks: NDArray[np.float32] = means.reshape(rows, -1, cols, means.shape[1] // cols, 3).mean((1, 3)).reshape(-1, 3)
    return blocks
