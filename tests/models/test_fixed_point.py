from __future__ import annotations

import numpy as np
import pytest
import torch

from models.fixed_point import FIXED_POINT_SCALE, quantize_kernels, quantize_noise


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 30.0])
def test_quantized_kernels_sum_to_one_and_are_nearest(sharpness: float) -> None:
    weight = np.random.default_rng(0).random((3, 21, 21)) ** sharpness
    kernels = quantize_kernels(torch.from_numpy(5 * weight)).numpy()
    steps = kernels.astype(np.float64) * FIXED_POINT_SCALE
    assert kernels.dtype == np.float32
    assert (steps == steps.round()).all()
    assert (kernels.sum((1, 2)) == 1).all()  # in float32, exactly
    assert (kernels >= 0).all()
    assert np.abs(steps - weight / weight.sum((1, 2), keepdims=True) * FIXED_POINT_SCALE).max() < 1


def test_faint_tails_keep_their_total_weight() -> None:
    """Taps below half a step would all round to 0, and the kernel would become narrower."""
    weight = np.full((1, 21, 21), 0.3 / FIXED_POINT_SCALE)
    weight[0, 10, 10] += 1 - weight.sum()
    kernel = quantize_kernels(torch.from_numpy(weight))[0].numpy()
    assert kernel.sum() - kernel[10, 10] == pytest.approx(440 * 0.3 / FIXED_POINT_SCALE, abs=1 / FIXED_POINT_SCALE)


def test_float64_errors_do_not_change_a_symmetric_kernel() -> None:
    square = (np.arange(21) - 10.0) ** 2
    weight = np.exp(-(square[:, None] + square[None]) / 8)
    perturbed = weight * (1 + 1e-13 * np.random.default_rng(0).standard_normal((21, 21)))
    one, other = (quantize_kernels(torch.from_numpy(each)[None]) for each in (weight, perturbed))
    assert (one == other).all()


def test_quantized_noise_moves_by_half_a_step_at_most() -> None:
    noise = torch.randn(10_000, generator=torch.Generator().manual_seed(0)) * 0.1
    quantized = quantize_noise(noise)
    assert quantized.dtype == torch.float32
    assert (quantized - noise).abs().max() <= 0.5 / FIXED_POINT_SCALE
    assert ((quantized.double() * FIXED_POINT_SCALE) % 1 == 0.5).all()
    assert (quantized - noise).mean().abs() < 0.01 / FIXED_POINT_SCALE  # no shift
