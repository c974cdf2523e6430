"""The EDSR's loss and its steps."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from models.networks.fused_tail import ComposedTail
from training.optim import autocast, update
from training.state import State


def learn_to_restore(state: State, lr: Tensor, hr: Tensor) -> Tensor:
    """One step of the EDSR, which is given lr (B, 3, h, w) in [0, 1]. Returns how far it was from hr before."""
    restoration = restoration_of(state, lr, hr)
    update(state.optimizers["edsr"], restoration)
    return restoration.detach()


def restoration_of(state: State, lr: Tensor, hr: Tensor) -> Tensor:
    """How far the EDSR is from getting hr (B, 3, s·h, s·w) back from lr (B, 3, h, w), a mean absolute difference."""
    config = state.recipe.edsr
    # A tail of one convolution is composed already; a GPU takes longer to compose one than that saves it.
    composed = not config.single_stage and lr.device.type != "cuda"
    tail = ComposedTail(state.edsr.tail, config.scale) if composed else None
    with autocast(state.recipe, state.device):
        enlarged: Tensor = state.edsr(lr, tail)
    return functional.l1_loss(enlarged.float(), hr)
