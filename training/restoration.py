"""The EDSR's loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from models.tail import ComposedTail
from training.optimization import autocast
from training.state import State


def restoration_of(state: State, lr: Tensor, hr: Tensor) -> Tensor:
    """How far the EDSR is from getting hr (B, 3, s·h, s·w) back from lr (B, 3, h, w), a mean absolute difference."""
    config = state.recipe.edsr
    # A tail of one convolution is composed already.
    tail = None if config.single_stage else ComposedTail(state.edsr.tail, config.scale)
    with autocast(state.recipe, state.device):
        enlarged: Tensor = state.edsr(lr, tail)
    return functional.l1_loss(enlarged.float(), hr)
