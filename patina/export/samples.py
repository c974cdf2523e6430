"""Many draws of a model's kernels and noise, for methods that take them from a file."""

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

TOGETHER = 64
BRIGHTNESS = 0.05, 0.95  # of the grey that noise is drawn on, 1 = full scale


@dataclass(frozen=True)
class SampleCounts:
    kernels: int = 1000
    noises: int = 256
    patch: int = 64  # side of a patch of noise, in low-resolution pixels


def sample_kernels(degradation: Degradation, count: int, seed: int) -> dict[str, NDArray[np.generic]]:
    """`kernels` (count, K, K) float32, each sums to 1; `scale`; `origin` (top, left) of the first tap."""
    generator = torch.Generator().manual_seed(seed)
    kernels = []
    with torch.inference_mode():
        for some in _parts(count):
            latents = degradation.draw_latents(some, (1, 1), generator)
            kernels.append(quantize_kernels(degradation.kernel(latents.kernel)).numpy())
    return {
        "kernels": np.concatenate(kernels),
        "scale": np.array(degradation.config.scale),
        "origin": np.array(degradation.kernel_origin),
    }


def sample_noise(degradation: Degradation, count: int, patch: int, seed: int) -> dict[str, NDArray[np.generic]]:
    """`noise` (count, patch, patch, 3) float32, 1 = full scale, on flat grey of `brightness` (count,)."""
    generator = torch.Generator().manual_seed(seed)
    patches, greys = [], []
    with torch.inference_mode():
        for some in _parts(count):
            low, high = BRIGHTNESS
            grey = low + (high - low) * torch.rand(some, generator=generator)
            flat = grey[:, None, None, None].expand(some, 3, patch, patch)
            latents = degradation.draw_latents(some, (patch, patch), generator)
            noise = degradation.add_jpeg_residual(latents, flat, degradation.draw_noise(latents, flat))
            patches.append(noise.expand_as(flat).permute(0, 2, 3, 1).numpy())
            greys.append(grey.numpy())
    return {"noise": np.concatenate(patches), "brightness": np.concatenate(greys)}


def save_npz(bank: Mapping[str, NDArray[np.generic]], path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **bank)


def save_mat(bank: Mapping[str, NDArray[np.generic]], path: Path) -> None:
    """MATLAB's form. `kernels` is a cell array 1 × count of doubles, as USRNet, DPSR and those after them read it."""
    try:
        from scipy.io import savemat  # noqa: PLC0415 - wanted for this form alone
    except ImportError as error:
        raise PatinaError("MATLAB's form needs a package: pip install 'patina[export]'") from error
    held = dict(bank)
    if "kernels" in held:
        cells = np.empty((1, len(held["kernels"])), object)
        cells[0] = list(held["kernels"].astype(np.float64))
        held["kernels"] = cells
    savemat(path, held, do_compression=True)


def _parts(count: int) -> list[int]:
    return [min(TOGETHER, count - first) for first in range(0, count, TOGETHER)]
