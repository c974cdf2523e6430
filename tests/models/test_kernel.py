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


def drawn(across: float, down: float, power: float = 2.0, turn: float = 0.0, at: float = 0.0) -> Tensor:
    """exp(-r^power / 2) in a window of 24 taps, `at` so many taps to the right of its middle."""
    offset = torch.arange(24.0) - 11.5
    y, x = offset[:, None], offset[None] - at
    u, v = math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x
    kernel = (-(((u / across) ** 2 + (v / down) ** 2) ** (power / 2)) / 2).exp()
    return (kernel / kernel.sum())[None]


@pytest.mark.parametrize("kernel", [drawn(1, 1), drawn(3, 1, turn=0.4), drawn(4, 4, power=8), drawn(2, 2, power=1)])
def test_gaussians_ellipses_and_disks_are_log_concave(kernel: Tensor) -> None:
    assert log_concavity_penalty(kernel) < 1e-3


def test_lumps_and_tails_are_not() -> None:
    two_lumps = (drawn(1, 1, at=-4) + drawn(1, 1, at=4)) / 2
    tail = 0.98 * drawn(1, 1) + 0.02 / 24**2
    assert log_concavity_penalty(two_lumps) > 0.1
    assert log_concavity_penalty(tail) > 0.01
    assert log_concavity_penalty(torch.cat([two_lumps, drawn(1, 1)])).item() == pytest.approx(
        log_concavity_penalty(two_lumps).item() / 2, rel=0.1
    )


def test_a_long_kernel_counts_as_elongated_and_one_a_little_off_round_for_little() -> None:
    for turn in (0.0, 0.7, 2.0):
        assert elongation_penalty(drawn(3, 1.5, turn=turn)).item() == pytest.approx(
            0.36 / (0.36 + ELONGATION_SCALE**2), rel=0.01
        )
        assert elongation_penalty(drawn(2.1, 2, turn=turn)).item() == pytest.approx(
            0.0024 / (0.0024 + ELONGATION_SCALE**2), rel=0.05
        )
    assert elongation_penalty(drawn(2, 2)) < 1e-6
    of_both = elongation_penalty(torch.cat([drawn(3, 1.5), drawn(2, 2)])).item()
    assert of_both == pytest.approx(elongation_penalty(drawn(3, 1.5)).item() / 2, rel=1e-3)


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.9])
def test_three_numbers_are_a_gaussians_widths_and_direction(turn: float) -> None:
    across, along = 1.2, 3.0  # standard deviations in taps; `along` lies `turn` from x towards y
    of_across, of_along = (math.log((width**-2 - 6**-2) / (2**-2 - 6**-2)) for width in (across, along))
    narrow, flat = (of_across + of_along) / 2, (of_across - of_along) / 2
    shape = torch.tensor([[narrow, -flat * math.cos(2 * turn), -flat * math.sin(2 * turn)]])
    kernel = gaussian_logits(shape, 24, 11.5, sigma=2).softmax(1).view(1, 24, 24)
    assert torch.allclose(kernel, drawn(along, across, turn=turn), atol=1e-6)


def test_an_ellipse_starts_round_and_is_never_wider_than_its_window_holds() -> None:
    start, widest = (
        gaussian_logits(torch.tensor([[0.0, 0, 0], [-30, 0, 0]]), 24, 11.5, sigma=2).softmax(1).view(2, 24, 24)
    )
    assert torch.allclose(start, drawn(2, 2)[0], atol=1e-6)
    assert torch.allclose(widest, drawn(6, 6)[0], atol=1e-6)


def test_a_network_of_ellipses_finds_a_sharp_gaussian_soon() -> None:
    torch.manual_seed(0)
    config = KernelConfig(
        z=2, blocks=1, size=24, batch_norm=False, initial_sigma=2, smoothing=1, parametric_ellipse=True
    )
    network, sharp = KernelNetwork(config, 11.5), drawn(0.8, 0.8)
    optimizer = torch.optim.Adam(network.parameters(), 0.005)
    for _ in range(100):
        optimizer.zero_grad()
        torch.autograd.backward((network(torch.randn(16, 2, 1, 1)) - sharp).square().sum((1, 2)).mean())
        optimizer.step()
    assert (network(torch.randn(64, 2, 1, 1)) - sharp).abs().sum((1, 2)).mean() < 0.2


def test_an_ellipse_needs_a_width_to_start_from() -> None:
    with pytest.raises(ValueError, match="initial_sigma"):
        KernelConfig(parametric_ellipse=True)


def test_both_lead_a_network_to_plain_kernels() -> None:
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
    assert elongation_penalty(network(z)) < 0.05 * before[1]  # without lumps alone it would be 0.07


def test_a_single_tap_is_not_elongated_and_gives_a_gradient() -> None:
    kernel = torch.zeros(1, 24, 24)
    kernel[0, 11, 11] = 1
    kernel.requires_grad_(True)
    elongation = elongation_penalty(kernel)
    torch.autograd.backward(elongation)
    assert elongation == 0
    assert kernel.grad is not None
    assert kernel.grad.isfinite().all()
