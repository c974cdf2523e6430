"""The match phase: generated images are matched to real photos, through the estimator and the discriminator."""

from __future__ import annotations

from models.losses import quantize_ste
from training.data.photos import Photos
from training.estimator.network import get_features
from training.estimator.spectra import (
    energy_distance,
    energy_distance_given_brightness,
    energy_distance_of_differences,
)
from training.losses.adversarial import discriminator_loss, generator_adv_loss
from training.losses.regularizers import degradation_prior
from training.optim import optimizer_step, set_lr
from training.phases.noise_steps import noise_step_distance
from training.phases.patches import sample_hr, sample_latents, sample_lr
from training.state import TrainState


def match_step(state: TrainState, lr_photos: Photos, hr_photos: Photos, progress: float) -> dict[str, float]:
    """Generates photos and matches the distribution of their predictions to that of the real photos.

    Where real photos share a scene, generated photos come in pairs of one patch, and differences within pairs are
    matched, too. They show how kernels differ, independent of content. Returns metrics.
    """
    config, matching = state.config, state.matching
    degradation, estimator = state.degradation, state.estimator
    assert state.real is not None
    features, real = get_features(config.scale, state.device), state.real
    pairs = real.pairs
    views_per_patch = 2 if len(pairs) else 1
    num_crops = matching.match_batch // views_per_patch * matching.crops_per_photo
    crops_per_photo = matching.crops_per_photo
    window, _ = sample_hr(state, hr_photos, num_crops, matching.crop, crops_per_photo=crops_per_photo, augment=False)
    window = window.view(-1, crops_per_photo, *window.shape[1:])
    window = window.repeat_interleave(views_per_patch, 0).flatten(0, 1)
    latents = sample_latents(state, len(window), matching.crop, crops_per_photo)
    generated = degradation(window, latents, padded_input=config.real_context, crops_per_photo=crops_per_photo)
    lr = quantize_ste(generated.lr)  # (96, 3, 48, 48)

    # 1. Degradation: the energy distance between predictions for generated and for real photos.
    quality = degradation.compression.get_quality(latents.compression)
    windows = features.window_features(255 * lr, quality, crops_per_photo)
    predicted = estimator(windows)  # for 12 photos
    paired = predicted.kernel_spectrum.unflatten(0, (-1, views_per_patch))
    brightness = features.mean_brightness(windows).detach()  # (12,)
    distance = energy_distance(predicted.kernel_spectrum, real.predicted.kernel_spectrum, views_per_patch)
    if measured := bool(len(real.noise_curves)):
        distance = distance + noise_step_distance(state)[0]
    else:
        distance = distance + energy_distance_given_brightness(
            predicted.noise, brightness, real.predicted.noise, real.brightness, views_per_patch
        )
    if len(pairs):
        paired_real = real.predicted.kernel_spectrum[pairs]
        difference_distance = energy_distance_of_differences(
            paired[:, 0] - paired[:, 1], paired_real[:, 0] - paired_real[:, 1]
        )
        distance = distance + matching.pair_difference_weight * difference_distance
    patch = slice(0, config.lr_patch)
    patches = lr[::crops_per_photo, :, patch, patch]  # one of each photo
    adversarial = generator_adv_loss(state, patches)
    kernel = generated.kernel[::crops_per_photo]
    regularization = degradation_prior(
        matching, kernel, degradation.noise, generated.noise, features.spectra, white_noise=not measured
    )
    loss = distance + config.adversarial_weight * adversarial + regularization
    kernel_lr, noise_lr = matching.match_kernel_lr * (1 - progress), matching.match_noise_lr * (1 - progress)
    set_lr(state.optimizers["degradation"], kernel_lr, noise_lr)
    optimizer_step(state.optimizers["degradation"], loss, max_grad_norm=config.max_grad_norm)

    # 2. Discriminator: real toward 1, generated toward 0.
    real_patches = sample_lr(state, lr_photos, len(patches), augment=False)
    discrimination = discriminator_loss(state, real_patches, patches.detach())
    set_lr(state.optimizers["discriminator"], config.discriminator_lr)
    optimizer_step(state.optimizers["discriminator"], discrimination)

    return {
        "match": distance.item(),
        "regularization": regularization.item(),
        "adversarial": adversarial.item(),
        "discriminator": discrimination.item(),
        "noise_std": 255 * generated.noise.detach().square().mean().sqrt().item(),
    }
