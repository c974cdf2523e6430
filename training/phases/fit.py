"""First phase: kernel and noise network aim at what the estimator says of the real photos."""

from __future__ import annotations

import torch
from torch import Tensor

from models.geometry import sample_window
from models.losses import quantise
from training.config import Matching
from training.data.patches import draw_clean, draw_latents
from training.data.photos import Photos
from training.estimator.network import statistics_of
from training.estimator.spectra import WINDOW, energy_distance
from training.losses.regularizers import plainness_of
from training.optim import set_rates, update
from training.state import State

UPDATES = 16  # of small networks in one step, which so takes about as long as a step of large ones


def aim_step(state: State, matching: Matching, hr_photos: Photos, done: float) -> dict[str, float]:
    """Leads both networks to the estimates themselves: near enough to match from, and soon done.

    Noise is aimed on one small patch of each photo, too small to tell how noise depends on brightness.
    """
    recipe, degradation = state.recipe, state.degradation
    statistics, estimator = statistics_of(recipe.scale, state.device), state.estimator
    kernels, levels = slice(None, estimator.kernel_targets), slice(estimator.kernel_targets, -1)
    assert state.real is not None
    window, _ = draw_clean(state, hr_photos, matching.aimed, WINDOW)
    real = state.real.told.clone()
    real[:, kernels] = without_places(real[:, kernels], state.real.places)
    with torch.no_grad():
        kernel = degradation.kernel(draw_latents(state, matching.aimed, WINDOW).kernel)
        blurred = sample_window(window, kernel, recipe.scale)  # (32, 3, 32, 32)
    set_rates(state.optimizers["degradation"], matching.aim_rate * (1 - done), matching.aim_noise_rate * (1 - done))
    distance = torch.zeros(())
    for _ in range(UPDATES):
        latents = draw_latents(state, matching.aimed, WINDOW)
        kernel = degradation.kernel(latents.kernel)
        noise = degradation.compressed(latents, blurred, degradation.draw_noise(latents, blurred))
        noise = quantise(blurred + noise) - blurred
        of_noise = statistics.of_noise(255 * noise, 255 * blurred, 1)
        made: Tensor = estimator.scaled(statistics.of_kernels(kernel), of_noise)
        distance = torch.stack([energy_distance(made[:, part], real[:, part]) for part in (kernels, levels)]).sum()
        loss = distance + plainness_of(matching, kernel, degradation.noise, noise, statistics.spectra)
        update(state.optimizers["degradation"], loss, clip_gradient=recipe.clip_gradient)
    return {"aim": distance.item()}


def without_places(told: Tensor, places: Tensor) -> Tensor:
    """told (N, F), in which what is told alike of all looks at a place gives way to what is told of all places.

    What photos of one view show alike misleads an estimator alike. A look that is alone at its place stays as it is.
    """
    count = torch.bincount(places)[:, None]
    mean = told.new_zeros(len(count), told.shape[1]).index_add_(0, places, told) / count
    # The mean of n lies nearer to each of them than the mean of all.
    apart = (count / (count - 1).clamp_min(1)).sqrt()
    return torch.where(count[places] == 1, told, told.mean(0) + apart[places] * (told - mean[places]))
