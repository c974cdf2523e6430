"""The steps of a training's phases, and their order."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import training.losses.sr
import training.phases.joint
from models.jpeg import NO_JPEG
from tests.support.training_factories import PhotoSets, copy_parameters, list_changed, make_config
from training.data.photos import Photos
from training.data.preparation import adapt_config
from training.estimator.network import DegradationEstimator, DegradationTargets, WindowFeatures, get_features
from training.loop import train
from training.optim import optimizer_step
from training.phases.encode import encode_real_photos
from training.phases.fit import fit_step
from training.phases.joint import joint_step
from training.phases.match import match_step
from training.state import Phase, RealFeatures, TrainState


def test_joint_step_of_the_seed_preset(photos: PhotoSets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each optimizer changes its own network only, in the paper's order."""
    state = TrainState(make_config("seed"), 0, "cpu")
    clipped, updated = [], []
    clip = torch.nn.utils.clip_grad_norm_

    def watched_clip(parameters: list[nn.Parameter], limit: float) -> Tensor:
        clipped.append((len(parameters), limit))
        return clip(parameters, limit)

    def watched_step(optimizer: torch.optim.Optimizer, loss: Tensor, **options: Any) -> None:
        before = {name: copy_parameters(network) for name, network in state.networks.items()}
        optimizer_step(optimizer, loss, **options)
        name = next(name for name, known in state.optimizers.items() if known is optimizer)
        updated.append(name)
        for other, network in state.networks.items():
            assert any(list_changed(network, before[other])) is (other == name)
        if name == "degradation":
            assert all(parameter.grad is None for parameter in state.discriminator.parameters())

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched_clip)
    for module in (training.phases.joint, training.losses.sr):
        monkeypatch.setattr(module, "optimizer_step", watched_step)
    before = copy_parameters(state.edsr)
    assert state.get_phase(0.0) == (Phase.JOINT, 0.0)
    metrics = joint_step(state, *photos, 0.0)
    assert updated == ["degradation", "discriminator", "edsr"]
    assert clipped == [(len(list(state.degradation.parameters())), 50)]
    trainable = [parameter.requires_grad for parameter in state.edsr.parameters()]
    assert list_changed(state.edsr, before) == trainable
    assert trainable.count(False) == 4
    assert all(parameter.requires_grad for parameter in state.discriminator.parameters())
    assert set(metrics) == {"adversarial", "discriminator", "edsr_l1", "noise_std"}


@pytest.mark.parametrize(("total", "fit", "match"), [(15, 3, 5), (40, 8, 8), (200, 30, 8)])
def test_phases_follow_each_other(photos: PhotoSets, total: int, fit: int, match: int) -> None:
    """Fitting and matching are limited by a fraction of a short training, and by steps in a long one."""
    history = train(make_config("default"), *photos, seed=1, max_steps=total).history
    phases = [next(name for name in ("match", "fit", "edsr_l1") if name in point) for point in history]
    assert phases == ["fit"] * fit + ["match"] * match + ["edsr_l1"] * (total - fit - match)


def test_estimator_is_frozen(photos: PhotoSets) -> None:
    state = TrainState(adapt_config(make_config("default"), *photos), 0, "cpu")
    before = copy_parameters(state.estimator)
    encode_real_photos(state, *photos)
    assert state.get_phase(0.0) == (Phase.FIT, 0.0)
    fit_step(state, photos[1], 0.0)
    phase, progress = state.get_phase(0.45)
    assert phase is Phase.MATCH
    assert "match" in match_step(state, *photos, progress)
    assert not any(list_changed(state.estimator, before))
    assert not any(parameter.requires_grad for parameter in state.estimator.parameters())


def test_fit_learns_two_noise_levels(photos: PhotoSets) -> None:
    """For half of the real photos the estimator predicts noise of 1 level, for the others of 10."""
    state = TrainState(adapt_config(make_config("default"), *photos), 0, "cpu")
    root = torch.tensor([1.0, 10]).repeat(150)[:, None].sqrt()
    spectrum = root.new_zeros(300, state.estimator.config.num_kernel_targets)
    state.estimator = DegradationEstimator()  # untrained, so its targets are not normalized
    predicted = DegradationTargets(spectrum, root.expand(-1, 12), root)
    state.real = RealFeatures(predicted, torch.zeros(300), torch.arange(300))
    state.config = replace(state.config, matching=replace(state.matching, fit_batch=16))
    for step in range(12):
        fit_step(state, photos[1], step / 12)
    blurred = torch.full((200, 3, 16, 16), 0.5)
    latents = state.degradation.draw_latents(200, (16, 16), torch.Generator().manual_seed(0))
    with torch.no_grad():
        sigmas = 255 * state.degradation.draw_noise(latents, blurred).flatten(1).std(1)
    assert 0.3 < (sigmas < 3).float().mean() < 0.7
    assert 0.3 < (sigmas > 7).float().mean() < 0.7


class ConstantEstimator(DegradationEstimator):
    """Predicts the noise of gray windows, and the same kernel for all."""

    def forward(self, features: Tensor) -> DegradationTargets:
        log_power = WindowFeatures.split(features).log_power
        luma = log_power[:, :, : log_power.shape[2] // 3]
        sigma = (luma.mean(2) / 4).exp().mean(1, keepdim=True)
        spectrum = features.new_zeros(len(features), self.config.num_kernel_targets)
        return DegradationTargets(spectrum, sigma.expand(-1, 12), sigma)


@pytest.mark.parametrize("clean", [(60, 180), (180, 180, 180, 60), (20, 230)])
def test_noise_is_matched_given_its_brightness(clean: tuple[int, ...], tmp_path: Path) -> None:
    """Clean photos may be as bright as the real ones, brighter for the most part, or darker and brighter."""
    generator = torch.Generator().manual_seed(0)
    hr = Photos.write(tmp_path / "hr", [np.full((220, 220, 3), value, np.uint8) for value in clean])
    sigma_by_brightness = {60: 2, 180: 8}  # of the real photos
    lr = Photos.write(tmp_path / "lr", [np.full((48, 48, 3), value, np.uint8) for value in sigma_by_brightness])
    config = make_config("default")
    assert config.matching is not None
    matching = replace(config.matching, crop=32, match_batch=8, match_noise_lr=2e-2)
    config = replace(config, adversarial_weight=0.0, matching=matching)
    state = TrainState(adapt_config(config, lr, hr), 0, "cpu")
    state.estimator, features = ConstantEstimator(), get_features(4, "cpu")
    encoded, crops = [], state.matching.crops_per_photo
    for value, sigma in 100 * [*sigma_by_brightness.items()]:
        shot = value + sigma * torch.randn(crops, 3, 32, 32, generator=generator)
        encoded.append(features.window_features(shot.round(), torch.full((crops,), NO_JPEG), crops))
    windows = torch.cat(encoded)
    with torch.no_grad():
        predicted, brightness = state.estimator(windows), features.mean_brightness(windows)
        state.real = RealFeatures(predicted, brightness, torch.arange(200))
    for step in range(120):  # not to the end, but far enough to see where it leads
        match_step(state, lr, hr, step / 120)
    latents = state.degradation.draw_latents(100, (16, 16), generator)
    with torch.no_grad():
        dark, bright = (
            255 * state.degradation.draw_noise(latents, torch.full((100, 3, 16, 16), value / 255)).std().item()
            for value in sigma_by_brightness
        )
    assert 1.2 * dark < bright < 9


def test_photos_of_one_scene_are_cropped_alike(photos: PhotoSets, tmp_path: Path) -> None:
    """They are encoded at the same positions, and compared in pairs while matching."""
    shots = [photos[0][0], photos[0][0], photos[0][1], photos[0][1]]
    real = Photos.write(tmp_path / "lr", shots)
    state = TrainState(adapt_config(make_config("default"), real, photos[1]), 0, "cpu")
    encode_real_photos(state, real, photos[1])
    fit_step(state, photos[1], 0.0)
    assert state.real is not None
    pairs = state.real.pairs.tolist()
    assert pairs == [[0, 1], [2, 3]]
    predicted = state.real.predicted.concat()
    for first, second in pairs:  # the same bytes at the same position
        assert torch.equal(predicted[first], predicted[second])
    for _ in range(3):
        assert math.isfinite(match_step(state, real, photos[1], state.get_phase(0.45)[1])["match"])
