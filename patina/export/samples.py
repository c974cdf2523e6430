"""Samples a model's kernels and noise into files, for methods that read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.degradation import Degradation
from models.fixed_point import quantize_kernels
from patina.errors import PatinaError

BATCH = 64
BRIGHTNESS = 0.05, 0.95  # range of the gray that noise is drawn on, 1 = full scale


@dataclass(frozen=True)
class SampleCounts:
    kernels: int = 1000
    noises: int = 256
    patch: int = 64  # side of a noise patch, in low-resolution pixels


def sample_kernels(degradation: Degradation, count: int, seed: int) -> dict[str, NDArray[np.generic]]:
    """Returns `kernels` (count, K, K) float32, each of sum 1; `scale`; `origin` (top, left) of the first tap."""
    generator = torch.Generator().manual_seed(seed)
    kernels = []
    with torch.inference_mode():
        for size in _batch_sizes(count):
            latents = degradation.draw_latents(size, (1, 1), generator)
            kernels.append(quantize_kernels(degradation.kernel(latents.kernel)).numpy())
    return {
        "kernels": np.concatenate(kernels),
        "scale": np.array(degradation.config.scale),
        "origin": np.array(degradation.kernel_origin),
    }


def sample_noise(degradation: Degradation, count: int, patch: int, seed: int) -> dict[str, NDArray[np.generic]]:
    """Returns `noise` (count, patch, patch, 3) float32, 1 = full scale, on flat gray of `brightness` (count,)."""
    generator = torch.Generator().manual_seed(seed)
    patches, brightness = [], []
    with torch.inference_mode():
        for size in _batch_sizes(count):
            low, high = BRIGHTNESS
            gray = low + (high - low) * torch.rand(size, generator=generator)
            flat = gray[:, None, None, None].expand(size, 3, patch, patch)
            latents = degradation.draw_latents(size, (patch, patch), generator)
            noise = degradation.add_jpeg_residual(latents, flat, degradation.draw_noise(latents, flat))
            patches.append(noise.expand_as(flat).permute(0, 2, 3, 1).numpy())
            brightness.append(gray.numpy())
    return {"noise": np.concatenate(patches), "brightness": np.concatenate(brightness)}


def save_npz(arrays: Mapping[str, NDArray[np.generic]], path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def save_mat(arrays: Mapping[str, NDArray[np.generic]], path: Path) -> None:
    """Writes MATLAB's format.

    `kernels` becomes a cell array 1 × count of doubles, turned by `to_convolution` as USRNet and DPSR use them, and
    `origin` is left out.
    """
    try:
        from scipy.io import savemat  # noqa: PLC0415 - needed for this format alone
    except ImportError as error:
        raise PatinaError("MATLAB files need scipy. Run: pip install 'patina[export]'") from error
    contents = dict(arrays)
    if "kernels" in contents:
        kernels = to_convolution(contents["kernels"].astype(np.float64), contents.pop("origin"))
        cells = np.empty((1, len(kernels)), object)
        cells[0] = list(kernels)
        contents["kernels"] = cells
    savemat(path, contents, do_compression=True)


def to_convolution(kernels: NDArray[np.float64], origin: NDArray[np.generic]) -> NDArray[np.float64]:
    """Turns kernels (count, K, K) by 180° and centers them in a window of odd side.

    Our kernel's tap [u, v] weighs the pixel at (u + top, v + left). A convolution, such as `scipy.ndimage.convolve`,
    weighs it by the tap as far from the window's center in the opposite direction. So every s-th pixel of the
    convolved image, from the first on, is our blurred image.
    """
    size, (top, left) = kernels.shape[1], (int(first) for first in origin)
    radius = max(-top, top + size - 1, -left, left + size - 1)
    window = np.zeros((len(kernels), 2 * radius + 1, 2 * radius + 1))
    window[:, radius + top :, radius + left :][:, :size, :size] = kernels
    return window[:, ::-1, ::-1]


def _batch_sizes(count: int) -> list[int]:
    return [min(BATCH, count - first) for first in range(0, count, BATCH)]
