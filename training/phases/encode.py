"""The encode phase: the estimator predicts kernel and noise of the real photos, once.

Its errors on clean photos with known kernels are measured, too. They show how much scenes mislead it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.compression import nearest_quality
from models.geometry import centered_kernel_size, conv_strided
from models.jpeg import NO_JPEG
from training.data.photos import Photos, sample_patches, thin_out
from training.data.scenes import group_by_scene
from training.data.simulation import random_kernels, random_noise
from training.estimator.flat_noise import measure_photos
from training.estimator.network import DegradationTargets, get_features
from training.estimator.scene_effects import remove_scene_effects
from training.state import RealFeatures, TrainState

MIN_QUALITY = 92  # JPEG quality of most photos; from here on noise survives in even areas
MAX_SCENES, DEGRADED = 60, 4  # clean photos on which the estimator's error is measured, and how often each is degraded


@torch.no_grad()
def encode_real_photos(state: TrainState, photos: Photos, hr_photos: Photos) -> None:
    """Sets `state.real` to the estimator's predictions for the real photos, unless it is set.

    Every photo counts equally often. Photos of one scene are cropped at the same positions, so that their content
    cancels out in their differences.
    """
    if state.real is not None:
        return
    matching, features = state.matching, get_features(state.config.scale, state.device)
    predictions, brightness = list[DegradationTargets](), list[torch.Tensor]()
    groups, group = list[int](), 0
    usable = thin_out(photos.indices_fitting(matching.crop), matching.num_real_crops)
    generator = state.generators["real"]
    bank = state.degradation.compression
    # Of photos whose compression is not known: that of most others.
    usual = bank.get_quality(bank.owners).median().item() if len(bank.owners) else NO_JPEG

    def get_quality(index: int) -> float:
        known = photos.compressions[index]
        return nearest_quality(known.compression) if known and len(bank.owners) else usual

    scenes = group_by_scene(photos, usable)
    for scene in scenes:
        qualities = [get_quality(index) for index in scene]
        for _ in range(matching.num_real_crops // len(usable)):
            position = generator.get_state()
            for index, quality in zip(scene, qualities, strict=True):
                generator.set_state(position)
                crops = sample_patches(
                    photos,
                    matching.crops_per_photo,
                    matching.crop,
                    generator,
                    crops_per_photo=matching.crops_per_photo,
                    augment=False,
                    indices=[index],
                    on_grid=state.config.on_grid,
                )
                crops = crops.to(state.device).float()
                jpeg_quality = torch.full((len(crops),), quality, device=state.device)
                windows = features.window_features(crops, jpeg_quality, matching.crops_per_photo)
                predictions.append(state.estimator(windows))
                brightness.append(features.mean_brightness(windows))
                groups.append(group)
            group += 1
    predicted = DegradationTargets(*(torch.cat(parts) for parts in zip(*predictions, strict=True)))
    # Strong compression leaves no noise in even areas.
    measurable = bank.is_empty or usual >= MIN_QUALITY
    curves = measure_photos(photos, scenes if measurable else [])
    scene_of_crops = torch.tensor(groups, device=state.device)
    generator = torch.Generator().manual_seed(state.seed)  # its own: the steps draw as they would without it
    covariance = measure_error_covariance(state, hr_photos, generator)
    spectrum = remove_scene_effects(predicted.kernel_spectrum, scene_of_crops, covariance, generator)
    state.real = RealFeatures(predicted, torch.cat(brightness), scene_of_crops, curves.to(state.device), spectrum)


def measure_error_covariance(state: TrainState, hr_photos: Photos, generator: torch.Generator) -> Tensor:
    """Measures how scenes mislead the estimator: the covariance of its mean errors on kernels, (bins, bins).

    Clean photos get random kernels and noise; the errors of each photo are averaged.
    """
    scale, crop, crops_per_photo = state.config.scale, state.matching.crop, state.matching.crops_per_photo
    features, size = get_features(scale, state.device), centered_kernel_size(scale)
    errors = []
    for index in thin_out(hr_photos.indices_fitting(crop * scale), MAX_SCENES):
        patches = sample_patches(
            hr_photos,
            DEGRADED * crops_per_photo,
            crop * scale,
            generator,
            crops_per_photo=crops_per_photo,
            margin=((size - scale) // 2,) * 2,
            augment=False,
            indices=[index],
        )
        kernel = random_kernels(DEGRADED, size, scale, generator)
        blurred = conv_strided(patches.float(), kernel.repeat_interleave(crops_per_photo, 0), scale)
        crops = (blurred + random_noise(blurred, crops_per_photo, generator)).clamp(0, 255).round().to(state.device)
        quality = torch.full((len(crops),), NO_JPEG, device=state.device)
        predicted = state.estimator(features.window_features(crops, quality, crops_per_photo)).kernel_spectrum
        true = state.estimator.normalize_kernel_spectrum(features.kernel_targets(kernel.to(state.device)))
        errors.append((predicted - true).mean(0))
    mean_errors = torch.stack(errors)
    return torch.cov(mean_errors.T) if len(errors) > 1 else mean_errors.T @ mean_errors
