"""Before all else: the real photos are looked at."""

from __future__ import annotations

import torch

from models.jpeg import UNCOMPRESSED
from training.config import Matching
from training.data.jpeg_quality import quality_of
from training.data.photos import Photos, draw_patches
from training.data.scenes import views_of
from training.estimator.network import statistics_of
from training.state import RealLooks, State


@torch.no_grad()
def look_at_real(state: State, matching: Matching, photos: Photos) -> None:
    """Asks the estimator about the real photos, each equally often.

    Photos of one view are looked at in the same places, so that what they show cancels out in what they differ by.
    """
    statistics, told, light = statistics_of(state.recipe.scale, state.device), [], []
    places, place = list[int](), 0
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
                    grid=state.recipe.lr_grid,
                )
                crops = crops.to(state.device).float()
                all_alike = torch.full((len(crops),), quality, device=state.device)
                windows = statistics.windows(crops, all_alike, matching.crops)
                told.append(state.estimator(windows))
                light.append(statistics.light(windows))
                places.append(place)
            place += 1
    state.real = RealLooks(torch.cat(told), torch.cat(light), torch.tensor(places, device=state.device))
