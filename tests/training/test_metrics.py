"""Figures of kernels and noise against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from tests.training.stubs import SIZE, gaussian
from training.report.metrics import NoiseSums, kernels_of

CENTRED = (-(SIZE - 4) // 2,) * 2


def test_widths_and_response_of_a_gaussian() -> None:
    figures = kernels_of(torch.stack([gaussian(2.5, 1.2, angle) for angle in (0.0, 0.4, 2.0)]), CENTRED, 4)
    assert figures.major.mean == pytest.approx(2.5, abs=0.01)
    assert figures.minor.p5 == pytest.approx(1.2, abs=0.01)
    assert figures.elongation == pytest.approx(2.5 / 1.2, abs=0.02)
    assert figures.off_centre.p95 < 1e-4
    round_ = kernels_of(gaussian(1.5, 1.5)[None], CENTRED, 4)
    for transfer in round_.transfer:
        expected = math.exp(-2 * (math.pi * transfer.frequency * 1.5) ** 2)
        assert transfer.response == pytest.approx(expected, abs=1e-3)
    assert [transfer.frequency for transfer in round_.transfer][-1] == 0.125  # half a cycle a low-resolution pixel


def test_where_kernels_lie_and_point() -> None:
    shifted = torch.stack([gaussian(2, 1, 0.3, shift=0.7)] * 4)
    figures = kernels_of(shifted, CENTRED, 4)
    assert figures.off_centre.mean == pytest.approx(0.7, abs=0.01)
    assert figures.orientation == pytest.approx(1, abs=0.01)
    assert figures.diversity == pytest.approx(0, abs=1e-6)
    turned = torch.stack([gaussian(2, 1, math.pi * part / 8) for part in range(8)])
    assert kernels_of(turned, CENTRED, 4).orientation < 0.01
    apart = torch.zeros(2, SIZE, SIZE)
    apart[0, 3, 3] = apart[1, 9, 9] = 1
    assert kernels_of(apart, CENTRED, 4).diversity == pytest.approx(1)
    assert kernels_of(torch.full((1, SIZE, SIZE), SIZE**-2.0), CENTRED, 4).at_border == pytest.approx(
        92 / 576, rel=1e-4
    )


def test_noise_of_known_correlation() -> None:
    generator = torch.Generator().manual_seed(0)
    sums = NoiseSums()
    for _ in range(4):
        white = torch.randn(2, 3, 130, 130, generator=generator)
        # Neighbours to the right share half of what they are made of; red and green share a third of their power.
        grain = functional.avg_pool2d(white, (1, 2), 1)[:, :, :128, :128] * math.sqrt(2)
        grain = torch.stack([grain[:, 0], (grain[:, 0] + math.sqrt(2) * grain[:, 1]) / math.sqrt(3), grain[:, 2]], 1)
        blurred = torch.full_like(grain, 100.0)
        sums.add(5 * grain + 2, blurred)
    noise = sums.noise()
    assert noise.level.mean == pytest.approx(5, rel=0.02)
    assert noise.right == pytest.approx(0.5, abs=0.02)
    assert noise.below == pytest.approx(0, abs=0.02)
    assert noise.diagonal == pytest.approx(0, abs=0.02)
    assert noise.red_green == pytest.approx(1 / math.sqrt(3), abs=0.02)
    assert noise.green_blue == pytest.approx(0, abs=0.02)
    assert [entry.brightness for entry in noise.by_brightness] == [112]
    colours = sums.colours()
    assert colours.red == pytest.approx(2, abs=0.1)
    assert colours.blue == pytest.approx(2, abs=0.1)
    assert colours.spread < 0.1


def test_noise_that_grows_with_brightness() -> None:
    sums = NoiseSums()
    blurred = torch.linspace(0, 255, 256)[None, None, None].expand(1, 3, 200, 256)
    sums.add(0.04 * blurred * torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0)), blurred)
    by_brightness = sums.noise().by_brightness
    assert [entry.brightness for entry in by_brightness] == list(range(16, 256, 32))
    for entry in by_brightness:
        assert entry.level == pytest.approx(0.04 * entry.brightness, abs=0.15)


def test_no_noise_has_no_correlation() -> None:
    sums = NoiseSums()
    sums.add(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))
    noise = sums.noise()
    assert (noise.level.mean, noise.right, noise.red_green) == (0, 0, 0)
