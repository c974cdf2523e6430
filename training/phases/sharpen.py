"""The sharpen phase: kernels get the unsharp mask that the real photos' edges show, once, after the matching.

The estimator cannot separate sharpening from a narrower kernel, so no phase before learns it. Sharpened pairs teach the
EDSR to sharpen less, which is right where a camera did it already (docs/experiments/035-sharpening.md).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from models.degradation import DegradationConfig, eval_mode
from models.networks.kernel import KernelConfig, clear_negative_taps, compute_moments
from training.data.photos import Photos
from training.distributed import share_object, share_weights
from training.estimator.overshoot import (
    Overshoot,
    count_standard_errors,
    measure_generated_overshoot,
    measure_real_overshoot,
)
from training.state import TrainState

AMOUNTS = (0.8, 1.6)  # of unsharp masks that are tried
RADII = (1.0, 2.0)  # of the masks, in low-resolution pixels
SIGNIFICANT = 2.0  # standard errors that real photos must overshoot more than generated ones
NUM_KERNELS = 64  # drawn to hold their width
MAX_TEMPERATURE, BISECTIONS = 8.0, 12


@torch.no_grad()
def sharpen(state: TrainState, lr_photos: Photos, hr_photos: Photos) -> dict[str, float]:
    """Sets the unsharp mask with which generated photos overshoot at edges as real ones do, less a standard error.

    None, unless real ones overshoot significantly further. The positive taps keep their width. Returns metrics.
    """

    def measure() -> Overshoot | None:
        return measure_generated_overshoot(state.degradation, hr_photos, seed=state.seed, device=state.device)

    real, generated = measure_real_overshoot(lr_photos), measure()
    if real is None or generated is None or (errors := count_standard_errors(real, generated)) < SIGNIFICANT:
        return {"sharpening_amount": 0.0}
    before, width = state.config.degradation, mean_width(state)
    certainty = 1 - 1 / errors  # too strong a mask costs pairs more than one that is too weak
    best, smallest = before.kernel, math.inf
    for radius in RADII:
        amounts, overshoots, profiles = [0.0], [generated.mean], [generated.profile]
        for amount in AMOUNTS:
            set_mask(state, before, amount, radius, width)
            if (tried := measure()) is None:
                break
            amounts.append(amount)
            overshoots.append(max(tried.mean, overshoots[-1] + 1e-6))
            profiles.append(tried.profile)
            if tried.mean >= real.mean:
                break
        amount = float(np.interp(real.mean, overshoots, amounts))
        profile = [np.interp(amount, amounts, column) for column in zip(*profiles, strict=True)]
        distance = abs(float(np.interp(amount, amounts, overshoots)) - real.mean)
        distance += float(np.abs(np.array(profile) - real.profile).mean())
        if distance < smallest:
            set_mask(state, before, certainty * amount, radius, width)
            best, smallest = state.config.degradation.kernel, distance
    set_kernel_config(state, best)
    return {"sharpening_amount": best.sharpening_amount}


def set_mask(state: TrainState, before: DegradationConfig, amount: float, radius: float, width: float) -> None:
    """Sets the unsharp mask, and the temperature with which kernels keep their width."""
    kernel = replace(before.kernel, sharpening_amount=amount, sharpening_radius=radius * before.scale)
    low, high = 1.0, MAX_TEMPERATURE
    for _ in range(BISECTIONS):
        middle = (low * high) ** 0.5
        set_kernel_config(state, replace(kernel, temperature=before.kernel.temperature * middle))
        low, high = (middle, high) if mean_width(state) < width else (low, middle)


def set_kernel_config(state: TrainState, kernel: KernelConfig) -> None:
    """Replaces the kernel network's config by one with the same weights."""
    degradation = replace(state.config.degradation, kernel=kernel)
    state.config = replace(state.config, degradation=degradation)
    state.degradation.config = degradation
    state.degradation.kernel.config = kernel


def share_degradation(state: TrainState) -> None:
    """Gives rank 0's degradation to all processes. Every process calls it."""
    set_kernel_config(state, share_object(state.config.degradation.kernel))
    share_weights(state.degradation)


def mean_width(state: TrainState) -> float:
    """Returns the mean width of drawn kernels' positive taps: the root of the mean variance of both directions."""
    network = state.degradation.kernel
    z = torch.randn(NUM_KERNELS, network.config.z, 1, 1, generator=torch.Generator().manual_seed(0))
    with eval_mode(network):
        _, yy, xx, _ = compute_moments(clear_negative_taps(network(z.to(state.device))))
    return float(((yy + xx) / 2).sqrt().mean())
