"""The fit phase: kernel and noise network are fitted to the estimator's predictions for the real photos."""

from __future__ import annotations

import torch
from torch import Tensor

from models.geometry import conv_strided
from models.losses import quantize_ste
from training.data.photos import Photos
from training.estimator.network import DegradationTargets, get_features
from training.estimator.spectra import WINDOW, energy_distance
from training.losses.regularizers import kernel_prior, noise_prior
from training.optim import optimizer_step, set_lr
from training.phases.noise_steps import noise_step_distance
from training.phases.patches import sample_hr, sample_latents
from training.state import RealFeatures, TrainState

# Of these small networks in one step, so that it takes about as long as a step of large ones. Kernels of several kinds
# take more updates to part than noise does.
KERNEL_UPDATES, NOISE_UPDATES = 32, 16


def fit_step(state: TrainState, hr_photos: Photos, progress: float) -> dict[str, float]:
    """Fits the exact targets of drawn kernels and noise to the predictions for the real photos.

    No gradient passes through the estimator, so a step is cheap. The result is close enough to start matching. Where
    the real photos show their noise directly, noise is fitted on gray steps; else on one small patch of each photo,
    which does not show how noise depends on brightness. Returns metrics.
    """
    config, matching, degradation = state.config, state.matching, state.degradation
    optimizer, real = state.optimizers["degradation"], state.real
    assert real is not None
    window, _ = sample_hr(state, hr_photos, matching.fit_batch, WINDOW)
    with torch.no_grad():
        kernel = degradation.kernel(sample_latents(state, matching.fit_batch, WINDOW).kernel)
        blurred = conv_strided(window, kernel, config.scale)  # (32, 3, 32, 32)
    kernel_lr, noise_lr = matching.fit_kernel_lr * (1 - progress), matching.fit_noise_lr * (1 - progress)
    set_lr(optimizer, kernel_lr, noise_lr)
    noise_distance = kernel_distance = torch.zeros(())
    for _ in range(NOISE_UPDATES if degradation.has_noise else 0):
        noise_distance, prior = _noise_distance(state, real, blurred)
        optimizer_step(optimizer, noise_distance + prior, max_grad_norm=config.max_grad_norm)
    for _ in range(KERNEL_UPDATES):
        kernel_distance, prior = _kernel_distance(state, real)
        optimizer_step(optimizer, kernel_distance + prior, max_grad_norm=config.max_grad_norm)
    return {"fit": noise_distance.item() + kernel_distance.item()}


def _kernel_distance(state: TrainState, real: RealFeatures) -> tuple[Tensor, Tensor]:
    """Draws kernels. Returns the energy distance of their targets from the real photos' predictions, and the prior."""
    features = get_features(state.config.scale, state.device)
    kernel = state.degradation.kernel(sample_latents(state, state.matching.fit_batch, 1).kernel)
    spectrum = state.estimator.normalize_kernel_spectrum(features.kernel_targets(kernel))
    target = real.corrected_spectrum if len(real.corrected_spectrum) else real.predicted.kernel_spectrum
    return energy_distance(spectrum, target), kernel_prior(state.matching, kernel)


def _noise_distance(state: TrainState, real: RealFeatures, blurred: Tensor) -> tuple[Tensor, Tensor]:
    """Draws noise. Returns the energy distance from the real photos' noise, and the prior."""
    features, degradation = get_features(state.config.scale, state.device), state.degradation
    if measured := bool(len(real.noise_curves)):
        distance, noise = noise_step_distance(state)
    else:
        latents = sample_latents(state, len(blurred), WINDOW)
        noise = degradation.add_jpeg_residual(latents, blurred, degradation.draw_noise(latents, blurred))
        noise = quantize_ste(blurred + noise) - blurred
        nothing = torch.zeros_like(real.predicted.kernel_spectrum[:1]).expand(len(noise), -1)
        targets = DegradationTargets(nothing, *features.noise_targets(255 * noise, 255 * blurred, 1))
        amplitude = state.estimator.normalize_targets(targets).noise_amplitude
        distance = energy_distance(amplitude, real.predicted.noise_amplitude)
    prior = noise_prior(state.matching, degradation.noise, noise, features.spectra, white_noise=not measured)
    return distance, prior
