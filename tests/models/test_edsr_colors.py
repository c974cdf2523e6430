"""Flat, white, black and gray images stay what they are, up to their borders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from models.inference.tiling import super_resolve
from models.networks.edsr import EDSR, EDSRConfig
from tests.support.images import make_picture
from tests.support.model_factories import upscale_untiled

COLORS = ((255, 255, 255), (0, 0, 0), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255))


def make_random_edsr(scale: int = 4, pixel_range: int = 1, border: int = 0) -> EDSR:
    """Returns a network whose output differs from the bicubic enlargement by some levels."""
    edsr = EDSR(EDSRConfig(scale, 8, 2, 1.0, True, True, pixel_range, border))
    last = edsr.tail.get_submodule("0.0")
    assert isinstance(last, nn.Conv2d)
    nn.init.normal_(last.weight, std=0.02)
    return edsr.eval()


def flat(color: tuple[int, int, int], height: int = 9, width: int = 14) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array(color, np.uint8), (height, width, 3)).copy()


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_the_border_of_a_flat_image_is_its_middle(scale: int) -> None:
    config = EDSRConfig(scale, 8, 2, global_skip=True, single_upsample=True)
    torch.manual_seed(0)
    edsr = make_random_edsr(scale=scale, pixel_range=1, border=config.receptive_radius)
    for color in ((20, 90, 200), (128, 128, 128)):
        sr = super_resolve(edsr, flat(color), dtype=torch.float32).astype(int)
        cells = sr.reshape(9, scale, 14, scale, 3)
        assert np.abs(cells - cells[4:5, :, 7:8]).max() <= 1
        assert not np.array_equal(sr, np.broadcast_to(color, sr.shape))


@pytest.mark.parametrize("pixel_range", [1, 255])
@pytest.mark.parametrize(("border", "tile"), [(0, None), (5, None), (5, 6), (20, 4)])
def test_a_border_gives_the_same_whole_and_in_tiles(pixel_range: int, border: int, tile: int | None) -> None:
    edsr = make_random_edsr(pixel_range=pixel_range, border=border)
    lr = make_picture(13, 17)
    sr = super_resolve(edsr, lr, tile=tile, dtype=torch.float32)
    assert sr.shape == (52, 68, 3)
    assert np.abs(sr - upscale_untiled(edsr, lr)).max() <= 0.5 + 1e-2
    assert edsr.train()(torch.rand(1, 3, 5, 6)).shape == (1, 3, 20, 24)  # without a border


def test_a_gray_image_stays_gray() -> None:
    edsr = make_random_edsr(pixel_range=1, border=4)
    gray = make_picture(12, 15)[..., :1].repeat(3, 2)
    sr = super_resolve(edsr, gray, dtype=torch.float32)
    assert (sr == sr[..., :1]).all()
    assert np.abs(sr - upscale_untiled(edsr, gray).mean(2, keepdims=True)).max() <= 0.5 + 1e-2
    color = gray.copy()
    color[3, 4, 1] += 1
    sr = super_resolve(edsr, color)
    assert (sr != sr[..., :1]).any()


def test_other_ranges_and_borders_are_refused() -> None:
    with pytest.raises(ValueError, match="pixel_range"):
        EDSRConfig(pixel_range=2)
    with pytest.raises(ValueError, match="border"):
        EDSRConfig(border=-1)
