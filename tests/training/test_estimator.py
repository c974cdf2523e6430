"""The estimator's features, targets, network and weights file, and the simulation that it is trained on."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.checkpoint import CheckpointError
from models.geometry import SCALES, centered_kernel_size
from training.data.simulation import photometric_augment, random_kernels, random_noise
from training.estimator.network import (
    NOISE_RINGS,
    WEIGHTS_FILE,
    DegradationEstimator,
    DegradationTargets,
    EstimatorConfig,
    EstimatorFeatures,
    WindowFeatures,
    load_estimator,
    load_pretrained_estimator,
    save_estimator,
)

SMALL = EstimatorConfig(width=16)


def random_targets(count: int) -> DegradationTargets:
    return DegradationTargets.split(torch.rand(count, SMALL.num_kernel_targets + SMALL.num_noise_targets))


def test_kernel_targets_show_width_and_direction() -> None:
    features = EstimatorFeatures(4)
    offset = torch.arange(24) - 11.5

    def targets(sigma_x: float, sigma_y: float) -> torch.Tensor:
        kernel = (-((offset[:, None] / sigma_y) ** 2) / 2 - (offset[None] / sigma_x) ** 2 / 2).exp()
        return features.kernel_targets((kernel / kernel.sum())[None])[0]

    # For a Gaussian they are sqrt(-log response) = 2π · sigma · frequency, so proportional to sigma.
    torch.testing.assert_close(targets(2, 2), 2 * targets(1, 1), rtol=0.02, atol=0.02)
    wide, tall = targets(2, 1), targets(1, 2)
    assert (wide - tall).abs().max() > 0.5
    torch.testing.assert_close(wide.sort().values, tall.sort().values, rtol=0.1, atol=0.1)


def test_noise_targets_show_std_color_and_slope() -> None:
    generator = torch.Generator().manual_seed(0)
    blurred = torch.zeros(8, 3, 64, 64)
    blurred[:, :, :, 32:] = 200
    white = torch.randn(8, 3, 64, 64, generator=generator)
    rings = len(NOISE_RINGS)
    features = EstimatorFeatures(4)
    amplitude, slope = features.noise_targets(5 * white, blurred, 4)
    assert amplitude.shape == (2, 3 * rings)
    assert slope.shape == (2, 1)
    torch.testing.assert_close(amplitude, torch.full((2, 3 * rings), math.sqrt(5)), atol=0.1, rtol=0)
    assert slope.abs().max() < 0.05
    _, slope = features.noise_targets(white * (2 + 4 * (blurred > 0)), blurred, 4)
    assert slope[:, 0].tolist() == pytest.approx([math.log(3)] * 2, abs=0.05)
    gray, _ = features.noise_targets(5 * white[:, :1].expand(-1, 3, -1, -1), blurred, 4)
    assert (gray[:, :rings] - gray[:, rings : 2 * rings]).min() > 2


def test_windows_belong_to_their_photo() -> None:
    generator = torch.Generator().manual_seed(0)
    crops = 255 * torch.rand(6, 3, 64, 64, generator=generator)
    features = EstimatorFeatures(4)
    quality = torch.tensor([100.0, 100, 100, 60, 60, 60])
    both = features.window_features(crops, quality, 3)
    assert both.shape == (2, 27, EstimatorConfig().num_features)
    torch.testing.assert_close(both[1], features.window_features(crops[3:], quality[3:], 3)[0])
    single = features.window_features(crops[4:5, :, 16:48, :32], quality[4:5], 1)
    torch.testing.assert_close(both[1, 9 + 3], single[0, 0])


def test_window_features_have_named_parts() -> None:
    crops = torch.full((1, 3, 32, 32), 200.0)
    features = EstimatorFeatures(4).window_features(crops, torch.tensor([60.0]), 1)
    parts = WindowFeatures.split(features)
    assert torch.equal(parts.concat(), features)
    assert parts.brightness[0, 0].tolist() == pytest.approx([2 * math.sqrt(3), 0, 0], abs=0.01)
    assert parts.compression.item() == pytest.approx(0.4)
    assert EstimatorFeatures.mean_brightness(features).item() == pytest.approx(4 * math.sqrt(3), abs=0.01)


def test_default_config_fits_the_measurements() -> None:
    features, config = EstimatorFeatures(4), EstimatorConfig()
    assert config.num_kernel_targets == features.spectra.num_bins
    assert config.num_noise_targets == 3 * len(NOISE_RINGS) + 1
    crops = torch.zeros(1, 3, 32, 32)
    assert features.window_features(crops, torch.tensor([100.0]), 1).shape[2] == config.num_features


def test_constant_features_do_no_harm() -> None:
    estimator = DegradationEstimator(SMALL)
    features = torch.zeros(4, 9, SMALL.num_features)
    estimator.fit_normalization(features, random_targets(4))
    assert torch.isfinite(estimator(features).concat()).all()


def test_order_and_number_of_windows_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    estimator = DegradationEstimator(SMALL)
    features = torch.randn(2, 9, SMALL.num_features, generator=generator)
    predicted = estimator(features).concat()
    torch.testing.assert_close(estimator(features.flip(1)).concat(), predicted)
    torch.testing.assert_close(estimator(features.repeat(1, 3, 1)).concat(), predicted, atol=1e-4, rtol=1e-4)


def test_weights_carry_their_configuration(tmp_path: Path) -> None:
    estimator, path = DegradationEstimator(SMALL), tmp_path / "estimator.safetensors"
    save_estimator(estimator, path)
    loaded = load_estimator(path)
    assert loaded.config == SMALL
    for name, tensor in estimator.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float())
    with safe_open(WEIGHTS_FILE, framework="pt") as file:
        description = json.loads(file.metadata()["patina"])
    assert description["config"]["width"] == load_pretrained_estimator().config.width == 192


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 64}, "other measurements.*window=64.*Train it again"),
        ({"noise_rings": [[0.1, 0.2]]}, "other measurements"),
        ({"width": 17}, "does not fit its own configuration"),
        ({"depth": 3}, "has no depth"),
    ],
)
def test_weights_of_another_configuration_are_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "estimator.safetensors"
    save_estimator(DegradationEstimator(SMALL), path)
    with safe_open(path, framework="pt") as file:
        description = json.loads(file.metadata()["patina"])
    description["config"] |= change
    save_file(load_file(path), path, metadata={"patina": json.dumps(description)})
    with pytest.raises(CheckpointError, match=message):
        load_estimator(path)


def test_weights_without_configuration_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "estimator.safetensors"
    save_file({"mean": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="is not an estimator"):
        load_estimator(path)
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_estimator(path)


@pytest.mark.parametrize("scale", SCALES)
def test_random_kernels_are_centered_and_of_all_widths(scale: int) -> None:
    size = centered_kernel_size(scale)
    kernel = random_kernels(400, size, scale, torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(kernel.sum((1, 2)).float(), torch.ones(400))
    assert kernel.min() >= 0
    offset = torch.arange(size) - (size - 1) / 2
    assert (kernel.sum(1) @ offset.double()).abs().max() < 1e-6
    sigma = (kernel.sum(1) @ offset.double() ** 2).sqrt() / scale
    assert sigma.min() < 0.3
    assert sigma.max() > 0.9


def test_random_noise_is_one_kind_per_photo() -> None:
    noise = random_noise(torch.full((80, 3, 64, 64), 128.0), 4, torch.Generator().manual_seed(0))
    sigma = noise.std((1, 2, 3)).view(20, 4)
    assert (sigma.std(1) < 0.1 * sigma.mean(1)).all()
    assert sigma.mean(1).min() < 1.5
    assert sigma.mean(1).max() > 8
    neighbors = (noise[..., 1:] * noise[..., :-1]).mean((1, 2, 3)) / noise.square().mean((1, 2, 3))
    assert neighbors.max() > 0.2
    assert neighbors.abs().median() < 0.1


def test_random_noise_covers_frequencies_and_colors() -> None:
    """Both are independent, so nothing can be inferred from one part of a spectrum about another."""
    noise = random_noise(torch.full((1600, 3, 32, 32), 128.0), 4, torch.Generator().manual_seed(0))
    photo = noise.view(400, -1)
    neighbors = (noise[..., 1:] * noise[..., :-1]).view(400, -1).sum(1) / photo.square().sum(1)
    red_blue = torch.stack([noise[:, 0], noise[:, 2]]).view(2, 400, -1)
    channels = red_blue.prod(0).sum(1) / red_blue.norm(dim=2).prod(0)
    for correlation in (neighbors, channels):  # at least three of ten are uncorrelated
        assert 0.3 < (correlation.abs() < 0.05).float().mean() < 0.8
        assert (correlation < -0.15).float().mean() > 0.03
        assert (correlation > 0.15).float().mean() > 0.1
    assert torch.corrcoef(torch.stack([neighbors, channels]))[0, 1].abs() < 0.15


def test_crops_of_a_photo_are_augmented_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    photos = torch.rand(2, 3, 8, 8, generator=generator).repeat_interleave(3, 0)
    photos[:, 0] *= 0.5
    augmented = photometric_augment(photos, 3, generator)
    assert augmented.shape == photos.shape
    assert augmented.min() >= 0
    assert augmented.max() <= 1
    for photo in (0, 3):
        torch.testing.assert_close(augmented[photo], augmented[photo + 2])
        assert not torch.allclose(augmented[photo], photos[photo])
    assert not torch.allclose(augmented[0], augmented[3])
