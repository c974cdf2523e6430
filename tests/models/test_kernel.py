from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.networks.kernel import (
    ELONGATION_SCALE,
    KernelConfig,
    KernelNetwork,
    elongation_penalty,
    gaussian_logits,
    log_concavity_penalty,
)


def make_kernel(sigma_x: float, sigma_y: float, power: float = 2.0, angle: float = 0.0, shift: float = 0.0) -> Tensor:
    """exp(-r^power / 2) in a window of 24 taps, `shift` taps to the right of its middle. Shape (1, 24, 24)."""
    offset = torch.arange(24.0) - 11.5
    y, x = offset[:, None], offset[None] - shift
    u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    kernel = (-(((u / sigma_x) ** 2 + (v / sigma_y) ** 2) ** (power / 2)) / 2).exp()
    return (kernel / kernel.sum())[None]


@pytest.mark.parametrize(
    "kernel", [make_kernel(1, 1), make_kernel(3, 1, angle=0.4), make_kernel(4, 4, power=8), make_kernel(2, 2, power=1)]
)
def test_gaussians_ellipses_and_disks_are_log_concave(kernel: Tensor) -> None:
    assert log_concavity_penalty(kernel) < 1e-3


def test_lumps_and_tails_are_penalized() -> None:
    two_lumps = (make_kernel(1, 1, shift=-4) + make_kernel(1, 1, shift=4)) / 2
    tail = 0.98 * make_kernel(1, 1) + 0.02 / 24**2
    assert log_concavity_penalty(two_lumps) > 0.1
    assert log_concavity_penalty(tail) > 0.01
    assert log_concavity_penalty(torch.cat([two_lumps, make_kernel(1, 1)])).item() == pytest.approx(
        log_concavity_penalty(two_lumps).item() / 2, rel=0.1
    )


def test_elongation_penalty_is_small_for_nearly_round_kernels() -> None:
    for angle in (0.0, 0.7, 2.0):
        assert elongation_penalty(make_kernel(3, 1.5, angle=angle)).item() == pytest.approx(
            0.36 / (0.36 + ELONGATION_SCALE**2), rel=0.01
        )
        assert elongation_penalty(make_kernel(2.1, 2, angle=angle)).item() == pytest.approx(
            0.0024 / (0.0024 + ELONGATION_SCALE**2), rel=0.05
        )
    assert elongation_penalty(make_kernel(2, 2)) < 1e-6
    of_both = elongation_penalty(torch.cat([make_kernel(3, 1.5), make_kernel(2, 2)])).item()
    assert of_both == pytest.approx(elongation_penalty(make_kernel(3, 1.5)).item() / 2, rel=1e-3)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.9])
def test_three_numbers_set_a_gaussians_sigmas_and_angle(angle: float) -> None:
    minor, major = 1.2, 3.0  # sigmas in taps; the major axis lies `angle` from x towards y
    log_minor, log_major = (math.log((sigma**-2 - 6**-2) / (2**-2 - 6**-2)) for sigma in (minor, major))
    n, length = (log_minor + log_major) / 2, (log_minor - log_major) / 2
    shape = torch.tensor([[n, -length * math.cos(2 * angle), -length * math.sin(2 * angle)]])
    kernel = gaussian_logits(shape, 24, 11.5, sigma=2).softmax(1).view(1, 24, 24)
    assert torch.allclose(kernel, make_kernel(major, minor, angle=angle), atol=1e-6)


def test_gaussians_start_round_and_fit_their_window() -> None:
    start, widest = (
        gaussian_logits(torch.tensor([[0.0, 0, 0], [-30, 0, 0]]), 24, 11.5, sigma=2).softmax(1).view(2, 24, 24)
    )
    assert torch.allclose(start, make_kernel(2, 2)[0], atol=1e-6)
    assert torch.allclose(widest, make_kernel(6, 6)[0], atol=1e-6)


def test_a_parametric_ellipse_fits_a_sharp_gaussian_fast() -> None:
    torch.manual_seed(0)
    config = KernelConfig(
        z=2, blocks=1, size=24, batch_norm=False, initial_sigma=2, smoothing=1, parametric_ellipse=True
    )
    network, sharp = KernelNetwork(config, 11.5), make_kernel(0.8, 0.8)
    optimizer = torch.optim.Adam(network.parameters(), 0.005)
    for _ in range(100):
        optimizer.zero_grad()
        torch.autograd.backward((network(torch.randn(16, 2, 1, 1)) - sharp).square().sum((1, 2)).mean())
        optimizer.step()
    assert (network(torch.randn(64, 2, 1, 1)) - sharp).abs().sum((1, 2)).mean() < 0.2


def test_a_parametric_ellipse_needs_initial_sigma() -> None:
    with pytest.raises(ValueError, match="initial_sigma"):
        KernelConfig(parametric_ellipse=True)


def test_both_penalties_lead_to_simple_kernels() -> None:
    torch.manual_seed(0)
    network = KernelNetwork(KernelConfig(z=2, blocks=1, size=24, batch_norm=False, initial_sigma=2, smoothing=1), 11.5)
    torch.nn.init.normal_(network.head.bias, std=4)  # type: ignore[arg-type]
    z = torch.randn(16, 2, 1, 1)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    before = log_concavity_penalty(network(z)).item(), elongation_penalty(network(z)).item()
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(log_concavity_penalty(network(z)) + elongation_penalty(network(z)))
        optimizer.step()
    assert log_concavity_penalty(network(z)) < 0.3 * before[0]
    assert elongation_penalty(network(z)) < 0.05 * before[1]  # with log_concavity_penalty alone it would be 0.07


def test_a_single_tap_is_round_and_has_a_finite_gradient() -> None:
    kernel = torch.zeros(1, 24, 24)
    kernel[0, 11, 11] = 1
    kernel.requires_grad_(True)
    elongation = elongation_penalty(kernel)
    torch.autograd.backward(elongation)
    assert elongation == 0
    assert kernel.grad is not None
    assert kernel.grad.isfinite().all()
