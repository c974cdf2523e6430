from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.kernel import KernelConfig, KernelNetwork, convexity, elongation


def drawn(across: float, down: float, power: float = 2.0, turn: float = 0.0, at: float = 0.0) -> Tensor:
    """exp(-r^power / 2) in a window of 24 taps, `at` so many taps to the right of its middle."""
    offset = torch.arange(24.0) - 11.5
    y, x = offset[:, None], offset[None] - at
    u, v = math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x
    kernel = (-(((u / across) ** 2 + (v / down) ** 2) ** (power / 2)) / 2).exp()
    return (kernel / kernel.sum())[None]


@pytest.mark.parametrize("kernel", [drawn(1, 1), drawn(3, 1, turn=0.4), drawn(4, 4, power=8), drawn(2, 2, power=1)])
def test_gaussians_ellipses_and_disks_are_log_concave(kernel: Tensor) -> None:
    assert convexity(kernel) < 1e-3


def test_lumps_and_tails_are_not() -> None:
    two_lumps = (drawn(1, 1, at=-4) + drawn(1, 1, at=4)) / 2
    tail = 0.98 * drawn(1, 1) + 0.02 / 24**2
    assert convexity(two_lumps) > 0.1
    assert convexity(tail) > 0.01
    assert convexity(torch.cat([two_lumps, drawn(1, 1)])).item() == pytest.approx(
        convexity(two_lumps).item() / 2, rel=0.1
    )


def test_elongation_of_a_gaussian_is_that_of_its_widths() -> None:
    for turn in (0.0, 0.7, 2.0):
        assert elongation(drawn(3, 1.5, turn=turn)).item() == pytest.approx(((9 - 2.25) / (9 + 2.25)) ** 2, rel=0.03)
    assert elongation(drawn(2, 2)) < 1e-9


def test_both_lead_a_network_to_plain_kernels() -> None:
    torch.manual_seed(0)
    network = KernelNetwork(KernelConfig(z=2, blocks=1, size=24, batch_norm=False, initial_sigma=2, smoothing=1), 11.5)
    torch.nn.init.normal_(network.head.bias, std=4)  # type: ignore[arg-type]
    z = torch.randn(16, 2, 1, 1)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    before = convexity(network(z)).item(), elongation(network(z)).item()
    for _ in range(60):
        optimizer.zero_grad()
        torch.autograd.backward(convexity(network(z)) + elongation(network(z)))
        optimizer.step()
    assert convexity(network(z)) < 0.3 * before[0]
    assert elongation(network(z)) < before[1] + 0.01
