"""Optimizer steps, learning rates and mixed precision."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from models.device import choose_dtype
from training.config import TrainConfig
from training.distributed import average_gradients


def set_lr(optimizer: torch.optim.Optimizer, *lrs: float) -> None:
    """Sets the learning rates: one for each parameter group, or one for all."""
    for index, group in enumerate(optimizer.param_groups):
        lr = lrs[min(index, len(lrs) - 1)]
        if isinstance(group["lr"], Tensor):  # in place, because a CUDA graph (cuda_graph.py) reads this tensor
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def optimizer_step(
    optimizer: torch.optim.Optimizer, loss: Tensor, *, max_grad_norm: float | None = None, distributed: bool = False
) -> None:
    """Runs backward and one step at the current learning rates.

    `distributed`: all processes of the training take this step, with the mean of their gradients.
    """
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    if distributed:
        average_gradients(optimizer)
    if max_grad_norm is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    optimizer.step()


def autocast(config: TrainConfig, device: str) -> AbstractContextManager[object]:
    """Returns the autocast context for EDSR and discriminator. Kernels, losses and measurements stay in float32."""
    kind = torch.device(device)
    return torch.autocast(kind.type, torch.bfloat16, enabled=config.bfloat16 and choose_dtype(kind) == torch.bfloat16)
