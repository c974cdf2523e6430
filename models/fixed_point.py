"""Rounds kernels and noise to fixed point, so that float32 applies them without error.

A kernel's taps are multiples of 2⁻¹⁵ that sum to 1, and pixels are whole numbers up to 255. So every partial sum of
their products is a multiple of 2⁻¹⁵ below 2⁸, which float32 holds exactly. Where taps are negative, the positive ones
sum to less than 2. Partial sums are then below 2⁹, which it holds as well. A blurred pixel is the same to the last bit
in any order of summation, library, device or band.

Noise lies half-way between multiples of 2⁻¹⁵ of full scale, a hundredth of a gray level apart. So a blurred pixel with
noise is never nearer than 2⁻¹⁶ of a level to an edge of rounding to 8 bits, and rounds the same everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

FIXED_POINT_SCALE = 2**15  # steps in 1: in a kernel's sum, and in noise of full scale
# Remainders that agree to this many digits count as equal, and earlier taps are rounded up first. Otherwise errors of
# float64 would decide, for instance in a symmetric kernel.
REMAINDER_DIGITS = 6


def quantize_kernels(weight: Tensor) -> Tensor:
    """Rounds kernels (n, K, K) to the nearest fixed-point ones that sum to exactly 1. Returns float32."""
    steps = weight.double().flatten(1)
    steps = steps * (FIXED_POINT_SCALE / steps.sum(1, keepdim=True))
    floor = steps.floor()
    missing = FIXED_POINT_SCALE - floor.sum(1, keepdim=True)
    # The taps that lose most by rounding down are rounded up, until the sum is right.
    order = (steps - floor).round(decimals=REMAINDER_DIGITS).argsort(dim=1, descending=True, stable=True)
    floor.scatter_add_(1, order, (torch.arange(order.shape[1], device=order.device) < missing).to(floor))
    return (floor / FIXED_POINT_SCALE).float().view_as(weight)


def quantize_noise(noise: Tensor) -> Tensor:
    """Rounds noise to the nearest value half-way between two steps. Returns float32."""
    return (noise * FIXED_POINT_SCALE).floor_().add_(0.5).mul_(1 / FIXED_POINT_SCALE)
