from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import training.losses.sr
import training.phases.joint
from models.jpeg import UNCOMPRESSED
from tests.training.networks import Both, moved, small, snapshot
from training.data.photos import Photos
from training.data.preparation import fitted_to
from training.estimator.network import Estimator, statistics_of
from training.loop import train
from training.optim import update
from training.phases.fit import aim_step, without_places
from training.phases.match import match_step
from training.schedule import training_step
from training.state import RealLooks, State


def test_a_step_of_the_seeds_run(photos: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small("seed")
    state = State(recipe, 0, "cpu")
    clipped, updated = [], []
    clip = torch.nn.utils.clip_grad_norm_

    def watched_clip(parameters: list[nn.Parameter], limit: float) -> Tensor:
        clipped.append((len(parameters), limit))
        return clip(parameters, limit)

    def watched_update(optimizer: torch.optim.Optimizer, loss: Tensor, *, clip_gradient: float | None = None) -> None:
        before = {name: snapshot(network) for name, network in state.networks.items()}
        update(optimizer, loss, clip_gradient=clip_gradient)
        name = next(name for name, known in state.optimizers.items() if known is optimizer)
        updated.append(name)
        for other, network in state.networks.items():
            assert any(moved(network, before[other])) is (other == name)
        if name == "degradation":
            assert all(parameter.grad is None for parameter in state.discriminator.parameters())

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched_clip)
    for module in (training.phases.joint, training.losses.sr):
        monkeypatch.setattr(module, "update", watched_update)
    before = snapshot(state.edsr)
    metrics = training_step(state, *photos, 0.0)
    assert updated == ["degradation", "discriminator", "edsr"]
    assert clipped == [(len(list(state.degradation.parameters())), 50)]
    trainable = [parameter.requires_grad for parameter in state.edsr.parameters()]
    assert moved(state.edsr, before) == trainable
    assert trainable.count(False) == 4
    assert all(parameter.requires_grad for parameter in state.discriminator.parameters())
    assert set(metrics) == {"adversarial", "discriminator", "edsr_l1", "noise_levels"}


@pytest.mark.parametrize(("total", "aimed", "matched"), [(15, 3, 5), (40, 8, 8), (200, 30, 8)])
def test_the_phases_follow_each_other_and_are_no_longer_than_helps(
    photos: Both, total: int, aimed: int, matched: int
) -> None:
    history = train(small("default"), *photos, seed=1, max_steps=total).history
    told = [next(name for name in ("match", "aim", "edsr_l1") if name in point) for point in history]
    assert told == ["aim"] * aimed + ["match"] * matched + ["edsr_l1"] * (total - aimed - matched)


def test_the_estimator_stands_still(photos: Both) -> None:
    state = State(fitted_to(small("default"), *photos), 0, "cpu")
    before = snapshot(state.estimator)
    training_step(state, *photos, 0.0)
    assert "match" in training_step(state, *photos, 0.45)
    assert not any(moved(state.estimator, before))
    assert not any(parameter.requires_grad for parameter in state.estimator.parameters())


def test_two_kinds_of_photos_become_two_levels_of_noise(photos: Both) -> None:
    """Of half of the real photos the estimator says that noise has a level of 1, of the others 10."""
    state = State(fitted_to(small("default"), *photos), 0, "cpu")
    level = torch.tensor([1.0, 10]).repeat(150)[:, None].sqrt()
    told = torch.cat([level.new_zeros(300, state.estimator.kernel_targets), level.expand(-1, 13)], 1)
    state.estimator = Estimator()  # of no experience, whose targets have no scale but their own
    state.real = RealLooks(told, torch.zeros(300), torch.arange(300))
    assert state.recipe.matching is not None
    for step in range(12):
        aim_step(state, replace(state.recipe.matching, aimed=16), photos[1], step / 12)
    blurred = torch.full((200, 3, 16, 16), 0.5)
    latents = state.degradation.draw_latents(200, (16, 16), torch.Generator().manual_seed(0))
    with torch.no_grad():
        levels = 255 * state.degradation.draw_noise(latents, blurred).flatten(1).std(1)
    assert 0.3 < (levels < 3).float().mean() < 0.7
    assert 0.3 < (levels > 7).float().mean() < 0.7


@pytest.mark.parametrize("clean", [(60, 180), (180, 180, 180, 60), (20, 230)])
def test_noise_is_matched_in_the_light_it_was_met_in(clean: tuple[int, ...], tmp_path: Path) -> None:
    """Whatever the light of the clean photos: like the real ones', brighter for the most part, darker and brighter."""

    class Told(Estimator):
        """Says how strong the noise of grey windows is, and nothing of the kernels."""

        def forward(self, features: Tensor) -> Tensor:
            bins = (self.features - 4) // 3
            level = (features[:, :, :bins].mean(2) / 4).exp().mean(1, keepdim=True)
            return torch.cat([features.new_zeros(len(features), self.kernel_targets), level.expand(-1, 13)], 1)

    generator = torch.Generator().manual_seed(0)
    hr = Photos.write(tmp_path / "hr", [np.full((220, 220, 3), value, np.uint8) for value in clean])
    light = {60: 2, 180: 8}  # brightness of real photos, and level of their noise
    lr = Photos.write(tmp_path / "lr", [np.full((48, 48, 3), value, np.uint8) for value in light])
    recipe = small("default")
    assert recipe.matching is not None
    recipe = replace(
        recipe, adversarial_weight=0.0, matching=replace(recipe.matching, crop=32, photos=8, noise_rate=2e-2)
    )
    state = State(fitted_to(recipe, lr, hr), 0, "cpu")
    matching = state.recipe.matching
    assert matching is not None
    state.estimator, statistics = Told(), statistics_of(4, "cpu")
    looks, crops = [], matching.crops
    for value, level in 100 * [*light.items()]:
        shot = value + level * torch.randn(crops, 3, 32, 32, generator=generator)
        looks.append(statistics.windows(shot.round(), torch.full((crops,), UNCOMPRESSED), crops))
    seen = torch.cat(looks)
    with torch.no_grad():
        state.real = RealLooks(state.estimator(seen), statistics.light(seen), torch.arange(200))
    for step in range(120):  # not to the end, but far enough to see where it leads
        match_step(state, matching, lr, hr, step / 120)
    latents = state.degradation.draw_latents(100, (16, 16), generator)
    with torch.no_grad():
        dark, bright = (
            255 * state.degradation.draw_noise(latents, torch.full((100, 3, 16, 16), value / 255)).std().item()
            for value in light
        )
    assert 1.2 * dark < bright < 9


def test_what_photos_of_one_view_show_does_not_count_as_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    shown = 5 * torch.randn(300, 1, generator=generator).repeat_interleave(4, 0)
    kernels = 2 + torch.randn(1200, 1, generator=generator)
    told = without_places(kernels + shown, torch.arange(300).repeat_interleave(4))
    assert told.std().item() == pytest.approx(1, rel=0.05)
    assert told.mean().item() == pytest.approx((kernels + shown).mean().item(), abs=1e-4)
    alone = torch.randn(7, 2, generator=generator)
    assert torch.equal(without_places(alone, torch.arange(7)), alone)


def test_photos_of_one_view_are_looked_at_in_the_same_places_and_compared(photos: Both, tmp_path: Path) -> None:
    shots = [photos[0][0], photos[0][0], photos[0][1], photos[0][1]]
    real = Photos.write(tmp_path / "lr", shots)
    state = State(fitted_to(small("default"), real, photos[1]), 0, "cpu")
    training_step(state, real, photos[1], 0.0)
    assert state.real is not None
    pairs = state.real.pairs.tolist()
    assert pairs == [[0, 1], [2, 3]]
    for one, other in pairs:  # the same bytes at the same place
        assert torch.equal(state.real.told[one], state.real.told[other])
    for _ in range(3):
        assert math.isfinite(training_step(state, real, photos[1], 0.45)["match"])
