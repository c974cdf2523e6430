"""The LSGAN losses of generator and discriminator (section 3.4 of the paper)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses import lsgan_loss
from training.optim import autocast
from training.state import TrainState


def generator_adv_loss(state: TrainState, lr: Tensor) -> Tensor:
    """Returns the LSGAN loss of generated images (B, 3, h, w) in [0, 1], with the discriminator frozen."""
    state.discriminator.requires_grad_(False)
    with autocast(state.config, state.device):
        loss = lsgan_loss(state.discriminator(lr).float(), real=True)
    state.discriminator.requires_grad_(True)
    return loss


def discriminator_loss(state: TrainState, real: Tensor, generated: Tensor) -> Tensor:
    """Returns the discriminator's LSGAN loss on real and generated images, both (B, 3, h, w) in [0, 1]."""
    # One pass for both: either normalization treats each image separately.
    with autocast(state.config, state.device):
        scores = state.discriminator(torch.cat([real, generated])).float()
    real_scores, fake_scores = scores[: len(real)], scores[len(real) :]
    return (lsgan_loss(real_scores, real=True) + lsgan_loss(fake_scores, real=False)) / 2
