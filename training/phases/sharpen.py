"""The sharpen phase: kernels get the unsharp mask that the real photos' edges show, once, after the matching.

The estimator cannot tell sharpening from a narrower kernel, so no phase before learns it. Sharpened pairs teach the
EDSR to sharpen less, which is right where a camera did it already (docs/experiments/035-sharpening.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.degradation import DegradationConfig, eval_mode
from models.losses import quantize_ste
from models.networks.kernel import KernelConfig, clear_negative_taps, compute_moments
from training.data.photos import Photos, thin_out
from training.distributed import share_object, share_weights
from training.estimator.overshoot import Overshoot, measure_overshoot
from training.state import TrainState

MAX_PHOTOS = 40
SIDE = 192  # of the center of a photo that is measured, in low-resolution pixels
AMOUNTS = (0.8, 1.6)  # of unsharp masks that are tried
RADII = (1.0, 2.0)  # of the masks, in low-resolution pixels
SIGNIFICANT = 2.5  # standard errors by which real photos must overshoot more than generated ones
NUM_KERNELS = 64  # drawn to hold their width
MAX_TEMPERATURE, BISECTIONS = 8.0, 12


@torch.no_grad()
def sharpen(state: TrainState, lr_photos: Photos, hr_photos: Photos) -> dict[str, float]:
    """Sets the unsharp mask with which generated photos overshoot at edges as real ones do.

    None, unless real ones overshoot significantly further. The positive taps keep their width. Returns metrics.
    """
    real = measure_overshoot([center(photo, SIDE) for photo in _choose(lr_photos)])
    generated = _measure_generated(state, hr_photos)
    if real is None or generated is None or (errors := _standard_errors(real, generated)) < SIGNIFICANT:
        return {"sharpening_amount": 0.0}
    before, width = state.config.degradation, _mean_width(state)
    certainty = 1 - errors**-2  # a difference that may be chance is shrunk, as James and Stein do
    best, smallest = before.kernel, math.inf
    for radius in RADII:
        amounts, overshoots, profiles = [0.0], [generated.mean], [generated.profile]
        for amount in AMOUNTS:
            _set_mask(state, before, amount, radius, width)
            if (tried := _measure_generated(state, hr_photos)) is None:
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
            _set_mask(state, before, certainty * amount, radius, width)
            best, smallest = state.config.degradation.kernel, distance
    set_kernel_config(state, best)
    return {"sharpening_amount": best.sharpening_amount}


def _measure_generated(state: TrainState, hr_photos: Photos) -> Overshoot | None:
    """Measures photos that are generated from the centers of clean ones, always with the same latents."""
    scale, degradation = state.config.scale, state.degradation
    generator = torch.Generator().manual_seed(state.seed)
    photos = []
    with eval_mode(degradation):
        for photo in _choose(hr_photos):
            clean = torch.from_numpy(np.array(center(photo, SIDE * scale)))
            clean = clean.permute(2, 0, 1)[None].to(state.device).float() / 255
            size = clean.shape[2] // scale, clean.shape[3] // scale
            latents = degradation.draw_latents(1, size, generator).to(state.device)
            lr = 255 * quantize_ste(degradation(clean, latents).lr)[0]
            photos.append(lr.permute(1, 2, 0).round().byte().cpu().numpy())
    return measure_overshoot(photos)


def _set_mask(state: TrainState, before: DegradationConfig, amount: float, radius: float, width: float) -> None:
    """Sets the unsharp mask, and the temperature with which kernels keep their width."""
    kernel = replace(before.kernel, sharpening_amount=amount, sharpening_radius=radius * before.scale)
    low, high = 1.0, MAX_TEMPERATURE
    for _ in range(BISECTIONS):
        middle = (low * high) ** 0.5
        set_kernel_config(state, replace(kernel, temperature=before.kernel.temperature * middle))
        low, high = (middle, high) if _mean_width(state) < width else (low, middle)


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


def _mean_width(state: TrainState) -> float:
    """Returns the mean width of drawn kernels' positive taps: the root of the mean variance of both directions."""
    network = state.degradation.kernel
    z = torch.randn(NUM_KERNELS, network.config.z, 1, 1, generator=torch.Generator().manual_seed(0))
    with eval_mode(network):
        _, yy, xx, _ = compute_moments(clear_negative_taps(network(z.to(state.device))))
    return float(((yy + xx) / 2).sqrt().mean())


def _standard_errors(real: Overshoot, generated: Overshoot) -> float:
    return (real.mean - generated.mean) / float(np.hypot(real.error, generated.error) + 1e-9)


def _choose(photos: Photos) -> Iterator[NDArray[np.uint8]]:
    return (photos[index] for index in thin_out(list(range(len(photos))), MAX_PHOTOS))


def center(photo: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Returns the center of a photo (h, w, 3), up to `side` pixels high and wide."""
    height, width = (min(side, full) for full in photo.shape[:2])
    top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    return photo[top : top + height, left : left + width]
