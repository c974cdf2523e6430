"""Checks the photos and adapts the configuration to them, before a training."""

from __future__ import annotations

from dataclasses import replace

from training.config import TrainConfig
from training.data.compressions import collect_compressions
from training.data.photos import Photos, PhotosError


def check_photos(config: TrainConfig, lr_photos: Photos, hr_photos: Photos) -> None:
    """Raises PhotosError unless both sets hold photos that a patch fits into."""
    for photos, kind, side in (
        (lr_photos, "real low-resolution", config.min_lr_side),
        (hr_photos, "clean high-resolution", config.min_hr_side),
    ):
        if not len(photos):
            raise PhotosError(f"There are no {kind} photos. Add some.")
        if not photos.indices_fitting(side):
            raise PhotosError(
                f"None of the {len(photos)} {kind} photos is {side} pixels wide and high. Add larger ones."
            )


def adapt_config(config: TrainConfig, lr_photos: Photos, hr_photos: Photos) -> TrainConfig:
    """Returns the configuration adapted to the photos.

    Crops for the matching become smaller where most photos are too small for them. Generated photos get the
    compressions of the real ones.
    """
    matching = config.matching
    if not matching:
        return config
    sides = (lr_photos, matching.crop), (hr_photos, matching.crop * config.scale)
    if any(len(photos.indices_fitting(side)) < len(photos) / 2 for photos, side in sides):
        crops_per_photo = round(matching.crops_per_photo * (matching.crop / config.lr_patch) ** 2)
        matching = replace(matching, crop=config.lr_patch, crops_per_photo=crops_per_photo)
    degradation = replace(config.degradation, compressions=collect_compressions(lr_photos))
    return replace(config, matching=matching, degradation=degradation)
