"""The EDSR's loss and its update."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from models.networks.fused_tail import FusedTail
from training.optim import autocast, optimizer_step
from training.state import TrainState


def sr_update(state: TrainState, lr: Tensor, hr: Tensor) -> Tensor:
    """Updates the EDSR on lr (B, 3, h, w) and hr (B, 3, s·h, s·w), both in [0, 1]. Returns the loss before it."""
    loss = sr_loss(state, lr, hr)
    optimizer_step(state.optimizers["edsr"], loss, distributed=True)
    return loss.detach()


def sr_loss(state: TrainState, lr: Tensor, hr: Tensor) -> Tensor:
    """Returns the EDSR's L1 loss on lr (B, 3, h, w) and hr (B, 3, s·h, s·w), both in [0, 1]."""
    config = state.config.edsr
    # A single convolution is fused already. On a GPU, fusing costs more than it saves.
    fuse = not config.single_upsample and lr.device.type != "cuda"
    tail = FusedTail(state.edsr.tail, config.scale) if fuse else None
    with autocast(state.config, state.device):
        upscaled: Tensor = state.edsr(lr, tail)
    return functional.l1_loss(upscaled.float(), hr)
