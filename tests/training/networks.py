"""Small trainings, and helpers to compare their networks."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from training.config import TrainConfig
from training.data.photos import Photos
from training.loop import TrainResult
from training.presets import get_preset

PhotoSets = tuple[Photos, Photos]  # (real low-resolution, clean high-resolution)


def small(name: str, scale: int = 4, num_candidates: int = 0) -> TrainConfig:
    """A preset with small networks. Candidates are evaluated only on request, because one takes a second or two."""
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


def weights(result: TrainResult) -> dict[str, Tensor]:
    edsr = {f"edsr.{name}": weight for name, weight in result.edsr.state_dict().items()}
    return {**result.degradation.state_dict(), **edsr}


def same_weights(first: TrainResult, second: TrainResult) -> bool:
    return all(torch.equal(weight, weights(second)[name]) for name, weight in weights(first).items())


def snapshot(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def changed(module: nn.Module, before: list[Tensor]) -> list[bool]:
    return [not torch.equal(now, then) for now, then in zip(module.parameters(), before, strict=True)]
