from __future__ import annotations

import numpy as np
import pytest
import torch

import models.inference.blur
import models.inference.int8_blur
from models.fixed_point import quantize_kernels
from models.inference.blur import blur
from models.inference.int8_blur import supports_int8_dot
from tests.models.test_geometry import direct_sum

CPU = torch.device("cpu")


@pytest.mark.parametrize("count", [1, 2, 4, 5, 8, 9, 17])
@pytest.mark.parametrize(
    ("shape", "scale", "size", "origin"),
    [
        ((101, 67), 4, 21, (-8, -10)),
        ((9, 5), 2, 22, (-10, -10)),
        ((4, 300), 4, 11, (-5, 0)),
        ((50, 64), 3, 23, (2, -20)),
    ],
)
@pytest.mark.parametrize("band", [1, models.inference.blur.BAND_PIXELS])
@pytest.mark.parametrize("by_bytes", [False, True])
def test_it_is_exact_for_every_number_of_kernels(
    monkeypatch: pytest.MonkeyPatch,
    by_bytes: bool,
    band: int,
    shape: tuple[int, int],
    scale: int,
    size: int,
    origin: tuple[int, int],
    count: int,
) -> None:
    if by_bytes and not supports_int8_dot():
        pytest.skip("the processor does not multiply bytes")
    monkeypatch.setattr(models.inference.blur, "supports_int8_dot", lambda: by_bytes)
    monkeypatch.setattr(models.inference.blur, "BAND_PIXELS", band)
    monkeypatch.setattr(models.inference.int8_blur, "BAND_ELEMENTS", 200 * band)
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    weight = rng.random((count, size, size)) ** 4
    weight[:, :3] = weight[:, :, -1:] = 0  # borders of zeros are left out, and must not shift it
    kernels = quantize_kernels(torch.from_numpy(weight))
    blurred = blur(hr, kernels, scale, origin, CPU).numpy()
    for kernel, image in zip(kernels, blurred, strict=True):
        expected = direct_sum(hr.astype(np.float64), kernel.numpy().astype(np.float64), scale, origin)
        assert (image.transpose(1, 2, 0) == expected).all()


@pytest.mark.parametrize("weight", [0.99, 0.997, 1.0])
def test_it_is_exact_for_kernels_that_are_all_but_a_point(weight: float) -> None:
    kernel = torch.full((1, 9, 9), (1 - weight) / 80)
    kernel[0, 4, 4] = weight
    kernels = quantize_kernels(kernel)
    hr = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    expected = direct_sum(hr.astype(np.float64), kernels[0].numpy().astype(np.float64), 4, (-3, -3))
    assert (blur(hr, kernels, 4, (-3, -3), CPU)[0].numpy().transpose(1, 2, 0) == expected).all()
