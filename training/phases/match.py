"""Second phase: what is made is led to be told like the real photos."""

from __future__ import annotations

from models.losses import quantise
from training.config import Matching
from training.data.patches import draw_clean, draw_latents, draw_real
from training.data.photos import Photos
from training.estimator.network import statistics_of
from training.estimator.spectra import energy_distance, energy_distance_in_light, energy_distance_of_differences
from training.losses.adversarial import deception, discriminate
from training.losses.regularizers import plainness_of
from training.optim import set_rates, update
from training.state import State


def match_step(state: State, matching: Matching, lr_photos: Photos, hr_photos: Photos, done: float) -> dict[str, float]:
    """Makes photos and leads what estimator and discriminator say of them to what they say of real ones.

    Where real photos are of one view, photos of one place are made, too, and what they differ by is compared beside
    what they are: it tells how much kernels differ, and how, whatever the photos show.
    """
    recipe, degradation, estimator = state.recipe, state.degradation, state.estimator
    assert state.real is not None
    statistics, real = statistics_of(recipe.scale, state.device), state.real
    pairs = real.pairs
    shots = 2 if len(pairs) else 1  # made of each place
    places = matching.photos // shots * matching.crops
    window, _ = draw_clean(state, hr_photos, places, matching.crop, per_photo=matching.crops, turned=False)
    window = window.view(-1, matching.crops, *window.shape[1:]).repeat_interleave(shots, 0).flatten(0, 1)
    latents = draw_latents(state, len(window), matching.crop, per_photo=matching.crops)
    made = degradation(window, latents, surrounded=recipe.surrounded, per_photo=matching.crops)
    lr = quantise(made.lr)  # (96, 3, 48, 48)

    windows = statistics.windows(255 * lr, latents.quality, matching.crops)
    told, light = estimator(windows), statistics.light(windows).detach()  # (12, kernel and noise targets), (12,)
    kernels, noise = slice(None, estimator.kernel_targets), slice(estimator.kernel_targets, None)
    distance = energy_distance(told[:, kernels], real.told[:, kernels], shots)
    distance = distance + energy_distance_in_light(told[:, noise], light, real.told[:, noise], real.light, shots)
    if len(pairs):
        # Of the made photos each two are of one place.
        two, two_real = told[:, kernels].view(-1, 2, estimator.kernel_targets), real.told[pairs][:, :, kernels]
        apart = energy_distance_of_differences(two[:, 0] - two[:, 1], two_real[:, 0] - two_real[:, 1])
        distance = distance + matching.difference_weight * apart
    patch = slice(0, recipe.lr_patch)
    patches = lr[:: matching.crops, :, patch, patch]  # one of each photo
    adversarial = deception(state, patches)
    kernel = made.kernel[:: matching.crops]
    plainness = plainness_of(matching, kernel, degradation.noise, made.noise, statistics.spectra)
    loss = distance + recipe.adversarial_weight * adversarial + plainness
    set_rates(state.optimizers["degradation"], matching.kernel_rate * (1 - done), matching.noise_rate * (1 - done))
    update(state.optimizers["degradation"], loss, clip_gradient=recipe.clip_gradient)

    discrimination = discriminate(state, draw_real(state, lr_photos, len(patches), turned=False), patches.detach())
    set_rates(state.optimizers["discriminator"], recipe.discriminator_rate)
    update(state.optimizers["discriminator"], discrimination)

    return {
        "match": distance.item(),
        "plainness": plainness.item(),
        "adversarial": adversarial.item(),
        "discriminator": discrimination.item(),
        "noise_levels": 255 * made.noise.detach().square().mean().sqrt().item(),
    }
