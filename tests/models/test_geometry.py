from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.geometry import (
    SCALES,
    apply_kernel,
    centered_kernel_size,
    centered_origin,
    conv_strided,
    paper_origin,
    reflect_indices,
)
from tests.support.model_factories import direct_sum


@given(start=st.integers(-40, 5), count=st.integers(1, 80), length=st.integers(1, 9))
def test_reflection_equals_numpys(start: int, count: int, length: int) -> None:
    padded = np.pad(np.arange(length), (50, 100), mode="reflect")
    assert reflect_indices(start, count, length).tolist() == padded[50 + start : 50 + start + count].tolist()


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    taps=st.integers(4, 21),
    scale=st.sampled_from(SCALES),
    paper=st.booleans(),
    seed=st.integers(0, 99),
)
def test_apply_kernel_equals_direct_summation(
    shape: tuple[int, int], taps: int, scale: int, paper: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    hr = rng.uniform(size=(2, *shape, 3))
    kernels = rng.uniform(size=(2, taps, taps))
    kernels /= kernels.sum((1, 2), keepdims=True)
    first = paper_origin(taps) if paper else centered_origin(taps, scale)
    lr = apply_kernel(
        torch.from_numpy(hr).permute(0, 3, 1, 2).float(), torch.from_numpy(kernels).float(), scale, (first, first)
    )
    expected = [direct_sum(image, kernel, scale, (first, first)) for image, kernel in zip(hr, kernels, strict=True)]
    assert lr.shape == (2, 3, shape[0] // scale, shape[1] // scale)
    np.testing.assert_allclose(lr.permute(0, 2, 3, 1).numpy(), np.stack(expected), atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_a_centered_kernel_samples_at_pixel_centers(scale: int) -> None:
    """A centered kernel keeps a linear ramp, so a pixel's value is the position of its sampling point."""
    taps = centered_kernel_size(scale)
    ramp = torch.arange(320.0).double().expand(1, 1, 320, 320)
    box = torch.full((1, taps, taps), 1 / taps**2).double()
    first = centered_origin(taps, scale)
    lr = apply_kernel(ramp, box, scale, (first, first))
    inner = torch.arange(10, 320 // scale - 10)
    torch.testing.assert_close(lr[0, 0, 20, 10:-10], (scale * inner + (scale - 1) / 2).double(), atol=1e-4, rtol=0)


def test_origins_of_windows() -> None:
    assert centered_origin(21, 4) == -8
    assert centered_origin(24, 4) == -10
    assert centered_origin(21, 3) == -9
    assert paper_origin(21) == -10


def test_the_kernels_gradient_is_the_derivative() -> None:
    generator = torch.Generator().manual_seed(0)
    for scale, taps in [(1, 3), (2, 5), (3, 4), (4, 9), (8, 9)]:
        window = torch.rand(2, 3, 2 * scale + taps, 3 * scale + taps, generator=generator, dtype=torch.float64)
        kernel = torch.rand(2, taps, taps, generator=generator, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(lambda k, w=window, s=scale: conv_strided(w, k, s), kernel)
