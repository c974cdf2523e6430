"""Rows that are processed in bands equal those of the whole image."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from models.geometry import SCALES
from models.inference.streaming import StreamingEDSR
from models.networks.fused_tail import FusedTail
from tests.support.model_factories import make_float64_edsr, upscale_in_bands


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("single_upsample", [False, True])
@pytest.mark.parametrize(("shape", "rows"), [((1, 1), 1), ((2, 3), 1), ((33, 5), 1), ((40, 1), 7), ((20, 12), 64)])
def test_bands_join_to_the_whole(scale: int, single_upsample: bool, shape: tuple[int, int], rows: int) -> None:
    for global_skip in (False, True):
        edsr = make_float64_edsr(scale, global_skip=global_skip, single_upsample=single_upsample)
        lr = torch.rand(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            torch.testing.assert_close(upscale_in_bands(edsr, lr, rows), edsr(lr), rtol=0, atol=1e-10)


def test_rows_are_returned_as_soon_as_possible() -> None:
    edsr = make_float64_edsr(4)
    lr = torch.rand(1, 3, 50, 6, dtype=torch.float64)
    fed: list[Tensor] = []

    def bands() -> Iterator[Tensor]:
        for band in torch.split(lr, 1, 2):
            fed.append(band)
            yield band

    with torch.inference_mode():
        first = next(iter(StreamingEDSR(edsr, torch.float64).upscale_rows(bands(), 50)))
    assert first.shape == (1, 3, 4, 24)
    assert len(fed) == edsr.config.receptive_radius + 1


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("single_upsample", [False, True])
def test_the_fused_tail_has_the_tails_output_and_gradients(scale: int, single_upsample: bool) -> None:
    edsr = make_float64_edsr(scale, single_upsample=single_upsample)
    features = torch.rand(2, 8, 6, 5, dtype=torch.float64, requires_grad=True)
    weights = list(edsr.tail.parameters())
    results = []
    for tail in (edsr.tail, FusedTail(edsr.tail, scale)):
        image = tail(features)
        results.append([image, *torch.autograd.grad(image.square().sum(), [features, *weights])])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
