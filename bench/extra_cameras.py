"""More simulated cameras: other blurs, mixtures, correlated noise, and stronger JPEG compression.

They reuse parts of the accuracy benchmark's `cameras.py`, whose folder must be importable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cameras
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Array = NDArray[Any]
Rng = np.random.Generator


def _render_kernel(inside: Any, softness: float) -> Array:
    """Renders a kernel with the shape of `inside(y, x)`, in high-resolution pixels, with eightfold oversampling.

    `softness` is the sigma of a Gaussian that blurs the shape.
    """
    fine, size = 8, cameras.SUPPORT
    offset = (np.arange(size * fine) - (size * fine - 1) / 2) / fine
    y, x = np.meshgrid(offset, offset, indexing="ij")
    shape = gaussian_filter(inside(y, x).astype(np.float64), softness * fine)
    kernel = shape.reshape(size, fine, size, fine).sum((1, 3))
    return np.asarray(kernel / kernel.sum())


def motion(rng: Rng) -> Array:
    """Returns a motion blur kernel: a straight streak of 2 to 13 pixels."""
    length, angle = rng.uniform(2, 13), rng.uniform(0, np.pi)
    along = np.cos(angle), np.sin(angle)
    return _render_kernel(
        lambda y, x: (abs(x * along[0] + y * along[1]) < length / 2) & (abs(y * along[0] - x * along[1]) < 0.4), 0.8
    )


def defocus(rng: Rng) -> Array:
    """Returns a defocus kernel: a uniform disk of radius 1.5 to 6 pixels."""
    radius = rng.uniform(1.5, 6)
    return _render_kernel(lambda y, x: np.hypot(y, x) < radius, 0.5)


def sized_blur(size: int, low: float, high: float) -> Callable[[Rng], Array]:
    """Draws Gaussians in a window of `size` taps, for scales whose window is not cameras.SUPPORT. Sigmas in pixels."""
    offset = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(offset, offset, indexing="ij")

    def draw(rng: Rng) -> Array:
        (sigma_u, sigma_v), angle = rng.uniform(low, high, 2), rng.uniform(0, np.pi)
        u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        kernel = np.exp(-0.5 * ((u / sigma_u) ** 2 + (v / sigma_v) ** 2))
        return np.asarray(kernel / kernel.sum())

    return draw


def sample_sharp_or_shaken(rng: Rng) -> Array:
    """Returns a narrow round kernel for two thirds of the photos, else a wide elongated one."""
    if rng.random() < 2 / 3:
        return np.asarray(cameras.gaussian_blur(0.8, 1.3, isotropic=True)(rng))
    return np.asarray(cameras.gaussian(rng.uniform(2.8, 3.8), rng.uniform(1.2, 1.8), rng.uniform(0, np.pi)))


def sample_day_or_night(rng: Rng, clean: Array) -> Array:
    """Returns white noise of 1 to 2 levels, or of 8 to 13 levels, each for half of the photos."""
    return np.asarray(rng.normal(0, rng.uniform(1, 2) if rng.random() < 0.5 else rng.uniform(8, 13), clean.shape))


def grain(rng: Rng, clean: Array) -> Array:
    """Returns noise that is correlated between neighbors and channels, and strongest in midtones."""
    field = rng.normal(0, 1, clean.shape) + rng.normal(0, 1, (*clean.shape[:2], 1))
    field = gaussian_filter(field, (0.7, 0.7, 0))
    level = rng.uniform(3, 8) * (0.4 + 1.2 * np.sqrt(np.clip(clean, 0, 255) / 255 * (1 - np.clip(clean, 0, 255) / 255)))
    return np.asarray(field / field.std() * level)


EXTRA_CAMERAS = {
    camera.name: camera
    for camera in (
        cameras.Camera("motion", motion, cameras.white_noise(2, 5)),
        cameras.Camera("defocus", defocus, cameras.sensor_noise(read=(1, 3), shot=(0.05, 0.4))),
        cameras.Camera("mixed", sample_sharp_or_shaken, sample_day_or_night),
        cameras.Camera("grain", cameras.gaussian_blur(1.0, 2.6), grain),
        cameras.Camera("restore", sized_blur(25, 0.4, 1.6), cameras.white_noise(2, 8), (60, 90), scale=1),
        cameras.Camera(
            "noisy", sized_blur(25, 0.25, 0.4), cameras.sensor_noise(read=(4, 10), shot=(0.2, 2.0)), scale=1
        ),
        cameras.Camera("tiny", sized_blur(48, 2.0, 6.0), cameras.sensor_noise(read=(1, 4), shot=(0.1, 1.0)), scale=8),
        cameras.Camera("chat", cameras.gaussian_blur(1.0, 3.0), cameras.white_noise(0, 3), jpeg_quality=(30, 60)),
    )
}
