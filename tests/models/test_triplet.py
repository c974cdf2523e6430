from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import models.inference.blur
import models.inference.noise_fields
import models.inference.triplet
from models.geometry import reflect_indices
from models.inference.triplet import SourceImage, TripletSampler, degrade_image, degrade_samples
from models.jpeg import compress
from models.networks.noise import NoiseConfig
from tests.support.model_factories import FILTERED, SPATIAL, make_degradation, rebuild


@pytest.mark.parametrize("noise", [None, NoiseConfig(), NoiseConfig(condition_on_image=True, dim=3), SPATIAL, FILTERED])
@pytest.mark.parametrize(
    ("scale", "shape"), [(4, (101, 67)), (3, (50, 64)), (2, (9, 5)), (1, (21, 34)), (8, (170, 90))]
)
def test_triplets_add_up_exactly(noise: NoiseConfig | None, scale: int, shape: tuple[int, int]) -> None:
    hr = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for model in (
        make_degradation(scale, noise),
        make_degradation(scale, noise, size=11, centered=False),
        make_degradation(scale, noise, qualities=(60,)),
        make_degradation(scale, noise, qualities=(100,)),
    ):
        triplet = degrade_image(model, hr, seed=1, seed_key="ab", sample=0)
        assert triplet.lr.shape == (shape[0] // scale, shape[1] // scale, 3)
        assert triplet.lr.dtype == np.uint8
        assert triplet.kernel.dtype == triplet.noise.dtype == np.float32
        assert triplet.kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
        assert (np.clip(rebuild(hr, triplet, model), 0, 255).round() == triplet.lr).all()


@pytest.mark.parametrize("noise", [SPATIAL, FILTERED])
def test_noise_is_clipped_in_black_and_white(noise: NoiseConfig) -> None:
    hr = np.zeros((120, 160, 3), np.uint8)
    hr[:, 80:] = 255
    model = make_degradation(4, noise)
    triplet = degrade_image(model, hr, seed=1, seed_key="ab", sample=0)
    noisy = rebuild(hr, triplet, model)
    assert np.abs(noisy - triplet.lr).max() <= 0.5
    black, white = triplet.noise[:, :16], triplet.noise[:, -16:]
    assert (black.min(), white.max()) == (0, 0)
    assert black.max() > 0.01
    assert white.min() < -0.01


@pytest.mark.parametrize("noise", [NoiseConfig(), FILTERED])
def test_float32_sums_are_exact_in_any_order(noise: NoiseConfig) -> None:
    model = make_degradation(4, noise)
    hr = np.random.default_rng(0).integers(0, 256, (80, 96, 3), dtype=np.uint8)
    triplet = degrade_image(model, hr, seed=1, seed_key="ab", sample=0)
    rows = reflect_indices(model.kernel_origin[0], 76 + 21, 80)
    cols = reflect_indices(model.kernel_origin[1], 92 + 21, 96)
    windows = torch.from_numpy(hr)[rows][:, cols].float().unfold(0, 21, 4).unfold(1, 21, 4)  # (h, w, 3, K, K)
    products = (windows * torch.from_numpy(triplet.kernel)).flatten(3)
    for order in (torch.arange(21**2), torch.randperm(21**2), torch.arange(21**2).flip(0)):
        total = 255 * torch.from_numpy(triplet.noise).expand(20, 24, 3).clone()
        for tap in order.tolist():
            total += products[..., tap]
        assert (total.clamp(0, 255).round() == torch.from_numpy(triplet.lr)).all()


@pytest.mark.parametrize("noise", [NoiseConfig(), SPATIAL, FILTERED])
def test_no_pixel_is_near_an_edge_of_rounding(noise: NoiseConfig) -> None:
    """So other programs round it the same, in any units and precision."""
    model = make_degradation(4, noise)
    hr = np.random.default_rng(0).integers(0, 256, (201, 160, 3), dtype=np.uint8)
    exact = rebuild(hr, degrade_image(model, hr, seed=1, seed_key="ab", sample=0), model)
    assert np.abs(exact - np.floor(exact) - 0.5).min() >= 2.0**-16


def test_compression_is_part_of_the_noise() -> None:
    hr = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8), 10, 0), 10, 1)
    plain, compressing = (make_degradation(4, FILTERED, qualities=qualities) for qualities in [(100,), (30,)])
    compressing.load_state_dict(plain.state_dict())
    one, other = (degrade_image(model, hr, seed=1, seed_key="ab", sample=0) for model in (plain, compressing))
    assert (one.kernel == other.kernel).all()
    expected = compress(torch.from_numpy(one.lr).permute(2, 0, 1)[None].float(), torch.tensor([30]))
    assert (expected[0].permute(1, 2, 0).numpy() == other.lr).all()
    assert not np.array_equal(one.lr, other.lr)


def test_a_sample_depends_on_seed_source_and_index_alone() -> None:
    model = make_degradation(4, SPATIAL)
    hr = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    first = degrade_image(model, hr, seed=1, seed_key="ab", sample=0)
    degrade_image(model, hr, seed=9, seed_key="cd", sample=4)
    again = degrade_image(model, hr, seed=1, seed_key="ab", sample=0)
    assert first.lr.tobytes() == again.lr.tobytes()
    assert first.noise.tobytes() == again.noise.tobytes()
    for seed, source, sample in [(2, "ab", 0), (1, "ac", 0), (1, "ab", 1)]:
        other = degrade_image(model, hr, seed=seed, seed_key=source, sample=sample)
        assert not np.array_equal(first.kernel, other.kernel)
        assert not np.array_equal(first.noise, other.noise)


@pytest.mark.parametrize("noise", [None, NoiseConfig(), SPATIAL, FILTERED])
def test_a_sample_does_not_depend_on_others_in_its_batch(noise: NoiseConfig | None) -> None:
    model = make_degradation(4, noise)
    hr = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    samples = list(range(40, 0, -2))
    together = degrade_samples(model, hr, seed=1, seed_key="ab", samples=samples)
    for sample, triplet in zip(samples, together, strict=True):
        alone = degrade_image(model, hr, seed=1, seed_key="ab", sample=sample)
        for one, other in ((alone.lr, triplet.lr), (alone.kernel, triplet.kernel), (alone.noise, triplet.noise)):
            assert one.tobytes() == other.tobytes()


def test_a_batch_of_images_gives_each_images_own_triplets() -> None:
    model = make_degradation(4, FILTERED)
    hr = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    parts = {"ab": hr[:60, 50:], "cd": hr[40:, :30], "ef": hr}
    sources = [SourceImage(part, key, list(range(n * 6))) for n, (key, part) in enumerate(parts.items(), start=1)]
    results = list(TripletSampler(model).sample(sources, seed=1))
    assert [(index, sample) for index, sample, _ in results] == [(n, k) for n in range(3) for k in range(6 * n + 6)]
    for index, sample, triplet in results:
        part, key = np.ascontiguousarray(sources[index].hr), sources[index].seed_key
        alone = degrade_image(model, part, seed=1, seed_key=key, sample=sample)
        for one, other in ((alone.lr, triplet.lr), (alone.kernel, triplet.kernel), (alone.noise, triplet.noise)):
            assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("qualities", [(), (40,)])
@pytest.mark.parametrize("noise", [NoiseConfig(), SPATIAL, FILTERED])
def test_bands_join_without_a_seam(
    monkeypatch: pytest.MonkeyPatch, noise: NoiseConfig, qualities: tuple[int, ...]
) -> None:
    model = make_degradation(4, noise, qualities=qualities)
    hr = np.random.default_rng(0).integers(0, 256, (301, 120, 3), dtype=np.uint8)
    whole = degrade_image(model, hr, seed=1, seed_key="ab", sample=0)
    monkeypatch.setattr(models.inference.triplet, "BAND_PIXELS", 200)
    monkeypatch.setattr(models.inference.triplet, "STEP_PIXELS", 200)
    monkeypatch.setattr(models.inference.blur, "BAND_PIXELS", 200)
    monkeypatch.setattr(models.inference.noise_fields, "CHUNK_PIXELS", 200)
    banded = degrade_image(model, hr, seed=1, seed_key="ab", sample=0)
    for one, other in ((banded.lr, whole.lr), (banded.kernel, whole.kernel), (banded.noise, whole.noise)):
        assert one.tobytes() == other.tobytes()


def test_degrading_keeps_training_mode_and_statistics() -> None:
    model = make_degradation(4, SPATIAL).train()
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers()}
    degrade_image(model, np.zeros((16, 16, 3), np.uint8), seed=1, seed_key="ab", sample=0)
    assert model.training
    assert all((buffer == statistics[name]).all() for name, buffer in model.named_buffers())


@pytest.mark.parametrize("shape", [(3, 40, 3), (40, 3, 3), (40, 40), (40, 40, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="image"):
        degrade_image(make_degradation(4, None), np.zeros(shape, np.uint8), seed=1, seed_key="ab", sample=0)


MEASURE = """
import hashlib, resource, numpy as np, torch
from models.degradation import Degradation, DegradationConfig
from models.networks.kernel import KernelConfig
from models.networks.noise import NoiseConfig
from models.inference.triplet import degrade_image
torch.set_num_threads(1)
noise = NoiseConfig(condition_on_image=True, spatial=True, dim=3, width=64, head_kernel=3, body_kernel=3)
model = Degradation(DegradationConfig(4, KernelConfig(), noise))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
hr = np.random.default_rng(0).integers(0, 256, (1356, 2040, 3), dtype=np.uint8)
degrade_image(model, hr[:64, :64], seed=0, seed_key="", sample=0)
before = peak()
degrade_image(model, hr, seed=0, seed_key="", sample=0)
print((peak() - before) / 1024)
noise = NoiseConfig(condition_on_image=True, dim=3, width=16, blocks=1, num_filters=4)
model = Degradation(DegradationConfig(4, KernelConfig(), noise, jpeg_qualities=(60,)))
hr = np.zeros((4000, 6000, 3), np.uint8)
before = peak()
degrade_image(model, hr, seed=0, seed_key="", sample=0)
print((peak() - before) / 1024)
"""


def test_a_large_image_needs_little_memory() -> None:
    """Peak memory in MiB above the process's own: for the presets' largest noise network, and for 24 megapixels."""
    process = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    with_largest_network, for_largest_image = map(float, process.stdout.split())
    assert with_largest_network < 120
    assert for_largest_image < 2 * 4000 * 6000 * 3 / 2**20
