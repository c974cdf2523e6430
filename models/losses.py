"""The losses of the paper (section 3.4), and rounding that lets gradients through."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def lsgan_loss(scores: Tensor, *, real: bool) -> Tensor:
    """Mean squared distance of all scores from 1 if they should look real, from 0 if made."""
    return functional.mse_loss(scores, torch.full_like(scores, float(real)))


def noise_regularisation(noise: Tensor) -> Tensor:
    """Mean square of noise, 1 = full scale: the published regulariser, which holds noise small rather than unbiased."""
    return noise.square().mean()


def quantise(image: Tensor) -> Tensor:
    """Clamps to [0, 1] and rounds to 8 bits; the gradient passes as if it only clamped."""
    clamped = image.clamp(0, 1)
    return clamped + ((clamped * 255).round() / 255 - clamped).detach()
