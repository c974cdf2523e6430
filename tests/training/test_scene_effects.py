"""What the content of a scene adds to all predictions for its photos is removed; how the photos differ is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from training.estimator.scene_effects import remove_scene_effects

SCENES, SHOTS, TARGETS = 60, 4, 6


def simulate(kernels: Tensor, effect_std: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Returns predictions for photos with these kernels (N, 6), scene by scene, and the effects' covariance."""
    rng = np.random.default_rng(seed)
    heavy_tailed = effect_std * rng.standard_t(4, (len(kernels) // SHOTS, TARGETS)) / 2**0.5
    return kernels + torch.tensor(heavy_tailed).float().repeat_interleave(SHOTS, 0), effect_std**2 * torch.eye(TARGETS)


def remove(predicted: Tensor, group: Tensor, covariance: Tensor) -> Tensor:
    return remove_scene_effects(predicted, group, covariance, torch.Generator().manual_seed(0))


def distance(first: Tensor, second: Tensor) -> float:
    return float(np.mean([wasserstein_distance(*columns) for columns in zip(first.T, second.T, strict=True)]))


@pytest.mark.parametrize("by_scene", [False, True])
def test_two_kinds_of_photos_remain_apart(by_scene: bool) -> None:
    """Whether each photo is sharp or shaken by chance, or all photos of a scene are alike."""
    generator = torch.Generator().manual_seed(1)
    number = SCENES if by_scene else SCENES * SHOTS
    shaken = (torch.rand(number, generator=generator) < 0.4).float()[:, None]
    shaken = shaken.repeat_interleave(SHOTS, 0) if by_scene else shaken
    kernels = 4 * shaken + 0.3 * torch.randn(SCENES * SHOTS, TARGETS, generator=generator)
    predicted, covariance = simulate(kernels, 0.6)
    group = torch.arange(SCENES).repeat_interleave(SHOTS)
    corrected = remove(predicted, group, covariance)
    means = predicted.view(SCENES, SHOTS, -1).mean(1).repeat_interleave(SHOTS, 0)
    centered = predicted - means + predicted.mean(0)
    assert distance(corrected, kernels) < 0.25
    assert distance(corrected, kernels) < 0.7 * distance(predicted, kernels)
    assert distance(corrected, kernels) < 0.5 * distance(centered, kernels)  # as before there were kinds


def test_scene_effects_do_not_count_as_spread() -> None:
    generator = torch.Generator().manual_seed(1)
    kernels = torch.randn(SCENES * SHOTS, TARGETS, generator=generator)
    predicted, covariance = simulate(kernels, 2.0)
    corrected = remove(predicted, torch.arange(SCENES).repeat_interleave(SHOTS), covariance)
    assert predicted.std().item() > 1.9
    # Only the components with the most varied predictions are corrected.
    assert corrected.std().item() < 1.5
    assert corrected.mean().item() == pytest.approx(predicted.mean().item(), abs=0.3)


def test_scenes_of_one_photo_are_corrected_by_the_known_error() -> None:
    """Nothing in such photos shows what the content adds; clean photos do."""
    generator = torch.Generator().manual_seed(1)
    kernels = torch.randn(400, 1, generator=generator).expand(-1, TARGETS)
    error = torch.randn(400, 1, generator=generator).expand(-1, TARGETS)
    corrected = remove(kernels + error, torch.arange(400), torch.ones(TARGETS, TARGETS))
    assert distance(corrected, kernels) < 0.5 * distance(kernels + error, kernels)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_few_photos_are_enough(count: int) -> None:
    predicted = torch.randn(count, TARGETS, generator=torch.Generator().manual_seed(0))
    assert remove(predicted, torch.arange(count), torch.zeros(TARGETS, TARGETS)).isfinite().all()
