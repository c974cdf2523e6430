from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

import models.inference.blur
from models.degradation import Degradation, DegradationConfig
from models.fixed_point import FIXED_POINT_SCALE, quantize_kernels
from models.inference.int8_blur import supports_int8_dot
from models.inference.triplet import degrade_image
from models.networks.kernel import (
    MAX_NEGATIVE_MASS,
    KernelConfig,
    KernelNetwork,
    clear_negative_taps,
    elongation_penalty,
    sharpen_kernels,
)
from tests.support.model_factories import rebuild
from training.report.metrics import principal_axes

CONFIG = KernelConfig(
    z=2,
    blocks=1,
    size=24,
    batch_norm=False,
    initial_sigma=2,
    smoothing=1,
    parametric_ellipse=True,
    sharpening_amount=0.8,
    sharpening_radius=4,
)


def make_kernel(sigma_x: float, sigma_y: float) -> Tensor:
    """A Gaussian in the middle of 24 taps, (1, 24, 24)."""
    offset = torch.arange(24.0) - 11.5
    kernel = (-((offset[None] / sigma_x) ** 2 + (offset[:, None] / sigma_y) ** 2) / 2).exp()
    return (kernel / kernel.sum())[None]


def sharpen(kernel: Tensor, amount: float, radius: float) -> Tensor:
    return sharpen_kernels(kernel, amount, radius)


@pytest.mark.parametrize(("amount", "radius"), [(0.5, 2.0), (1.5, 1.5), (1.0, 3.0)])
def test_a_sharpened_kernel_is_an_unsharp_mask(amount: float, radius: float) -> None:
    kernel = make_kernel(1.6, 1.1)
    wide = np.pad(kernel[0].double().numpy(), 20)
    expected = wide + amount * (wide - gaussian_filter(wide, radius, truncate=8))
    assert np.abs(sharpen(kernel, amount, radius)[0].numpy() - expected[20:-20, 20:-20]).max() < 1e-3


@pytest.mark.parametrize("amount", [0.0, 0.3, 3.0])
def test_sharpened_kernels_stay_centered_and_bounded(amount: float) -> None:
    for kernel in (make_kernel(0.5, 0.5), make_kernel(1.5, 3), make_kernel(5, 5)):
        for radius in (1.0, 4.0, 8.0):
            (sharpened,) = sharpen(kernel, amount, radius).double()
            offset = torch.arange(24.0, dtype=torch.float64) - 11.5
            assert sharpened.sum().item() == pytest.approx(1, abs=1e-5)
            assert (sharpened.sum(1) @ offset).abs() < 1e-4
            assert (sharpened.sum(0) @ offset).abs() < 1e-4
            assert -sharpened.clamp_max(0).sum() <= MAX_NEGATIVE_MASS + 1e-5


def test_without_an_amount_a_kernel_stays_as_it_is() -> None:
    assert torch.equal(sharpen(make_kernel(2, 1), 0.0, 3.0), make_kernel(2, 1))


def test_a_sharpened_kernel_has_the_width_of_its_core() -> None:
    for radius in (2.0, 4.0):
        major, minor, _, center = principal_axes(sharpen(make_kernel(1.8, 1.2), 1.0, radius))
        assert major.item() == pytest.approx(1.8, rel=0.25)
        assert minor.item() == pytest.approx(1.2, rel=0.25)
        assert center[0].tolist() == pytest.approx([11.5, 11.5], abs=1e-4)
    assert elongation_penalty(sharpen(make_kernel(1.5, 1.5), 2.0, 4.0)) < 1e-6
    assert torch.equal(clear_negative_taps(make_kernel(2, 1)), make_kernel(2, 1) / make_kernel(2, 1).sum())


def test_negative_taps_are_rounded_to_a_sum_of_one() -> None:
    weight = sharpen(make_kernel(1.2, 0.9), 1.5, 3.0)
    steps = quantize_kernels(weight).double() * FIXED_POINT_SCALE
    assert weight.min() < -0.005
    assert torch.equal(steps, steps.round())
    assert steps.sum() == FIXED_POINT_SCALE
    assert (steps - weight.double() / weight.double().sum() * FIXED_POINT_SCALE).abs().max() < 1


@pytest.mark.parametrize("int8", [False, True])
def test_triplets_of_sharpened_kernels_are_exact(monkeypatch: pytest.MonkeyPatch, int8: bool) -> None:
    if int8 and not supports_int8_dot():
        pytest.skip("this processor has no fast int8 dot product")
    monkeypatch.setattr(models.inference.blur, "supports_int8_dot", lambda: int8)
    torch.manual_seed(0)
    model = Degradation(DegradationConfig(4, CONFIG, noise=None, center_kernels=True)).eval()
    blocks = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (7, 5, 3))  # edges overshoot
    hr = blocks.repeat(15, 0).repeat(13, 1)[:101]
    triplet = degrade_image(model, hr, seed=1, seed_key="ab", sample=0)
    assert triplet.kernel.min() < -0.001
    assert triplet.kernel.sum(dtype=np.float64) == 1
    exact = rebuild(hr, triplet, model)
    assert exact.min() < 0
    assert (np.clip(exact, 0, 255).round() == triplet.lr).all()


def test_a_temperature_widens_kernels_by_its_root() -> None:
    torch.manual_seed(0)
    network = KernelNetwork(replace(CONFIG, sharpening_amount=0.0), 11.5)
    z = torch.randn(8, 2, 1, 1)
    before = principal_axes(network(z))
    network.config = replace(network.config, temperature=1.5)
    after = principal_axes(network(z))
    for axis in (0, 1):
        assert (after[axis] / before[axis]).mean().item() == pytest.approx(1.5**0.5, rel=0.02)
    assert (after[3] - 11.5).abs().max() < 1e-3
