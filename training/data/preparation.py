"""What is asked of photos, and read off them, before there is anything to train."""

from __future__ import annotations

from dataclasses import replace

from training.config import Recipe
from training.data.jpeg_quality import qualities_of
from training.data.photos import Photos, PhotosError

QUALITIES = 60  # photos whose JPEG quality is read, at most


def check_photos(recipe: Recipe, lr_photos: Photos, hr_photos: Photos) -> None:
    """Raises PhotosError unless both sets hold photos that a patch fits into."""
    for photos, kind, side in (
        (lr_photos, "real low-resolution", recipe.minimum_lr_side),
        (hr_photos, "clean high-resolution", recipe.minimum_hr_side),
    ):
        if not len(photos):
            raise PhotosError(f"there are no {kind} photos: add some")
        if not photos.at_least(side):
            raise PhotosError(
                f"none of the {len(photos)} {kind} photos is {side} pixels wide and high: add larger ones"
            )


def fitted_to(recipe: Recipe, lr_photos: Photos, hr_photos: Photos) -> Recipe:
    """The recipe with what is read off the photos before there is anything to train.

    Smaller crops are looked at where most photos are too small for those of the recipe. The JPEG qualities of the real
    photos are read, if any shows one.
    """
    matching = recipe.matching
    if not matching:
        return recipe
    sides = (lr_photos, matching.crop), (hr_photos, matching.crop * recipe.scale)
    if any(len(photos.at_least(side)) < len(photos) / 2 for photos, side in sides):
        crops = round(matching.crops * (matching.crop / recipe.lr_patch) ** 2)
        matching = replace(matching, crop=recipe.lr_patch, crops=crops)
    qualities = tuple(sorted(qualities_of(lr_photos, QUALITIES)))
    return replace(recipe, matching=matching, degradation=replace(recipe.degradation, jpeg_qualities=qualities))
