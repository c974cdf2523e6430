"""From photos to pairs and enlarged images, at the scales with geometry of their own: 1 keeps the size, 8 is far."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from models.checkpoint import load_degradation, load_edsr, save_degradation, save_edsr
from models.geometry import SCALES, centered_kernel_size
from models.inference.tiling import super_resolve
from models.inference.triplet import degrade_image
from models.networks.edsr import EDSR, EDSRConfig
from patina.demo.camera import blur_and_downsample
from store.scales import Scale
from tests.support.training_factories import PhotoSets, make_config, make_photo
from training.data.photos import Photos
from training.loop import train
from training.presets import PRESET_NAMES, get_preset


def sample_pixels(image: NDArray[np.uint8], scale: int, sigma: float) -> NDArray[np.uint8]:
    """Blurs an image and averages the pixels around each sampled point."""
    blurred = gaussian_filter(image.astype(np.float64), (sigma, sigma, 0))
    height, width = (side // scale for side in image.shape[:2])
    cells = blurred[: scale * height, : scale * width].reshape(height, scale, width, scale, 3)
    return np.asarray(cells.mean((1, 3)).round(), np.uint8)


@pytest.fixture(scope="module", params=[1, 8])
def scale(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def photos(scale: int, tmp_path_factory: pytest.TempPathFactory) -> PhotoSets:
    """Photos as small as a training accepts: 32 low-resolution pixels."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    real = [sample_pixels(make_photo(rng, 40 * scale, 32 * scale), scale, 0.6 * scale) for _ in range(3)]
    clean = [make_photo(rng, 32 * scale, 36 * scale) for _ in range(3)]
    return Photos.write(folder / "lr", real), Photos.write(folder / "hr", clean)


@pytest.mark.parametrize("name", ["default", "ntire2020-track1"])
def test_a_trained_model_makes_triplets_and_enlarges(
    scale: int, name: str, photos: PhotoSets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.report.regressor.UPDATES", 20)  # the report takes seconds otherwise
    result = train(make_config(name, scale), *photos, seed=0, max_steps=6 if name == "default" else 1)
    if name == "default":
        assert np.isfinite(result.report().score)
    save_degradation(result.degradation, tmp_path / "degrader.safetensors")
    save_edsr(result.edsr, tmp_path / "sr.safetensors")
    degradation, edsr = load_degradation(tmp_path / "degrader.safetensors"), load_edsr(tmp_path / "sr.safetensors")

    hr = make_photo(np.random.default_rng(1), 9 * scale + scale // 2, 14 * scale)
    triplet = degrade_image(degradation, hr, seed=1, seed_key="ab", sample=0)
    assert triplet.lr.shape == (9, 14, 3)
    blurred = blur_and_downsample(hr, triplet.kernel, degradation.kernel_origin, scale)
    assert (np.clip(blurred + 255 * triplet.noise.astype(np.float64), 0, 255).round() == triplet.lr).all()

    whole = super_resolve(edsr, triplet.lr)
    assert whole.shape == (9 * scale, 14 * scale, 3)
    tiled = super_resolve(edsr, triplet.lr, tile=5).astype(int)
    assert np.abs(tiled - whole).max() <= 1


def test_every_scales_window_is_centered_and_wide_enough() -> None:
    for scale in SCALES:
        size = centered_kernel_size(scale)
        assert (size - scale) % 2 == 0  # its middle is the sampled point
        assert size / 4 >= 5 / 4 * scale  # the widest sigma that the estimator knows
    assert get_args(Scale) == SCALES  # those of the API and the command line
    for name, scale in itertools.product(PRESET_NAMES, SCALES):
        config = get_preset(name, scale, device="cpu")
        assert config.edsr.scale == config.scale == scale


def test_an_untrained_network_at_scale_1_returns_its_input() -> None:
    photo = make_photo(np.random.default_rng(0), 20, 30)
    edsr = EDSR(EDSRConfig(1, width=8, blocks=1, global_skip=True))
    assert (super_resolve(edsr, photo) == photo).all()
