"""Before all else: the real photos are looked at."""

from __future__ import annotations

import torch

from models.jpeg import UNCOMPRESSED
from training.compression import quality_of
from training.drawing import in_fold
from training.estimator import statistics_of
from training.likeness import most_alike, views_of
from training.photos import Photos, draw_patches
from training.presets import Matching
from training.state import RealLooks, State


@torch.no_grad()
def look_at_real(state: State, matching: Matching, photos: Photos, hr_photos: Photos) -> None:
    """Measures the real photos, each equally often.

    Each is compared with what is made of the fold that holds the clean photo most like it. Where real photos show the
    same as clean ones, the estimator that judges it then has seen neither. Photos of one view are looked at in the same
    places, so that what they show cancels out in what they differ by.
    """
    statistics, looks, folds = statistics_of(state.recipe.scale, state.device), [], []
    places, place = list[int](), 0
    clean = [in_fold(hr_photos, matching, state.recipe.scale, fold) for fold in range(matching.folds)]
    fold_of = {photo: fold for fold, photos_of_it in enumerate(clean) for photo in photos_of_it}
    alike = most_alike(photos, hr_photos, state.recipe.scale, sorted(fold_of))
    compressed = bool(state.recipe.degradation.jpeg_qualities)
    usable = photos.at_least(matching.crop)
    usable = usable[:: 1 + (len(usable) - 1) // matching.real_looks]
    generator = state.generators["real"]
    for view in views_of(photos, usable):
        qualities = [float(quality_of(photos[index])) if compressed else UNCOMPRESSED for index in view]
        for _ in range(matching.real_looks // len(usable)):
            here = generator.get_state()
            for index, quality in zip(view, qualities, strict=True):
                generator.set_state(here)
                crops = draw_patches(
                    photos,
                    matching.crops,
                    matching.crop,
                    generator,
                    per_photo=matching.crops,
                    turned=False,
                    among=[index],
                    grid=8 if compressed else 1,  # made photos are cut so, too
                )
                crops = crops.to(state.device).float()
                all_alike = torch.full((len(crops),), quality, device=state.device)
                looks.append(statistics.windows(crops, all_alike, matching.crops).half())
                folds.append(fold_of[alike[view[0]]])
                places.append(place)
            place += 1
    state.real = RealLooks(torch.cat(looks), torch.tensor(folds), torch.tensor(places))
    if torch.bincount(state.real.folds, minlength=matching.folds).min() < len(folds) / (4 * matching.folds):
        # Too few are like some fold: any will do.
        state.real = state.real._replace(folds=torch.arange(len(folds)) % matching.folds)
