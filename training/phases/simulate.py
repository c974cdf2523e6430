"""First phase: clean photos are degraded at random, in every way that may be met."""

from __future__ import annotations

import torch
from torch import Tensor

from models.jpeg import compress
from models.sampling import sample_window
from training.drawing import draw_clean, draw_latents, in_fold
from training.estimator import Statistics, statistics_of
from training.photos import Photos
from training.presets import Matching
from training.simulation import in_other_light, random_kernels, random_noise
from training.state import Simulated, State


@torch.no_grad()
def simulate_step(state: State, matching: Matching, hr_photos: Photos) -> dict[str, float]:
    """Degrades clean photos at random, for the estimators to learn from."""
    recipe, generator = state.recipe, state.generators["estimator"]
    statistics = statistics_of(recipe.scale)
    size, crops, fold = recipe.degradation.kernel.size, matching.photos * matching.crops, state.step % matching.folds
    among = in_fold(hr_photos, matching, recipe.scale, fold)
    window, _ = draw_clean(state, hr_photos, crops, matching.crop, per_photo=matching.crops, among=among)
    kernel = random_kernels(matching.photos, size, recipe.scale, generator)
    blurred = sample_window(window.cpu(), kernel.repeat_interleave(matching.crops, 0), recipe.scale)
    # Light is linear, so that it may change after the blur, where there are fewer pixels.
    blurred = 255 * in_other_light(blurred, matching.crops, generator)
    noisy = (blurred + random_noise(blurred, matching.crops, generator)).clamp(0, 255).round()
    quality = draw_latents(state, crops, 1, per_photo=matching.crops).quality.cpu()
    lr = compress(noisy, quality)
    windows = statistics.windows(lr, quality, matching.crops)
    state.simulated.append(known_of(statistics, matching, windows, kernel, lr - blurred, blurred, fold))
    return {"simulated": float(count(state))}


def known_of(
    statistics: Statistics,
    matching: Matching,
    windows: Tensor,
    kernel: Tensor,
    noise: Tensor,
    blurred: Tensor,
    fold: int,
) -> Simulated:
    """What the estimators are to learn of photos of a fold.

    windows (N, W, F) as Statistics has them, kernel (N, K, K), noise and blurred those of all crops, in 8-bit levels.
    """
    return Simulated(
        windows.half(),
        statistics.of_kernels(kernel),
        statistics.of_noise(noise, blurred, matching.crops),
        torch.full((len(kernel),), fold, device=windows.device),
    )


def count(state: State) -> int:
    return sum(len(part.kernel) for part in state.simulated)
