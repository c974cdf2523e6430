"""Small trainings and photos, and comparisons of networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.config import TrainConfig
from training.data.photos import Photos
from training.loop import TrainResult
from training.presets import get_preset

PhotoSets = tuple[Photos, Photos]  # (real low-resolution, clean high-resolution)


def make_photo(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Returns rectangles of random colors (height, width, 3). They have edges and flat areas, as photos do."""
    image = np.zeros((height, width, 3), np.uint8)
    for _ in range(60):
        top, left = rng.integers(height), rng.integers(width)
        image[top : top + rng.integers(8, 60), left : left + rng.integers(8, 60)] = rng.integers(0, 256, 3)
    return image


def make_config(name: str, scale: int = 4, num_candidates: int = 0) -> TrainConfig:
    """Returns a preset with small networks. Each of `num_candidates` takes a second or two."""
    config = get_preset(name, scale, device="cpu")
    matching = config.matching and replace(
        config.matching,
        fit_batch=4,
        match_batch=4,
        crops_per_photo=2,
        num_real_crops=6,
        fit_until=0.2,
        match_steps=8,
        num_candidates=num_candidates,
    )
    return replace(config, batch_size=2, edsr=replace(config.edsr, width=8, blocks=1), matching=matching)


def collect_weights(result: TrainResult) -> dict[str, Tensor]:
    edsr = {f"edsr.{name}": weight for name, weight in result.edsr.state_dict().items()}
    return {**result.degradation.state_dict(), **edsr}


def have_same_weights(first: TrainResult, second: TrainResult) -> bool:
    return all(torch.equal(weight, collect_weights(second)[name]) for name, weight in collect_weights(first).items())


def copy_parameters(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def list_changed(module: nn.Module, before: list[Tensor]) -> list[bool]:
    return [not torch.equal(now, then) for now, then in zip(module.parameters(), before, strict=True)]
