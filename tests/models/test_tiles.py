from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from models.edsr import EDSR, EDSRConfig
from models.tiles import default_tile, super_resolve


def untiled(edsr: EDSR, lr: NDArray[np.uint8]) -> NDArray[np.float64]:
    with torch.no_grad():
        sr = edsr(torch.from_numpy(lr).permute(2, 0, 1)[None].float() / 255)
    return np.asarray(sr[0].permute(1, 2, 0).double().clamp(0, 1).numpy() * 255)


def network(scale: int, global_skip: bool) -> EDSR:
    edsr = EDSR(EDSRConfig(scale, width=8, blocks=3, global_skip=global_skip))
    nn.init.normal_(edsr.tail[1].weight, std=0.5)  # type: ignore[arg-type]
    return edsr


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("global_skip", [False, True])
@pytest.mark.parametrize(("shape", "tile"), [((37, 29), 8), ((37, 29), 11), ((5, 50), 16), ((7, 7), 64), ((1, 1), 1)])
def test_tiles_join_without_a_seam(scale: int, global_skip: bool, shape: tuple[int, int], tile: int) -> None:
    edsr = network(scale, global_skip)
    lr = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    sr = super_resolve(edsr, lr, tile=tile)
    assert sr.shape == (shape[0] * scale, shape[1] * scale, 3)
    assert np.abs(sr - untiled(edsr, lr)).max() <= 0.5 + 1e-2


def test_a_narrower_halo_would_show() -> None:
    """The halo is what the network needs: one pixel outside it changes nothing, the pixel inside it does."""
    for scale, global_skip in [(2, False), (3, False), (4, True)]:
        edsr = network(scale, global_skip).double()
        halo = edsr.config.halo
        lr = torch.rand(1, 3, 1, 2 * halo + 3, dtype=torch.float64, requires_grad=True)
        middle = halo + 1
        edsr(lr)[..., middle * scale : (middle + 1) * scale].sum().backward()
        assert lr.grad is not None
        reached = lr.grad.abs().sum((0, 1, 2)) > 0
        assert not reached[0]
        assert not reached[-1]
        assert reached[1]


def test_progress_is_told_and_can_stop() -> None:
    told: list[tuple[int, int]] = []
    super_resolve(network(2, False), np.zeros((20, 10, 3), np.uint8), tile=10, after_tile=lambda *at: told.append(at))
    assert told == [(1, 2), (2, 2)]

    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        super_resolve(network(2, False), np.zeros((20, 10, 3), np.uint8), tile=10, after_tile=cancel)


def test_default_tiles_fit_the_memory() -> None:
    for config in (EDSRConfig(), EDSRConfig(2), EDSRConfig(4, width=32, blocks=8)):
        side = (default_tile(config) + 2 * config.halo) * config.scale
        assert 3 * 4 * config.width * side**2 <= 256 * 2**20
        assert default_tile(config) >= 64


@pytest.mark.parametrize(
    "lr", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_not_an_image_is_refused(lr: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="image"):
        super_resolve(network(2, False), lr)
