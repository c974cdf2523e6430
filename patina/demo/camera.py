"""A simulated camera with known blur and noise, so that the demo can score the learned ones against ground truth.

It shares no code with what it tests, so a correct triplet is confirmed by an independent computation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patina.sheet.page import Picture

Kernel = NDArray[np.float64]  # (rows, columns), sums to 1
Range = tuple[float, float]


@dataclass(frozen=True)
class CameraPhoto:
    lr: Picture
    kernel: Kernel
    noise_std: float  # standard deviation of everything but the blur, in 8-bit levels


@dataclass(frozen=True)
class Camera:
    """Blurs each photo by a Gaussian with two random sigmas and a random angle, and adds random noise."""

    scale: int = 4
    blur: Range = (1.0, 3.0)  # sigma along each axis, in pixels of the clean image
    read_noise: Range = (2.0, 5.0)  # standard deviation, constant over the image, in 8-bit levels
    shot_noise: Range = (0.1, 0.5)  # variance per level of brightness
    support: int = 20  # taps per side; support - scale is even, which centers the kernel on the sampled point

    @property
    def origin(self) -> tuple[int, int]:
        """Offset of the kernel's first tap from high-resolution pixel scale * i."""
        return (-((self.support - self.scale) // 2),) * 2

    def shoot(self, photograph: Picture, rng: np.random.Generator) -> CameraPhoto:
        """Degrades a photograph, cropped to a multiple of the scale."""
        height, width = (side - side % self.scale for side in photograph.shape[:2])
        kernel = self.sample_kernel(rng)
        blurred = blur_and_downsample(photograph[:height, :width], kernel, self.origin, self.scale)
        noise = self.sample_noise(blurred, rng)
        lr = np.clip(np.rint(blurred + noise), 0, 255).astype(np.uint8)
        return CameraPhoto(lr, kernel, float(np.std(lr - blurred)))

    def sample_kernel(self, rng: np.random.Generator) -> Kernel:
        return gaussian_kernel(rng.uniform(*self.blur), rng.uniform(*self.blur), rng.uniform(0, np.pi), self.support)

    def sample_noise(self, blurred: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        variance = rng.uniform(*self.read_noise) ** 2 + rng.uniform(*self.shot_noise) * blurred
        return rng.normal(size=blurred.shape) * np.sqrt(variance)


def gaussian_kernel(sigma_u: float, sigma_v: float, angle: float, support: int) -> Kernel:
    """Returns a kernel (support, support) that sums to 1. `angle` is in radians."""
    offsets = np.arange(support) - (support - 1) / 2
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    kernel = np.exp(-0.5 * ((u / sigma_u) ** 2 + (v / sigma_v) ** 2))
    normalized: Kernel = kernel / kernel.sum()
    return normalized


def blur_and_downsample(
    image: NDArray[np.generic], kernel: NDArray[np.generic], origin: tuple[int, int], scale: int
) -> NDArray[np.float64]:
    """lr[i, j] = sum over u, v of kernel[u, v] * image[scale * i + u + top, scale * j + v + left], reflect-padded.

    One shifted addition per tap is slower than a library's convolution, but evidently right.
    """
    height, width = (side // scale for side in image.shape[:2])
    (top, left), (rows, columns) = origin, kernel.shape
    before = max(0, -top), max(0, -left)
    after = (
        max(0, scale * (height - 1) + top + rows - image.shape[0]),
        max(0, scale * (width - 1) + left + columns - image.shape[1]),
    )
    padded = np.pad(image.astype(np.float64), ((before[0], after[0]), (before[1], after[1]), (0, 0)), mode="reflect")
    blurred = np.zeros((height, width, 3))
    for u in range(rows):
        for v in range(columns):
            y, x = u + top + before[0], v + left + before[1]
            samples = padded[y : y + scale * (height - 1) + 1 : scale, x : x + scale * (width - 1) + 1 : scale]
            blurred += float(kernel[u, v]) * samples
    return blurred
