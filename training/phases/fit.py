"""The fit phase: kernel and noise network are fitted to the estimator's predictions for the real photos."""

from __future__ import annotations

import torch
from torch import Tensor

from models.geometry import conv_strided
from models.losses import quantize_ste
from training.data.photos import Photos
from training.estimator.network import DegradationTargets, get_features
from training.estimator.spectra import WINDOW, energy_distance
from training.losses.regularizers import degradation_prior
from training.optim import optimizer_step, set_lr
from training.phases.noise_steps import noise_step_distance
from training.phases.patches import sample_hr, sample_latents
from training.state import TrainState

INNER_UPDATES = 16  # of small networks in one step, so that it takes about as long as a step of large ones


def fit_step(state: TrainState, hr_photos: Photos, progress: float) -> dict[str, float]:
    """Fits the exact targets of drawn kernels and noise to the predictions for the real photos.

    No gradient passes through the estimator, so a step is cheap. The result is close enough to start matching. Where
    the real photos show their noise directly, noise is fitted on gray steps; else on one small patch of each photo,
    which does not show how noise depends on brightness. Returns metrics.
    """
    config, matching, degradation = state.config, state.matching, state.degradation
    features, estimator = get_features(config.scale, state.device), state.estimator
    assert state.real is not None
    window, _ = sample_hr(state, hr_photos, matching.fit_batch, WINDOW)
    real, measured = state.real.predicted, bool(len(state.real.noise_curves))
    real_spectrum = remove_scene_mean(real.kernel_spectrum, state.real.group)
    with torch.no_grad():
        kernel = degradation.kernel(sample_latents(state, matching.fit_batch, WINDOW).kernel)
        blurred = conv_strided(window, kernel, config.scale)  # (32, 3, 32, 32)
    kernel_lr, noise_lr = matching.fit_kernel_lr * (1 - progress), matching.fit_noise_lr * (1 - progress)
    set_lr(state.optimizers["degradation"], kernel_lr, noise_lr)
    distance, no_noise = torch.zeros(()), features.noise_targets(torch.zeros_like(blurred), blurred, 1)
    for _ in range(INNER_UPDATES):
        latents = sample_latents(state, matching.fit_batch, WINDOW)
        kernel = degradation.kernel(latents.kernel)
        if measured:
            noise_distance, noise = noise_step_distance(state)
            noise_targets = no_noise
        else:
            noise = degradation.add_jpeg_residual(latents, blurred, degradation.draw_noise(latents, blurred))
            noise = quantize_ste(blurred + noise) - blurred
            noise_targets = features.noise_targets(255 * noise, 255 * blurred, 1)
        generated: DegradationTargets = estimator.normalize_targets(
            DegradationTargets(features.kernel_targets(kernel), *noise_targets)
        )
        kernel_distance = energy_distance(generated.kernel_spectrum, real_spectrum)
        if not measured:
            noise_distance = energy_distance(generated.noise_amplitude, real.noise_amplitude)
        distance = torch.stack([kernel_distance, noise_distance]).sum()
        loss = distance + degradation_prior(
            matching, kernel, degradation.noise, noise, features.spectra, white_noise=not measured
        )
        optimizer_step(state.optimizers["degradation"], loss, max_grad_norm=config.max_grad_norm)
    return {"fit": distance.item()}


def remove_scene_mean(predicted: Tensor, group: Tensor) -> Tensor:
    """Replaces each group's mean in predicted (N, F) by the mean of all; group is (N,).

    The content of a scene misleads the estimator by the same amount in each of its photos. An entry that is alone in
    its group stays as it is.
    """
    count = torch.bincount(group)[:, None]
    mean = predicted.new_zeros(len(count), predicted.shape[1]).index_add_(0, group, predicted) / count
    # The mean of n entries is closer to each of them than the true mean.
    correction = (count / (count - 1).clamp_min(1)).sqrt()
    centered = predicted.mean(0) + correction[group] * (predicted - mean[group])
    return torch.where(count[group] == 1, predicted, centered)
