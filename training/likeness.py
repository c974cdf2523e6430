"""Which clean photo a real photo looks most like, in its colours, whatever its blur and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.photos import Photos
from training.spectra import OPPONENT

BLOCK = 8  # side in low-resolution pixels of what colours are averaged over: far more than a kernel's width
QUANTILES = np.linspace(0.05, 0.95, 10)


def most_alike(lr_photos: Photos, hr_photos: Photos, scale: int, among: list[int]) -> list[int]:
    """For each low-resolution photo the one of `among` the clean ones whose colours are distributed most alike."""
    clean = np.stack([_colours(hr_photos[index], BLOCK * scale) for index in among])
    return [
        among[int(np.abs(_colours(lr_photos[index], BLOCK) - clean).mean(1).argmin())]
        for index in range(len(lr_photos))
    ]


def _colours(photo: NDArray[np.uint8], block: int) -> NDArray[np.float64]:
    """Quantiles of luma and colour differences of a photo (H, W, 3), averaged over blocks."""
    rows, cols = (max(1, side // block) for side in photo.shape[:2])
    means = photo[: rows * block, : cols * block].astype(np.float32)
    means = means.reshape(rows, -1, cols, means.shape[1] // cols, 3).mean((1, 3)).reshape(-1, 3)
    return np.ravel(np.quantile(means @ np.array(OPPONENT).T, QUANTILES, axis=0))
