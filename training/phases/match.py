"""Second phase: what is made is led to be told like the real photos."""

from __future__ import annotations

import torch

from models.losses import quantise
from training.adversary import deception, discriminate
from training.drawing import draw_clean, draw_latents, draw_real, in_fold
from training.estimator import statistics_of
from training.optimization import set_rates, update
from training.phases.learn_on import known_of, learn_on
from training.photos import Photos
from training.plainness import plainness_of
from training.presets import Matching
from training.spectra import energy_distance, energy_distance_in_light, energy_distance_of_differences
from training.state import State, pairs_at

REAL_LOOKS = 160  # at real photos that made ones are compared with in a step, at most


def match_step(state: State, matching: Matching, lr_photos: Photos, hr_photos: Photos, done: float) -> dict[str, float]:
    """Makes photos and leads what estimator and discriminator say of them to what they say of real ones.

    Where real photos are of one view, photos of one place are made, too, and what they differ by is compared beside
    what they are: it tells how much kernels differ, and how, whatever the photos show.

    The estimator that judges has learned from no photo of this fold. The others learn from what was made, so that
    none stays blind to what the networks have come to make.
    """
    recipe, degradation, fold = state.recipe, state.degradation, state.step % matching.folds
    assert state.real is not None
    statistics = statistics_of(recipe.scale, state.device)
    some = state.real.some_of(fold, REAL_LOOKS, state.generators["real"])
    pairs = pairs_at(state.real.places[some])
    shots = 2 if len(pairs) else 1  # made of each place
    places = matching.photos // shots * matching.crops
    among = in_fold(hr_photos, matching, recipe.scale, fold)
    window, _ = draw_clean(state, hr_photos, places, matching.crop, per_photo=matching.crops, turned=False, among=among)
    window = window.view(-1, matching.crops, *window.shape[1:]).repeat_interleave(shots, 0).flatten(0, 1)
    latents = draw_latents(state, len(window), matching.crop, per_photo=matching.crops)
    made = degradation(window, latents, surrounded=recipe.surrounded, per_photo=matching.crops)
    lr = quantise(made.lr)  # (96, 3, 48, 48)

    judge = state.judges[fold].requires_grad_(False)
    windows = statistics.windows(255 * lr, latents.quality, matching.crops)
    told = judge(windows)  # (12, kernel and noise targets)
    with torch.no_grad():
        real = state.real.windows[some].float()
        told_real, light, light_real = judge(real), statistics.light(windows), statistics.light(real)
    kernels, noise = slice(None, judge.kernel_targets), slice(judge.kernel_targets, None)
    distance = energy_distance(told[:, kernels], told_real[:, kernels], shots)
    distance = distance + energy_distance_in_light(told[:, noise], light, told_real[:, noise], light_real, shots)
    if len(pairs):
        # Of the made photos each two are of one place.
        two, two_real = told[:, kernels].view(-1, 2, judge.kernel_targets), told_real[pairs][:, :, kernels]
        apart = energy_distance_of_differences(two[:, 0] - two[:, 1], two_real[:, 0] - two_real[:, 1])
        distance = distance + matching.difference_weight * apart
    judge.requires_grad_(True)
    patch = slice(0, recipe.lr_patch)
    patches = lr[:: matching.crops, :, patch, patch]  # one of each photo
    adversarial = deception(state, patches)
    kernel = made.kernel[:: matching.crops]
    plainness = plainness_of(matching, kernel, degradation.noise)
    loss = distance + recipe.adversarial_weight * adversarial + plainness
    set_rates(state.optimizers["degradation"], matching.kernel_rate * (1 - done), matching.noise_rate * (1 - done))
    update(state.optimizers["degradation"], loss, clip_gradient=recipe.clip_gradient)

    discrimination = discriminate(state, draw_real(state, lr_photos, len(patches), turned=False), patches.detach())
    set_rates(state.optimizers["discriminator"], recipe.discriminator_rate)
    update(state.optimizers["discriminator"], discrimination)

    with torch.no_grad():
        blurred = 255 * (made.lr - made.noise)
        known = known_of(statistics, windows, kernel, 255 * lr - blurred, blurred, matching.crops)
    set_rates(state.optimizers["estimators"], matching.learning_on_rate * (1 - done))
    off = learn_on(state, known, fold)
    return {
        "match": distance.item(),
        "estimator": off,
        "plainness": plainness.item(),
        "adversarial": adversarial.item(),
        "discriminator": discrimination.item(),
        "noise_levels": 255 * made.noise.detach().square().mean().sqrt().item(),
    }
