"""The same pixels for any shapes, tiles, bands and batches."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from models import geometry
from models.inference.tiling import super_resolve
from models.inference.triplet import degrade_image, degrade_samples
from tests.support.model_factories import (
    FILTERED,
    make_degradation,
    make_edsr,
    make_float64_edsr,
    rebuild,
    upscale_in_bands,
    upscale_untiled,
)

FEW = settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
SIDES = st.tuples(st.integers(1, 40), st.integers(1, 40))
SCALES = st.sampled_from(geometry.SCALES)
SEEDS = st.integers(0, 2**63 - 1)


@FEW
@given(shape=SIDES, scale=SCALES, tile=st.integers(1, 50), skip=st.booleans())
def test_tiles_of_any_size_join_to_the_whole(shape: tuple[int, int], scale: int, tile: int, skip: bool) -> None:
    assume(shape[0] * shape[1] / tile**2 < 60)  # more tiles take seconds
    edsr = make_edsr(scale, skip)
    lr = np.random.default_rng(tile).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert (
        np.abs(super_resolve(edsr, lr, tile=tile, dtype=torch.float32) - upscale_untiled(edsr, lr)).max() <= 0.5 + 1e-2
    )


@FEW
@given(shape=SIDES, scale=SCALES, rows=st.integers(1, 50), single_upsample=st.booleans())
def test_bands_of_any_height_join_to_the_whole(
    shape: tuple[int, int], scale: int, rows: int, single_upsample: bool
) -> None:
    edsr = make_float64_edsr(scale, single_upsample=single_upsample)
    lr = torch.rand(1, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(rows))
    with torch.no_grad():
        torch.testing.assert_close(upscale_in_bands(edsr, lr, rows), edsr(lr), rtol=0, atol=1e-10)


@FEW
@given(
    shape=st.tuples(st.integers(8, 60), st.integers(8, 60)),
    scale=SCALES,
    seed=SEEDS,
    samples=st.lists(st.integers(0, 10**6), min_size=1, max_size=5, unique=True),
    taps=st.integers(4, 21),
)
def test_a_sample_adds_up_and_does_not_depend_on_others(
    shape: tuple[int, int], scale: int, seed: int, samples: list[int], taps: int
) -> None:
    assume(taps >= scale)
    torch.manual_seed(0)
    model = make_degradation(scale, FILTERED, size=taps)
    hr = np.random.default_rng(taps).integers(0, 256, (*shape, 3), dtype=np.uint8)
    together = degrade_samples(model, hr, seed=seed, seed_key="ab", samples=samples)
    for sample, triplet in zip(samples, together, strict=True):
        alone = degrade_image(model, hr, seed=seed, seed_key="ab", sample=sample)
        for one, other in ((alone.lr, triplet.lr), (alone.kernel, triplet.kernel), (alone.noise, triplet.noise)):
            assert one.tobytes() == other.tobytes()
        assert triplet.lr.shape == (shape[0] // scale, shape[1] // scale, 3)
        assert (np.clip(rebuild(hr, triplet, model), 0, 255).round() == triplet.lr).all()


@FEW
@given(seeds=st.lists(SEEDS, min_size=2, max_size=2, unique=True))
def test_another_seed_gives_another_degradation(seeds: list[int]) -> None:
    model = make_degradation(4, FILTERED)
    hr = np.full((16, 16, 3), 128, np.uint8)
    one, other = (degrade_image(model, hr, seed=seed, seed_key="ab", sample=0) for seed in seeds)
    assert not np.array_equal(one.kernel, other.kernel)
    assert not np.array_equal(one.noise, other.noise)
