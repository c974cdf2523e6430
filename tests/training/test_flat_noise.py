"""Noise that is measured in the flattest windows, and the noise network that is fitted to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from tests.support.training_factories import PhotoSets, make_config
from training.data.photos import Photos
from training.data.preparation import adapt_config
from training.estimator.flat_noise import (
    COLORS,
    RINGS,
    STEPS,
    WindowStatistics,
    gray_steps,
    measure_photos,
    measure_steps,
)
from training.estimator.spectra import OPPONENT
from training.phases.encode import encode_real_photos
from training.phases.fit import fit_step
from training.phases.noise_steps import noise_step_distance
from training.state import TrainState

TONE_CURVE = np.array([2.0, 4.0, 5.0, 4.0, 2.0])  # noise std by gray step
COLUMNS = 2 + len(RINGS)


def make_noisy_photo(seed: int, *, coarse: bool) -> NDArray[np.uint8]:
    """Draws gray steps between stripes, with noise of TONE_CURVE; coarse noise is averaged over 2 × 2 pixels."""
    rng = np.random.default_rng(seed)
    clean = np.repeat(np.array(STEPS), 64)[None, :, None] * np.ones((192, 1, 3))
    clean[96:] += 40 * rng.choice([-1, 1], (96, 320, 1))  # texture
    noise = rng.normal(size=clean.shape)
    if coarse:
        noise = 2 * uniform_filter(noise, (2, 2, 1))
    std = np.interp(clean, STEPS, TONE_CURVE)
    return np.asarray(np.clip(clean + std * noise, 0, 255).round(), dtype=np.uint8)


def one_by_one(count: int) -> list[list[int]]:
    """Returns scenes of one photo each."""
    return [[index] for index in range(count)]


def split(curves: torch.Tensor) -> NDArray[np.float32]:
    """Returns noise curves (N, 5, 18) by color, (N, 5, 3, 6)."""
    return curves.view(len(curves), len(STEPS), COLORS, COLUMNS).numpy()


def test_statistics_are_those_of_noise_alone() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 3, 16, 16)) * np.array([2.0, 4, 6])[:, None, None]
    ramp = np.linspace(-30, 30, 16)  # neither brightness nor a slope counts
    images = torch.tensor(noise + 90 + ramp + 0.5 * ramp[:, None], dtype=torch.float32)
    values = WindowStatistics()(images).mean(0).numpy()
    covariance = np.array(OPPONENT) @ np.diag([4.0, 16, 36]) @ np.array(OPPONENT).T
    assert values[:, 0] == pytest.approx(np.diag(covariance), rel=0.04)
    for ring in range(1, COLUMNS - 1):  # white noise has this power in every ring
        assert values[:, ring] == pytest.approx(np.diag(covariance), rel=0.15)
    assert values[:, -1] == pytest.approx([covariance[0, 1], covariance[1, 2], covariance[2, 0]], abs=0.8)


def test_photos_show_tone_curve_and_correlation(tmp_path: Path) -> None:
    photos = Photos.write(tmp_path, [make_noisy_photo(seed, coarse=True) for seed in range(6)])
    curves = split(measure_photos(photos, one_by_one(6)))
    assert curves.shape == (6, 5, 3, COLUMNS)
    assert np.median(curves[..., 0], 0) ** 2 == pytest.approx(np.tile(TONE_CURVE[:, None], 3), rel=0.2)
    second, finest = np.median(curves[:, 2, 0, 2] ** 2), np.median(curves[:, 2, 0, 4] ** 2)
    assert finest < 0.6 * second
    levels = curves[:, 2, 0, 0] ** 2
    assert levels.std() < 0.1 * levels.mean()  # of one camera, so alike


def test_levels_differ_where_photos_do(tmp_path: Path) -> None:
    shots = [make_noisy_photo(seed, coarse=True) for seed in range(8)]
    for shot in shots[4:]:  # halves the noise, not the brightness
        even = np.repeat(np.array(STEPS), 64)[None, :, None]
        shot[:96] = (even + (shot[:96] - even) / 2).round()
    curves = split(measure_photos(Photos.write(tmp_path, shots), one_by_one(8)))
    levels = curves[:, 2, 0, 0] ** 2
    assert levels[:4].mean() == pytest.approx(2 * levels[4:].mean(), rel=0.25)


def test_white_noise_is_left_to_the_estimator(tmp_path: Path) -> None:
    photos = Photos.write(tmp_path / "white", [make_noisy_photo(seed, coarse=False) for seed in range(4)])
    assert len(measure_photos(photos, one_by_one(4))) == 0
    assert len(measure_photos(photos, [])) == 0
    rng = np.random.default_rng(0)
    small = Photos.write(tmp_path / "small", [rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)])
    assert len(measure_photos(small, [[0]])) == 0


def test_few_scenes_show_texture_not_noise(tmp_path: Path) -> None:
    photos = Photos.write(tmp_path, [make_noisy_photo(seed, coarse=True) for seed in range(6)])
    assert len(measure_photos(photos, one_by_one(6))) == 6
    assert len(measure_photos(photos, [[0, 1, 2], [3, 4, 5]])) == 0


def test_texture_of_one_brightness_is_not_its_noise(tmp_path: Path) -> None:
    shots = [make_noisy_photo(seed, coarse=True) for seed in range(12)]
    rng = np.random.default_rng(1)
    for shot in shots[5:]:  # seven of twelve photos show foliage where they are dark
        foliage = 12 * uniform_filter(rng.normal(size=(192, 64)), 2) * 2
        shot[:, 64:128] = np.clip(shot[:, 64:128] + foliage[..., None], 0, 255)
    curves = split(measure_photos(Photos.write(tmp_path, shots), one_by_one(12)))
    assert np.median(curves[:, 1, 0, 0]) ** 2 == pytest.approx(TONE_CURVE[1], rel=0.35)  # 12 levels with the foliage


def test_generated_steps_are_measured_like_photos() -> None:
    rng = np.random.default_rng(0)
    clean = 255 * gray_steps(3, "cpu")
    noise = rng.normal(size=clean.shape) * np.tile(TONE_CURVE, 3)[:, None, None, None]
    curves = split(measure_steps(WindowStatistics(), clean + torch.tensor(noise, dtype=torch.float32)))
    assert curves[..., 0] ** 2 == pytest.approx(np.tile(TONE_CURVE[None, :, None], (3, 1, 3)), rel=0.1)


def test_the_noise_network_is_fitted_to_measured_noise(photos: PhotoSets, tmp_path: Path) -> None:
    scenes = [np.roll(make_noisy_photo(seed, coarse=True), 64 * seed, axis=1) for seed in range(4)]
    real = Photos.write(tmp_path, scenes)
    state = TrainState(adapt_config(make_config("default"), real, photos[1]), 0, "cpu")
    encode_real_photos(state, real, photos[1])
    assert state.real is not None
    assert state.real.noise_curves.shape == (4, 5, COLORS * COLUMNS)
    before = noise_step_distance(state)[0].item()
    state.config = replace(state.config, matching=replace(state.matching, fit_noise_lr=2e-2))
    for step in range(3):
        fit_step(state, photos[1], step / 3)
    assert noise_step_distance(state)[0].item() < 0.5 * before
    path = tmp_path / "training.safetensors"
    state.save(path)
    loaded = TrainState.load(path, "cpu")
    assert loaded.real is not None
    assert torch.equal(loaded.real.noise_curves, state.real.noise_curves)
