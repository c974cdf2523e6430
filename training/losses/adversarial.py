"""The discriminator against what is made (section 3.4 of the paper)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses import lsgan_loss
from training.optim import autocast
from training.state import State


def deception(state: State, lr: Tensor) -> Tensor:
    """How far made images (B, 3, h, w) in [0, 1] are from looking real, to a discriminator that stands still."""
    state.discriminator.requires_grad_(False)
    with autocast(state.recipe, state.device):
        loss = lsgan_loss(state.discriminator(lr).float(), real=True)
    state.discriminator.requires_grad_(True)
    return loss


def discriminate(state: State, real: Tensor, made: Tensor) -> Tensor:
    """How far real images are from being told as real and made ones as made, both (B, 3, h, w) in [0, 1]."""
    # In one pass: either normalisation treats an image as if it were alone.
    with autocast(state.recipe, state.device):
        scores = state.discriminator(torch.cat([real, made])).float()
    told_real, told_made = scores[: len(real)], scores[len(real) :]
    return (lsgan_loss(told_real, real=True) + lsgan_loss(told_made, real=False)) / 2
