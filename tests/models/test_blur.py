from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import models.inference.blur
import models.inference.int8_blur
from models.fixed_point import quantize_kernels
from models.inference.blur import blur
from models.inference.int8_blur import supports_int8_dot
from tests.support.model_factories import direct_sum

CPU = torch.device("cpu")


@pytest.mark.parametrize("count", [1, 2, 4, 5, 8, 9, 17])
@pytest.mark.parametrize(
    ("shape", "scale", "size", "origin"),
    [
        ((101, 67), 4, 21, (-8, -10)),
        ((9, 5), 2, 22, (-10, -10)),
        ((4, 300), 4, 11, (-5, 0)),
        ((50, 64), 3, 23, (2, -20)),
        ((20, 31), 1, 21, (-10, -10)),
        ((75, 130), 8, 48, (-20, -20)),
    ],
)
@pytest.mark.parametrize("band", [1, models.inference.blur.BAND_PIXELS])
@pytest.mark.parametrize("int8", [False, True])
def test_blur_is_exact_for_every_number_of_kernels(
    monkeypatch: pytest.MonkeyPatch,
    int8: bool,
    band: int,
    shape: tuple[int, int],
    scale: int,
    size: int,
    origin: tuple[int, int],
    count: int,
) -> None:
    if int8 and not supports_int8_dot():
        pytest.skip("this processor has no fast int8 dot product")
    monkeypatch.setattr(models.inference.blur, "supports_int8_dot", lambda: int8)
    monkeypatch.setattr(models.inference.blur, "BAND_PIXELS", band)
    monkeypatch.setattr(models.inference.int8_blur, "BAND_ELEMENTS", 200 * band)
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    weight = rng.random((count, size, size)) ** 4
    weight[:, :3] = weight[:, :, -1:] = 0  # borders of zeros are cropped, which must not shift the result
    kernels = quantize_kernels(torch.from_numpy(weight))
    blurred = blur(hr, kernels, scale, origin, CPU).numpy()
    for kernel, image in zip(kernels, blurred, strict=True):
        expected = direct_sum(hr.astype(np.float64), kernel.numpy().astype(np.float64), scale, origin)
        assert (image.transpose(1, 2, 0) == expected).all()


@pytest.mark.parametrize("weight", [0.99, 0.997, 1.0])
def test_blur_is_exact_for_kernels_that_are_nearly_a_point(weight: float) -> None:
    kernel = torch.full((1, 9, 9), (1 - weight) / 80)
    kernel[0, 4, 4] = weight
    kernels = quantize_kernels(kernel)
    hr = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    expected = direct_sum(hr.astype(np.float64), kernels[0].numpy().astype(np.float64), 4, (-3, -3))
    assert (blur(hr, kernels, 4, (-3, -3), CPU)[0].numpy().transpose(1, 2, 0) == expected).all()


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A processor with int8 dot products, and torch's private operators simulated in float. A test may break them."""

    def prepack(weight: Tensor, *_: Any) -> Tensor:
        return weight.float()

    def conv(image: Tensor, scale: float, zero_point: int, weight: Tensor, *rest: Any) -> Tensor:
        stride = rest[3]
        return torch.nn.functional.conv2d(image.float(), weight, stride=stride)

    simulated = SimpleNamespace(qconv_prepack=prepack, qconv2d_pointwise=conv)
    monkeypatch.setattr(torch.ops, "onednn", simulated)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True})
    supports_int8_dot.cache_clear()
    yield simulated
    supports_int8_dot.cache_clear()


def assert_blur_is_exact() -> None:
    hr = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    kernels = quantize_kernels(torch.rand(2, 9, 9))
    for kernel, image in zip(kernels, blur(hr, kernels, 4, (-3, -3), CPU).numpy(), strict=True):
        expected = direct_sum(hr.astype(np.float64), kernel.numpy().astype(np.float64), 4, (-3, -3))
        assert (image.transpose(1, 2, 0) == expected).all()


def test_int8_is_used_where_its_operators_agree(operators: SimpleNamespace) -> None:
    assert supports_int8_dot()
    assert_blur_is_exact()


@pytest.mark.parametrize("missing", ["qconv_prepack", "qconv2d_pointwise"])
def test_blur_falls_back_if_an_operator_is_missing(operators: SimpleNamespace, missing: str) -> None:
    delattr(operators, missing)
    assert not supports_int8_dot()
    assert_blur_is_exact()


def test_blur_falls_back_if_an_operator_raises(operators: SimpleNamespace) -> None:
    def refuse(*_: Any) -> Tensor:
        raise RuntimeError("expected other arguments")

    operators.qconv2d_pointwise = refuse
    assert not supports_int8_dot()
    assert_blur_is_exact()


def test_blur_falls_back_if_an_operator_is_wrong(operators: SimpleNamespace) -> None:
    """As one would be that saturates at 16 bits."""
    conv = operators.qconv2d_pointwise
    operators.qconv2d_pointwise = lambda *arguments: conv(*arguments).clamp(max=32767)
    assert not supports_int8_dot()
    assert_blur_is_exact()


def test_int8_operators_are_compared_only_once(operators: SimpleNamespace) -> None:
    assert supports_int8_dot()
    del operators.qconv_prepack
    assert supports_int8_dot()


def test_int8_is_not_tried_without_hardware_support(
    operators: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": False})
    assert not supports_int8_dot()
