from __future__ import annotations

import numpy as np
import pytest
import torch

import models.blur
from models.blur import blur
from models.grid import kernels_on_grid
from tests.models.test_sampling import direct_sum

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
@pytest.mark.parametrize("band", [1, models.blur.BAND_PIXELS])
def test_it_is_exact_for_every_number_of_kernels(
    monkeypatch: pytest.MonkeyPatch,
    band: int,
    shape: tuple[int, int],
    scale: int,
    size: int,
    origin: tuple[int, int],
    count: int,
) -> None:
    monkeypatch.setattr(models.blur, "BAND_PIXELS", band)
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    weight = rng.random((count, size, size)) ** 4
    weight[:, :3] = weight[:, :, -1:] = 0  # borders of zeros are left out, and must not shift it
    kernels = kernels_on_grid(torch.from_numpy(weight))
    blurred = blur(hr, kernels, scale, origin, CPU).numpy()
    for kernel, image in zip(kernels, blurred, strict=True):
        expected = direct_sum(hr.astype(np.float64), kernel.numpy().astype(np.float64), scale, origin)
        assert (image.transpose(1, 2, 0) == expected).all()
