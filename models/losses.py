"""The losses of section 3.4 of the paper, and rounding with a straight-through gradient.

The paper: "Learning the Degradation Distribution for Blind Image Super-Resolution", CVPR 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def lsgan_loss(scores: Tensor, *, real: bool) -> Tensor:
    """Returns the mean squared distance of all scores from the target: 1 for real, 0 for generated."""
    return functional.mse_loss(scores, torch.full_like(scores, float(real)))


def noise_l2(noise: Tensor) -> Tensor:
    """Returns the mean square of noise, 1 = full scale.

    It is the paper's regularizer. It makes noise small rather than unbiased.
    """
    return noise.square().mean()


def quantize_ste(image: Tensor) -> Tensor:
    """Clamps to [0, 1] and rounds to 8 bits. The gradient passes as if it only clamped (straight-through)."""
    clamped = image.clamp(0, 1)
    return clamped + ((clamped * 255).round() / 255 - clamped).detach()
