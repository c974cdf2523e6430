"""Synthetic scenes with the detail and the edges of photos, to test what judges photos."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

DETAIL = 2  # pixels of the drawing for each pixel of the scene, so that edges are smooth as in photos


@cache
def make_scene(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Returns disks on a texture as of clouds, with faint noise, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    tall, wide = DETAIL * height, DETAIL * width
    frequencies = np.hypot(np.fft.fftfreq(tall)[:, None], np.fft.rfftfreq(wide)[None])
    frequencies[0, 0] = 1
    phases = np.exp(2j * np.pi * rng.random((3, *frequencies.shape)))
    texture = np.fft.irfft2(phases * frequencies**-1.8, (tall, wide))
    texture = 35 * texture / texture.std() + 0.7 * 35 * texture[:1] / texture.std()  # channels are much alike
    canvas = np.ascontiguousarray(128 + texture.transpose(1, 2, 0))
    rows, columns = np.mgrid[:tall, :wide]
    for _ in range(40):
        top, left, radius = rng.integers(0, tall), rng.integers(0, wide), rng.uniform(0.01, 0.1) * min(tall, wide)
        canvas[(rows - top) ** 2 + (columns - left) ** 2 < radius**2] += rng.uniform(-70, 70, 3)
    scene = canvas.reshape(height, DETAIL, width, DETAIL, 3).mean((1, 3))
    pixels: NDArray[np.uint8] = np.clip(np.rint(scene + rng.normal(0, 1, scene.shape)), 0, 255).astype(np.uint8)
    pixels.setflags(write=False)  # it is drawn once for all tests
    return pixels
