"""Third phase: kernel and noise network aim at what the estimators say of the real photos."""

from __future__ import annotations

import torch
from torch import Tensor

from models.kernel import convexity
from models.losses import quantise
from models.sampling import sample_window
from training.drawing import draw_clean, draw_latents
from training.estimator import statistics_of
from training.optimization import update
from training.phases.fit import UPDATES, estimators
from training.photos import Photos
from training.presets import Matching
from training.spectra import WINDOW, energy_distance
from training.state import State

REAL_LOOKS = 256  # at real photos that made ones are compared with in a step


def aim_step(state: State, matching: Matching, hr_photos: Photos, done: float) -> dict[str, float]:
    """Leads both networks to the estimates themselves: near enough to match from, and quick without an estimator.

    Noise is aimed on one small patch of each photo, too small to tell how noise depends on brightness.
    """
    recipe, degradation = state.recipe, state.degradation
    statistics, first = statistics_of(recipe.scale, state.device), estimators(state)[0]
    kernels, levels = slice(None, first.kernel_targets), slice(first.kernel_targets, -1)
    assert state.real is not None
    some = torch.randint(len(state.real.windows), (REAL_LOOKS,), generator=state.generators["latents"])
    window, _ = draw_clean(state, hr_photos, matching.aimed, WINDOW)
    with torch.no_grad():
        told = [estimator(state.real.windows[some].float()) for estimator in estimators(state)]
        real = torch.stack(told).mean(0)
        kernel = degradation.kernel(draw_latents(state, matching.aimed, WINDOW).kernel)
        blurred = sample_window(window, kernel, recipe.scale)  # (32, 3, 32, 32)
    distance = torch.zeros(())
    for _ in range(UPDATES):
        latents = draw_latents(state, matching.aimed, WINDOW)
        kernel = degradation.kernel(latents.kernel)
        noise = degradation.compressed(latents, blurred, degradation.draw_noise(latents, blurred))
        noise = 255 * (quantise(blurred + noise) - blurred)
        made: Tensor = first.scaled(statistics.of_kernels(kernel), statistics.of_noise(noise, 255 * blurred, 1))
        distance = torch.stack([energy_distance(made[:, part], real[:, part]) for part in (kernels, levels)]).sum()
        rates = matching.aim_rate * (1 - done), matching.noise_rate * (1 - done)
        loss = distance + matching.convexity_weight * convexity(kernel)
        update(state.optimizers["degradation"], loss, *rates, clip_gradient=recipe.clip_gradient)
    return {"aim": distance.item()}
