"""Small trainings, and what becomes of their networks."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from training.config import Recipe, preset
from training.data.photos import Photos
from training.loop import Trained

Both = tuple[Photos, Photos]


def small(name: str, scale: int = 4, candidates: int = 0) -> Recipe:
    """Judging candidates takes a second or two, however small the networks: only where it is looked at."""
    recipe = preset(name, scale, device="cpu")
    matching = recipe.matching and replace(
        recipe.matching,
        aimed=4,
        photos=4,
        crops=2,
        real_looks=6,
        aim_until=0.2,
        match_steps=8,
        candidates=candidates,
    )
    return replace(recipe, batch=2, edsr=replace(recipe.edsr, width=8, blocks=1), matching=matching)


def weights(trained: Trained) -> dict[str, Tensor]:
    return {**trained.degradation.state_dict(), **{f"edsr.{k}": v for k, v in trained.edsr.state_dict().items()}}


def same(one: Trained, other: Trained) -> bool:
    first, second = weights(one), weights(other)
    return all(torch.equal(first[name], second[name]) for name in first)


def snapshot(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


def moved(module: nn.Module, before: list[Tensor]) -> list[bool]:
    return [not torch.equal(now, then) for now, then in zip(module.parameters(), before, strict=True)]
