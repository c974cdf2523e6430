"""Metrics of kernels and noise against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from tests.support.degradation_stubs import SIZE, make_gaussian
from training.report.metrics import NoiseAccumulator, measure_kernels

CENTERED = (-(SIZE - 4) // 2,) * 2


def test_widths_and_response_of_a_gaussian() -> None:
    metrics = measure_kernels(torch.stack([make_gaussian(2.5, 1.2, angle) for angle in (0.0, 0.4, 2.0)]), CENTERED, 4)
    assert metrics.major.mean == pytest.approx(2.5, abs=0.01)
    assert metrics.minor.p5 == pytest.approx(1.2, abs=0.01)
    assert metrics.elongation == pytest.approx(2.5 / 1.2, abs=0.02)
    assert metrics.off_center.p95 < 1e-4
    round_ = measure_kernels(make_gaussian(1.5, 1.5)[None], CENTERED, 4)
    for transfer in round_.transfer:
        expected = math.exp(-2 * (math.pi * transfer.frequency * 1.5) ** 2)
        assert transfer.response == pytest.approx(expected, abs=1e-3)
    assert [transfer.frequency for transfer in round_.transfer][-1] == 0.125  # half a cycle per low-resolution pixel


def test_position_direction_and_diversity_of_kernels() -> None:
    shifted = torch.stack([make_gaussian(2, 1, 0.3, shift=0.7)] * 4)
    metrics = measure_kernels(shifted, CENTERED, 4)
    assert metrics.off_center.mean == pytest.approx(0.7, abs=0.01)
    assert metrics.orientation == pytest.approx(1, abs=0.01)
    assert metrics.diversity == pytest.approx(0, abs=1e-6)
    rotated = torch.stack([make_gaussian(2, 1, math.pi * part / 8) for part in range(8)])
    assert measure_kernels(rotated, CENTERED, 4).orientation < 0.01
    disjoint = torch.zeros(2, SIZE, SIZE)
    disjoint[0, 3, 3] = disjoint[1, 9, 9] = 1
    assert measure_kernels(disjoint, CENTERED, 4).diversity == pytest.approx(1)
    uniform = torch.full((1, SIZE, SIZE), SIZE**-2.0)
    assert measure_kernels(uniform, CENTERED, 4).border_mass == pytest.approx(92 / 576, rel=1e-4)


def test_noise_of_known_correlation() -> None:
    generator = torch.Generator().manual_seed(0)
    accumulator = NoiseAccumulator()
    for _ in range(4):
        white = torch.randn(2, 3, 130, 130, generator=generator)
        # Neighbors to the right share half of their white noise. Red and green share a third of their power.
        noise = functional.avg_pool2d(white, (1, 2), 1)[:, :, :128, :128] * math.sqrt(2)
        noise = torch.stack([noise[:, 0], (noise[:, 0] + math.sqrt(2) * noise[:, 1]) / math.sqrt(3), noise[:, 2]], 1)
        blurred = torch.full_like(noise, 100.0)
        accumulator.add(5 * noise + 2, blurred)
    metrics = accumulator.get_noise_metrics()
    assert metrics.std.mean == pytest.approx(5, rel=0.02)
    assert metrics.corr_right == pytest.approx(0.5, abs=0.02)
    assert metrics.corr_down == pytest.approx(0, abs=0.02)
    assert metrics.corr_diagonal == pytest.approx(0, abs=0.02)
    assert metrics.corr_red_green == pytest.approx(1 / math.sqrt(3), abs=0.02)
    assert metrics.corr_green_blue == pytest.approx(0, abs=0.02)
    assert [entry.brightness for entry in metrics.by_brightness] == [112]
    colors = accumulator.get_color_bias()
    assert colors.red == pytest.approx(2, abs=0.1)
    assert colors.blue == pytest.approx(2, abs=0.1)
    assert colors.spread < 0.1


def test_noise_that_grows_with_brightness() -> None:
    accumulator = NoiseAccumulator()
    blurred = torch.linspace(0, 255, 256)[None, None, None].expand(1, 3, 200, 256)
    white = torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))
    accumulator.add(0.04 * blurred * white, blurred)
    by_brightness = accumulator.get_noise_metrics().by_brightness
    assert [entry.brightness for entry in by_brightness] == list(range(16, 256, 32))
    for entry in by_brightness:
        assert entry.std == pytest.approx(0.04 * entry.brightness, abs=0.15)


def test_zero_noise_has_no_correlation() -> None:
    accumulator = NoiseAccumulator()
    accumulator.add(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))
    metrics = accumulator.get_noise_metrics()
    assert (metrics.std.mean, metrics.corr_right, metrics.corr_red_green) == (0, 0, 0)
