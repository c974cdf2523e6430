"""Cameras unlike those of the bench: other blurs, mixtures, correlated noise, and more of JPEG.

They are made of the parts of the bench's own `cameras.py`, whose folder has to be importable.
"""

from __future__ import annotations

from typing import Any

import cameras  # type: ignore[import-not-found]
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[Any]
Rng = np.random.Generator


def _rendered(inside: Any, softness: float) -> Array:
    """A kernel in the shape of `inside(y, x)`, in high-resolution pixels, drawn eight times as fine and softened."""
    fine, size = 8, cameras.SUPPORT
    offset = (np.arange(size * fine) - (size * fine - 1) / 2) / fine
    y, x = np.meshgrid(offset, offset, indexing="ij")
    shape = gaussian_filter(inside(y, x).astype(np.float64), softness * fine)
    kernel = shape.reshape(size, fine, size, fine).sum((1, 3))
    return np.asarray(kernel / kernel.sum())


def motion(rng: Rng) -> Array:
    """A straight streak."""
    length, angle = rng.uniform(2, 13), rng.uniform(0, np.pi)
    along = np.cos(angle), np.sin(angle)
    return _rendered(
        lambda y, x: (abs(x * along[0] + y * along[1]) < length / 2) & (abs(y * along[0] - x * along[1]) < 0.4), 0.8
    )


def defocus(rng: Rng) -> Array:
    """An evenly lit disk."""
    radius = rng.uniform(1.5, 6)
    return _rendered(lambda y, x: np.hypot(y, x) < radius, 0.5)


def sharp_or_shaken(rng: Rng) -> Array:
    """Photos of two kinds: two thirds sharp, one third elongated."""
    if rng.random() < 2 / 3:
        return np.asarray(cameras.gaussian_blur(0.8, 1.3, isotropic=True)(rng))
    return np.asarray(cameras.gaussian(rng.uniform(2.8, 3.8), rng.uniform(1.2, 1.8), rng.uniform(0, np.pi)))


def day_or_night(rng: Rng, clean: Array) -> Array:
    """Hardly any noise, or a lot."""
    return np.asarray(rng.normal(0, rng.uniform(1, 2) if rng.random() < 0.5 else rng.uniform(8, 13), clean.shape))


def grain(rng: Rng, clean: Array) -> Array:
    """Correlated between neighbours and channels, stronger in the mid tones than in shadow and light."""
    field = rng.normal(0, 1, clean.shape) + rng.normal(0, 1, (*clean.shape[:2], 1))
    field = gaussian_filter(field, (0.7, 0.7, 0))
    level = rng.uniform(3, 8) * (0.4 + 1.2 * np.sqrt(np.clip(clean, 0, 255) / 255 * (1 - np.clip(clean, 0, 255) / 255)))
    return np.asarray(field / field.std() * level)


STRANGE = {
    camera.name: camera
    for camera in (
        cameras.Camera("motion", motion, cameras.white_noise(2, 5)),
        cameras.Camera("defocus", defocus, cameras.sensor_noise(read=(1, 3), shot=(0.05, 0.4))),
        cameras.Camera("mixed", sharp_or_shaken, day_or_night),
        cameras.Camera("grain", cameras.gaussian_blur(1.0, 2.6), grain),
        cameras.Camera("chat", cameras.gaussian_blur(1.0, 3.0), cameras.white_noise(0, 3), jpeg_quality=(30, 60)),
    )
}
