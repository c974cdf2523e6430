"""Which photos show alike things, whatever their blur and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.photos import Photos
from training.spectra import OPPONENT

BLOCK = 8  # side in low-resolution pixels of what colours are averaged over: far more than a kernel's width
QUANTILES = np.linspace(0.05, 0.95, 10)
SAME_VIEW = 4.0  # 8-bit levels by which the blocks of photos of one view differ at most, on average


def most_alike(lr_photos: Photos, hr_photos: Photos, scale: int, among: list[int]) -> list[int]:
    """For each low-resolution photo the one of `among` the clean ones whose colours are distributed most alike."""
    clean = np.stack([_colours(hr_photos[index], BLOCK * scale) for index in among])
    return [
        among[int(np.abs(_colours(lr_photos[index], BLOCK) - clean).mean(1).argmin())]
        for index in range(len(lr_photos))
    ]


def views_of(photos: Photos, among: list[int]) -> list[list[int]]:
    """The photos at these indices, those of one view together: equally large, of one thing and from one place."""
    views: dict[tuple[int, ...], list[tuple[NDArray[np.float32], list[int]]]] = {}  # by shape: what they show, which
    for index in among:
        blocks, known = _blocks(photos[index], BLOCK), views.setdefault(photos[index].shape, [])
        off = [float(np.abs(blocks - shown).mean()) for shown, _ in known]
        if off and min(off) <= SAME_VIEW:
            known[int(np.argmin(off))][1].append(index)
        else:
            known.append((blocks, [index]))
    return [view for known in views.values() for _, view in known]


def _colours(photo: NDArray[np.uint8], block: int) -> NDArray[np.float64]:
    """Quantiles of luma and colour differences of a photo (H, W, 3), averaged over blocks."""
    return np.ravel(np.quantile(_blocks(photo, block) @ np.array(OPPONENT).T, QUANTILES, axis=0))


def _blocks(photo: NDArray[np.uint8], block: int) -> NDArray[np.float32]:
    """The means of the blocks of a photo (H, W, 3), one after the other, (blocks, 3)."""
    rows, cols = (max(1, side // block) for side in photo.shape[:2])
    means = photo[: rows * block, : cols * block].astype(np.float32)
    blocks: NDArray[np.float32] = means.reshape(rows, -1, cols, means.shape[1] // cols, 3).mean((1, 3)).reshape(-1, 3)
    return blocks
