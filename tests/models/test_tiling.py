from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from models.device import measure_free_memory
from models.geometry import SCALES
from models.inference import tiling
from models.inference.tiling import plan_tiles, super_resolve, upscale_rows
from models.networks.edsr import EDSR, EDSRConfig
from tests.support.images import make_picture
from tests.support.model_factories import make_edsr, upscale_untiled


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("global_skip", [False, True])
@pytest.mark.parametrize(("shape", "tile"), [((37, 29), 8), ((37, 29), 11), ((5, 50), 16), ((7, 7), 64), ((1, 1), 1)])
def test_tiles_join_without_a_seam(scale: int, global_skip: bool, shape: tuple[int, int], tile: int) -> None:
    edsr = make_edsr(scale, global_skip)
    lr = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    sr = super_resolve(edsr, lr, tile=tile, dtype=torch.float32)
    assert sr.shape == (shape[0] * scale, shape[1] * scale, 3)
    assert np.abs(sr - upscale_untiled(edsr, lr)).max() <= 0.5 + 1e-2


def test_the_receptive_radius_is_exact() -> None:
    """A pixel at the radius changes the output; the next one does not."""
    for scale, global_skip in [(1, True), (2, False), (3, False), (4, True), (8, True)]:
        edsr = make_edsr(scale, global_skip).double()
        radius = edsr.config.receptive_radius
        lr = torch.rand(1, 3, 1, 2 * radius + 3, dtype=torch.float64, requires_grad=True)
        middle = radius + 1
        edsr(lr)[..., middle * scale : (middle + 1) * scale].sum().backward()
        assert lr.grad is not None
        reached = lr.grad.abs().sum((0, 1, 2)) > 0
        assert not reached[0]
        assert not reached[-1]
        assert reached[1]


def test_progress_is_reported_and_may_cancel() -> None:
    reported: list[float] = []
    lr = np.zeros((20, 10, 3), np.uint8)
    for _ in upscale_rows(make_edsr(2, False), lr, tile=7, on_progress=reported.append):
        pass
    assert len(reported) >= 3
    assert reported == sorted(reported)
    assert reported[-1] == 1

    def cancel(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(upscale_rows(make_edsr(2, False), lr, tile=7, on_progress=cancel))


def test_an_image_too_wide_for_the_memory_is_enlarged_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    edsr = make_edsr(2, False)
    lr = np.random.default_rng(0).integers(0, 256, (40, 150, 3), dtype=np.uint8)
    whole = super_resolve(edsr, lr)
    assert plan_tiles(edsr.config, 40, 150, None, torch.device("cpu")).columns == 150
    monkeypatch.setattr(tiling, "measure_free_memory", lambda device: 2**19)
    assert plan_tiles(edsr.config, 40, 150, None, torch.device("cpu")).columns < 75
    rows = list(upscale_rows(edsr, lr))
    assert np.abs(np.concatenate(rows).astype(int) - whole).max() <= 1


def test_band_size_depends_on_memory_and_not_on_the_image() -> None:
    """This checks the plan. bench/sr.py measures the memory itself."""
    device = torch.device("cpu")
    for config in (EDSRConfig(), EDSRConfig(2), EDSRConfig(4, width=32, blocks=8)):
        small, large = (plan_tiles(config, side, side, None, device) for side in (500, 5000))
        assert small.band_pixels == large.band_pixels
        assert 8 * 4 * config.width * small.band_pixels <= measure_free_memory(device) / 4


def test_bfloat16_changes_little() -> None:
    edsr = EDSR(EDSRConfig(4, width=16, blocks=4, global_skip=True))
    nn.init.normal_(edsr.tail[1].weight, std=0.02)  # type: ignore[arg-type]
    lr = make_picture(40, 50)
    exact, rough = (super_resolve(edsr, lr, dtype=dtype).astype(float) for dtype in (torch.float32, torch.bfloat16))
    assert np.abs(exact - rough).max() > 0
    assert np.square(exact - rough).mean() < 0.3


@pytest.mark.parametrize(
    "lr", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_other_shapes_and_types_are_refused(lr: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="image"):
        super_resolve(make_edsr(2, False), lr)
