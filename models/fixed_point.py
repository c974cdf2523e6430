"""Steps in which kernels and noise are given, so that float32 makes no error in applying them.

A kernel's taps are whole multiples of 2⁻¹⁵ that add up to 1, pixels are whole numbers up to 255: every partial sum of
their products is a multiple of 2⁻¹⁵ below 2⁸, which float32 holds exactly. So a blurred pixel is the same to the last
bit in whatever order it is summed, by whichever library, on whichever device, in bands or in one piece.

Noise lies half-way between multiples of 2⁻¹⁵ of full scale, a hundredth of a level apart. A blurred pixel with noise is
then never nearer than 2⁻¹⁶ of a level to where rounding to 8 bits changes, so that this is the same everywhere, too.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 2**15  # to 1: of a kernel's weight, and of noise, whose 1 is full scale
# Taps whose remainders are nearer to each other than this are taken in their order: what float64 leaves in doubt, in a
# symmetrical kernel for instance, shall not decide.
REMAINDER_DIGITS = 6


def kernels_on_grid(weight: Tensor) -> Tensor:
    """Kernels (n, K, K), not negative → the nearest ones of whole steps that sum to 1, exactly; float32."""
    steps = weight.double().flatten(1)
    steps = steps * (STEPS / steps.sum(1, keepdim=True))
    whole = steps.floor()
    missing = STEPS - whole.sum(1, keepdim=True)
    # Those that lose most by rounding down are rounded up, as many as it takes.
    order = (steps - whole).round(decimals=REMAINDER_DIGITS).argsort(dim=1, descending=True, stable=True)
    whole.scatter_add_(1, order, (torch.arange(order.shape[1], device=order.device) < missing).to(whole))
    return (whole / STEPS).float().view_as(weight)


def noise_on_grid(noise: Tensor) -> Tensor:
    """The nearest noise that lies half-way between two steps; float32."""
    return (noise * STEPS).floor_().add_(0.5).mul_(1 / STEPS)
