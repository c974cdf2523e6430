"""The encode phase: the estimator predicts kernel and noise of the real photos, once."""

from __future__ import annotations

import torch

from models.compression import nearest_quality
from models.jpeg import NO_JPEG
from training.data.photos import Photos, sample_patches
from training.data.scenes import group_by_scene
from training.estimator.flat_noise import measure_photos
from training.estimator.network import DegradationTargets, get_features
from training.state import RealFeatures, TrainState

MAX_MEASURED = 120  # photos whose flattest windows are measured
MIN_QUALITY = 92  # JPEG quality of most photos, from which noise survives in even areas


@torch.no_grad()
def encode_real_photos(state: TrainState, photos: Photos) -> None:
    """Sets `state.real` to the estimator's predictions for the real photos, unless it is set.

    Every photo counts equally often. Photos of one scene are cropped at the same positions, so that their content
    cancels out in their differences.
    """
    if state.real is not None:
        return
    matching, features = state.matching, get_features(state.config.scale, state.device)
    predictions, brightness = list[DegradationTargets](), list[torch.Tensor]()
    groups, group = list[int](), 0
    usable = photos.indices_fitting(matching.crop)
    usable = usable[:: 1 + (len(usable) - 1) // matching.num_real_crops]
    generator = state.generators["real"]
    bank = state.degradation.compression
    # Of photos whose compression is not known: that of most others.
    usual = bank.get_quality(bank.owners).median().item() if len(bank.owners) else NO_JPEG

    def get_quality(index: int) -> float:
        known = photos.compressions[index]
        return nearest_quality(known.compression) if known and len(bank.owners) else usual

    for scene in group_by_scene(photos, usable):
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
    curves = measure_photos(photos, usable[:: 1 + len(usable) // MAX_MEASURED] if measurable else [])
    state.real = RealFeatures(
        predicted,
        torch.cat(brightness),
        torch.tensor(groups, device=state.device),
        curves.to(state.device),
    )
