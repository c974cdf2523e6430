"""Metrics of the demo: kernel shape, distance of two distributions, PSNR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.color import LUMA_WEIGHTS

BT601_LUMA = np.array(LUMA_WEIGHTS) * 219 / 255  # limited range, as super-resolution papers measure it


@dataclass(frozen=True)
class KernelShape:
    """All values are in pixels of the clean image."""

    major: float  # standard deviation along the major axis
    minor: float
    center_offset: float  # distance of the center of mass from the sampled point


def measure_kernel(kernel: NDArray[np.floating], origin: tuple[int, int], scale: int) -> KernelShape:
    weight = kernel / kernel.sum()
    y = np.arange(kernel.shape[0])[:, None] + origin[0] - (scale - 1) / 2
    x = np.arange(kernel.shape[1])[None, :] + origin[1] - (scale - 1) / 2
    mean_y, mean_x = float((weight * y).sum()), float((weight * x).sum())
    covariance_xy = float((weight * (y - mean_y) * (x - mean_x)).sum())
    covariance = [
        [float((weight * (y - mean_y) ** 2).sum()), covariance_xy],
        [covariance_xy, float((weight * (x - mean_x) ** 2).sum())],
    ]
    minor, major = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0))
    return KernelShape(float(major), float(minor), float(np.hypot(mean_y, mean_x)))


def wasserstein(first: ArrayLike, second: ArrayLike) -> float:
    """Returns the Wasserstein-1 distance of two samples, in their unit."""
    a, b = np.sort(np.asarray(first, float)), np.sort(np.asarray(second, float))
    merged = np.sort(np.concatenate([a, b]))
    cdf_a = np.searchsorted(a, merged[:-1], side="right") / len(a)
    cdf_b = np.searchsorted(b, merged[:-1], side="right") / len(b)
    return float((np.abs(cdf_a - cdf_b) * np.diff(merged)).sum())


def psnr(restored: NDArray[np.uint8], truth: NDArray[np.uint8], border: int) -> float:
    """Returns the PSNR of the luma in dB, without a border of `border` pixels that no method can know."""
    inside = slice(border, -border)
    difference = (_to_luma(restored) - _to_luma(truth))[inside, inside]
    return float(10 * np.log10(255**2 / max(float(np.mean(difference**2)), 1e-10)))


def _to_luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    luma: NDArray[np.float64] = image.astype(np.float64) @ BT601_LUMA + 16
    return luma
