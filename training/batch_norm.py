"""BatchNorm of a training in several processes: it normalizes by the statistics of all of their batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from training.distributed import count_processes, translate_errors


def synchronize_batch_norm(network: nn.Module) -> None:
    """Lets BatchNorm normalize by the statistics of all processes' batches. Parameters and names stay the same."""
    if count_processes() == 1:
        return
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                parent.register_module(name, SynchronizedBatchNorm(child))


class SynchronizedBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes. torch's own SyncBatchNorm works on GPUs only."""

    def __init__(self, local: nn.BatchNorm2d):
        super().__init__(local.num_features, local.eps, local.momentum, device=local.weight.device)
        self.load_state_dict(local.state_dict())
        self.weight, self.bias = local.weight, local.bias  # those that the optimizer has

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        count = input.numel() // input.shape[1] * count_processes()  # all processes have batches of one size
        mean = _sum_over_processes(input.sum((0, 2, 3))) / count
        centered = input - mean[:, None, None]
        variance = _sum_over_processes(centered.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.get_buffer("num_batches_tracked").add_(1)
        scale: Tensor = self.weight * (variance + self.eps).rsqrt()
        return centered * scale[:, None, None] + self.bias[:, None, None]


def _sum_over_processes(tensor: Tensor) -> Tensor:
    """Returns the sum over all processes. Gradients pass."""
    total: Tensor = _AllReduce.apply(tensor)  # type: ignore[no-untyped-call]
    return total


class _AllReduce(torch.autograd.Function):
    """The sum over all processes. Its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.contiguous().clone()
        with translate_errors():
            dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _sum_over_processes(*gradients)
