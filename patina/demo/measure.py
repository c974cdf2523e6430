"""How near two distributions are, and what is measured of a kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class KernelShape:
    """In pixels of the clean image."""

    major: float  # standard deviation along the wider axis
    minor: float
    off_centre: float  # distance of the centre of mass from the point that the low-resolution pixel stands on


def kernel_shape(kernel: NDArray[np.floating], origin: tuple[int, int], scale: int) -> KernelShape:
    weight = kernel / kernel.sum()
    y = np.arange(kernel.shape[0])[:, None] + origin[0] - (scale - 1) / 2
    x = np.arange(kernel.shape[1])[None, :] + origin[1] - (scale - 1) / 2
    mean_y, mean_x = float((weight * y).sum()), float((weight * x).sum())
    across = float((weight * (y - mean_y) * (x - mean_x)).sum())
    covariance = [
        [float((weight * (y - mean_y) ** 2).sum()), across],
        [across, float((weight * (x - mean_x) ** 2).sum())],
    ]
    minor, major = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0))
    return KernelShape(float(major), float(minor), float(np.hypot(mean_y, mean_x)))


def wasserstein(first: ArrayLike, second: ArrayLike) -> float:
    """Wasserstein-1 distance of two samples: how far, on average, one has to be moved to become the other."""
    a, b = np.sort(np.asarray(first, float)), np.sort(np.asarray(second, float))
    everywhere = np.sort(np.concatenate([a, b]))
    share_a = np.searchsorted(a, everywhere[:-1], side="right") / len(a)
    share_b = np.searchsorted(b, everywhere[:-1], side="right") / len(b)
    return float((np.abs(share_a - share_b) * np.diff(everywhere)).sum())


def psnr(restored: NDArray[np.uint8], truth: NDArray[np.uint8], border: int) -> float:
    """Of the luma, in dB, leaving out a border that no method can know."""
    inside = slice(border, -border)
    difference = (_luma(restored) - _luma(truth))[inside, inside]
    return float(10 * np.log10(255**2 / max(float(np.mean(difference**2)), 1e-10)))


def _luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    weighted: NDArray[np.float64] = image.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255 + 16
    return weighted
