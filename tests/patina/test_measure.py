"""The demo's metrics, against other libraries and known values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from patina.demo.camera import gaussian_kernel
from patina.demo.measure import measure_kernel, psnr, wasserstein

samples = st.lists(st.floats(-100, 100), min_size=1, max_size=20)


@given(samples, samples)
def test_wasserstein_equals_scipy(first: list[float], second: list[float]) -> None:
    assert wasserstein(first, second) == pytest.approx(wasserstein_distance(first, second), abs=1e-9)


def test_wasserstein_of_shifted_samples_is_the_shift() -> None:
    values = np.random.default_rng(0).normal(size=50)
    assert wasserstein(values, values + 2.5) == pytest.approx(2.5)


def test_gaussian_kernel_has_its_sigmas() -> None:
    shape = measure_kernel(gaussian_kernel(2.0, 1.2, 0.7, 24), (-10, -10), scale=4)
    assert (shape.major, shape.minor) == pytest.approx((2.0, 1.2), abs=0.01)
    assert shape.center_offset == pytest.approx(0, abs=1e-9)


def test_center_offset_of_shifted_kernel_is_the_shift() -> None:
    shape = measure_kernel(gaussian_kernel(1.0, 1.0, 0, 24), (-10 + 3, -10 - 4), scale=4)
    assert shape.center_offset == pytest.approx(5)


def test_psnr_of_a_known_error() -> None:
    truth = np.full((20, 20, 3), 100, np.uint8)
    # An error of one level in all channels is 219/255 of a level of luma.
    assert psnr(truth + np.uint8(1), truth, 4) == pytest.approx(20 * np.log10(255 * 255 / 219), abs=1e-6)
