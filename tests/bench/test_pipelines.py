"""The hand-made pipelines draw within their papers' ranges, keep the geometry and depend on the seed alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bench import pipelines
from bench.pipelines import (
    FIRST_ROUND,
    SECOND_ROUND,
    Round,
    degrade_second_order,
    degrade_shuffled,
    draw_kernel,
    draw_round_or_elliptical,
    draw_size,
    make_sinc,
)
from tests.support.images import make_picture

Array = NDArray[Any]
DEGRADE = [degrade_second_order, degrade_shuffled]


def widths(kernel: Array) -> tuple[float, float]:
    """Returns the two standard deviations of a kernel, the larger first."""
    offset = np.arange(len(kernel)) - (len(kernel) - 1) / 2
    y, x = np.meshgrid(offset, offset, indexing="ij")
    covariance = np.cov(np.stack([y.ravel(), x.ravel()]), aweights=kernel.ravel(), ddof=0)
    minor, major = np.sqrt(np.linalg.eigvalsh(covariance))
    return float(major), float(minor)


@pytest.mark.parametrize("settings", [FIRST_ROUND, SECOND_ROUND])
def test_second_order_kernels_are_in_range(settings: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelines, "SINC_PROBABILITY", 0)
    rng = np.random.default_rng(0)
    kernels = [draw_kernel(settings.sigma, rng) for _ in range(300)]
    assert {len(kernel) for kernel in kernels} == set(range(7, 22, 2))
    for kernel in kernels:
        assert kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1)
    monkeypatch.setattr(pipelines, "KERNEL_SHAPE_PROBABILITIES", (1, 0, 0))
    gaussians = [widths(draw_kernel(settings.sigma, rng)) for _ in range(300)]
    # Sampled at whole pixels, the narrowest become a single tap; small windows cut off the widest.
    assert max(major for major, _ in gaussians) == pytest.approx(settings.sigma[1], abs=0.25)
    round_ones = sum(major - minor < 1e-6 for major, minor in gaussians)
    assert round_ones / len(gaussians) > 0.45 / 0.7 - 0.1


def test_sizes_of_a_round_are_in_range() -> None:
    rng = np.random.default_rng(0)
    factors = np.array([draw_size((1000, 1000), FIRST_ROUND, rng)[0] / 1000 for _ in range(2000)])
    assert 0.15 <= factors.min() < 0.17
    assert 1.48 < factors.max() <= 1.5
    assert [np.mean(factors > 1), np.mean(factors < 1), np.mean(factors == 1)] == pytest.approx(
        [0.2, 0.7, 0.1], abs=0.03
    )


@pytest.mark.parametrize("cutoff", [np.pi / 3, 2.0])
def test_a_sinc_filter_passes_low_frequencies(cutoff: float) -> None:
    response = np.abs(np.fft.fft2(make_sinc(21, cutoff), (128, 128)))[0, :65]
    frequency = np.linspace(0, np.pi, 65)
    assert response[0] == pytest.approx(1)
    assert response[frequency < 0.6 * cutoff].min() > 0.8
    assert response[frequency > 1.3 * cutoff].max() < 0.2


def test_shuffled_kernels_are_in_range() -> None:
    rng = np.random.default_rng(0)
    found = np.array([widths(draw_round_or_elliptical(4, rng)) for _ in range(400)])
    assert found.max() <= np.sqrt(8) + 0.01
    assert np.mean(found[:, 0] - found[:, 1] < 1e-6) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("degrade", DEGRADE)
def test_the_seed_decides_and_pixels_stay_in_place(degrade: Callable[..., NDArray[np.uint8]]) -> None:
    hr = np.asarray(Image.fromarray(make_picture(40, 48)).resize((192, 160), Image.Resampling.BICUBIC))
    first, second = (degrade(hr, 4, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (40, 48, 3)
    assert first.dtype == np.uint8
    rng = np.random.default_rng(0)
    mean = np.mean([degrade(hr, 4, rng).astype(float) for _ in range(40)], 0)
    boxes = hr.reshape(40, 4, 48, 4, 3).mean((1, 3))

    def match(down: int, right: int) -> float:
        shifted = np.roll(boxes, (down, right), (0, 1))[4:-4, 4:-4]
        return float(np.corrcoef(shifted.ravel(), mean[4:-4, 4:-4].ravel())[0, 1])

    still = match(0, 0)
    for one, other in (((1, 0), (-1, 0)), ((0, 1), (0, -1))):
        # The vertex of the parabola through three correlations is the shift in low-resolution pixels.
        ahead, behind = match(*one), match(*other)
        assert abs((ahead - behind) / (2 * (2 * still - ahead - behind))) < 0.1


def test_sensor_noise_keeps_flat_gray() -> None:
    gray = np.full((3, 32, 40), 0.5, np.float32)
    noisy = pipelines.add_sensor_noise(gray, np.random.default_rng(0))
    assert noisy.shape == gray.shape
    assert np.abs(noisy.mean((1, 2)) - 0.5).max() < 0.02
    assert noisy.std() > 0
