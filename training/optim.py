"""Steps of optimizers."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from models.device import fast_dtype
from training.config import Recipe


def set_rates(optimizer: torch.optim.Optimizer, *rates: float) -> None:
    """Learning rates, one for each group of parameters or one for all."""
    for index, group in enumerate(optimizer.param_groups):
        rate = rates[min(index, len(rates) - 1)]
        if isinstance(group["lr"], Tensor):  # in its place, where a recorded step (capture.py) looks for it
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def update(optimizer: torch.optim.Optimizer, loss: Tensor, *, clip_gradient: float | None = None) -> None:
    """One step, at the rates that are set."""
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    if clip_gradient is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, clip_gradient)
    optimizer.step()


def autocast(recipe: Recipe, device: str) -> AbstractContextManager[object]:
    """For EDSR and discriminator. Kernels, losses and what is measured of photos stay in float32."""
    kind = torch.device(device)
    return torch.autocast(kind.type, torch.bfloat16, enabled=recipe.bfloat16 and fast_dtype(kind) == torch.bfloat16)
