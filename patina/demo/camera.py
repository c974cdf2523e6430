"""A pretend camera whose blur and noise are known, so that the end of the demo can say how near the learned ones came.

It shares no code with what it tests: a triplet that adds up here adds up by an independent computation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patina.sheet.page import Picture

Kernel = NDArray[np.float64]  # (rows, columns), sums to 1
Range = tuple[float, float]


@dataclass(frozen=True)
class Shot:
    lr: Picture
    kernel: Kernel
    noise_level: float  # standard deviation of all that is not blur, in 8-bit levels


@dataclass(frozen=True)
class Camera:
    """Each photo is blurred by a Gaussian of two random widths at a random angle, and gets a random level of noise."""

    scale: int = 4
    blur: Range = (1.0, 3.0)  # standard deviations along the two axes, in pixels of the clean image
    read_noise: Range = (2.0, 5.0)  # the same everywhere, in 8-bit levels
    shot_noise: Range = (0.1, 0.5)  # grows with brightness: adds so much variance for each level
    support: int = 20  # taps a side; support - scale is even, which centres the kernel on the sampled point

    @property
    def origin(self) -> tuple[int, int]:
        """Offset of the kernel's first tap from high-resolution pixel scale * i."""
        return (-((self.support - self.scale) // 2),) * 2

    def shoot(self, photograph: Picture, rng: np.random.Generator) -> Shot:
        height, width = (side - side % self.scale for side in photograph.shape[:2])
        kernel = self.draw_kernel(rng)
        blurred = blur_and_sample(photograph[:height, :width], kernel, self.origin, self.scale)
        noise = self.draw_noise(blurred, rng)
        lr = np.clip(np.rint(blurred + noise), 0, 255).astype(np.uint8)
        return Shot(lr, kernel, float(np.std(lr - blurred)))

    def draw_kernel(self, rng: np.random.Generator) -> Kernel:
        return gaussian(rng.uniform(*self.blur), rng.uniform(*self.blur), rng.uniform(0, np.pi), self.support)

    def draw_noise(self, blurred: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        variance = rng.uniform(*self.read_noise) ** 2 + rng.uniform(*self.shot_noise) * blurred
        return rng.normal(size=blurred.shape) * np.sqrt(variance)


def gaussian(sigma_u: float, sigma_v: float, angle: float, support: int) -> Kernel:
    offsets = np.arange(support) - (support - 1) / 2
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    kernel = np.exp(-0.5 * ((u / sigma_u) ** 2 + (v / sigma_v) ** 2))
    normalised: Kernel = kernel / kernel.sum()
    return normalised


def blur_and_sample(
    image: NDArray[np.generic], kernel: NDArray[np.generic], origin: tuple[int, int], scale: int
) -> NDArray[np.float64]:
    """lr[i, j] = sum over u, v of kernel[u, v] * image[scale * i + u + top, scale * j + v + left], reflect-padded.

    One shifted addition a tap: slower than a library's convolution, and plainly right.
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
