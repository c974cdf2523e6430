"""Measures how far photos overshoot beside edges: the sign of a sharpening that no non-negative kernel has.

Spectra do not show it: a sharpened photo resembles one with a narrower kernel. Beside a clear, isolated edge it is
darker than the dark side and brighter than the bright side.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.degradation import Degradation, eval_mode
from models.losses import quantize_ste
from training.data.photos import Photos, thin_out

Array = NDArray[Any]

NEAR, FAR = 5, 8  # pixels from an edge where its two plateaus are
REACH = 4  # pixels from an edge that overshoot
MIN_STEP = 40.0  # 8-bit levels between the plateaus
MIN_SLOPE = 0.15  # of the step, for each pixel; what is blurred more hardly overshoots when sharpened
MAX_ALONG = 0.25  # slope along an edge, relative to that across it; above, it is a corner or curved
MAX_UNEVENNESS = 0.08  # range of a plateau, relative to the step
UNCLIPPED = 12.0, 243.0  # 8-bit levels between which plateaus are; beyond, an overshoot is cut off
MIN_EDGES, MIN_PHOTOS = 8, 6
MAX_PHOTOS = 40
SIDE = 192  # of the center of a photo that is measured, in low-resolution pixels


class Overshoot(NamedTuple):
    """How far photos overshoot, as a fraction of the step between the two sides of an edge."""

    mean: float  # over photos, of the brightest and the darkest pixel beside an edge
    error: float  # its standard error
    profile: Array  # (REACH,), mean over photos by the distance from the edge, from 1 pixel on


def measure_real_overshoot(lr_photos: Photos, max_photos: int = MAX_PHOTOS) -> Overshoot | None:
    """Measures the centers of at most `max_photos` real photos."""
    return measure_overshoot([center(photo, SIDE) for photo in _choose(lr_photos, max_photos)])


@torch.no_grad()
def measure_generated_overshoot(
    degradation: Degradation, hr_photos: Photos, *, seed: int, device: str = "cpu", max_photos: int = MAX_PHOTOS
) -> Overshoot | None:
    """Measures photos that are generated from the centers of at most `max_photos` clean ones.

    The same seed draws the same latents.
    """
    scale, generator = degradation.config.scale, torch.Generator().manual_seed(seed)
    photos = []
    with eval_mode(degradation):
        for photo in _choose(hr_photos, max_photos):
            clean = torch.from_numpy(np.array(center(photo, SIDE * scale)))
            clean = clean.permute(2, 0, 1)[None].to(device).float() / 255
            size = clean.shape[2] // scale, clean.shape[3] // scale
            latents = degradation.draw_latents(1, size, generator).to(device)
            lr = 255 * quantize_ste(degradation(clean, latents).lr)[0].nan_to_num(0, 0, 0)
            photos.append(lr.permute(1, 2, 0).round().byte().cpu().numpy())
    return measure_overshoot(photos)


def count_standard_errors(real: Overshoot, generated: Overshoot) -> float:
    """Returns by how many standard errors real photos overshoot further than generated ones; negative: less far."""
    return (real.mean - generated.mean) / float(np.hypot(real.error, generated.error) + 1e-9)


def _choose(photos: Photos, count: int) -> Iterator[NDArray[np.uint8]]:
    return (photos[index] for index in thin_out(list(range(len(photos))), count))


def center(photo: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Returns the center of a photo (h, w, 3), up to `side` pixels high and wide."""
    height, width = (min(side, full) for full in photo.shape[:2])
    top, left = (photo.shape[0] - height) // 2, (photo.shape[1] - width) // 2
    return photo[top : top + height, left : left + width]


def measure_overshoot(photos: list[NDArray[np.uint8]]) -> Overshoot | None:
    """Measures photos (h, w, 3). Each counts by the median of its edges. None if too few photos have clear edges."""
    found = [edges for photo in photos if len(edges := _measure_edges(photo)) >= MIN_EDGES]
    if len(found) < MIN_PHOTOS:
        return None
    medians = np.stack([np.median(edges, 0) for edges in found])
    mean, error = medians.mean(0), medians.std(0, ddof=1) / len(medians) ** 0.5
    return Overshoot(float(mean[0]), float(error[0]), mean[1:])


def _measure_edges(photo: NDArray[np.uint8]) -> Array:
    """Returns the overshoot at each clear edge of a photo (h, w, 3), (N, 1 + REACH): the farthest, and by distance."""
    gray = photo.astype(np.float32).mean(2)
    return np.concatenate([_measure_steps(_find_profiles(image)) for image in (gray, gray.T)])


def _find_profiles(image: Array) -> Array:
    """Returns pixels across vertical edges of image (h, w), from FAR before to FAR behind each, (N, 2 · FAR + 1).

    They are means of three rows, because noise overshoots as well.
    """
    if min(image.shape) < 2 * FAR + 3:
        return np.zeros((0, 2 * FAR + 1), np.float32)
    image = (image[:-2] + image[1:-1] + image[2:]) / 3
    across, along = np.zeros_like(image), np.zeros_like(image)
    across[:, 1:-1] = np.abs(image[:, 2:] - image[:, :-2]) / 2
    along[1:-1] = np.abs(image[2:] - image[:-2]) / 2
    steepest = (across[:, FAR:-FAR] >= across[:, FAR - 1 : -FAR - 1]) & (
        across[:, FAR:-FAR] > across[:, FAR + 1 : across.shape[1] - FAR + 1]
    )
    straight = along[:, FAR:-FAR] < MAX_ALONG * across[:, FAR:-FAR]
    rows, columns = np.nonzero(steepest & straight & (across[:, FAR:-FAR] > MIN_STEP / 8))
    profiles: Array = image[rows[:, None], columns[:, None] + np.arange(2 * FAR + 1)]
    return profiles


def _measure_steps(profiles: Array) -> Array:
    """Returns the overshoot of profiles (N, 2 · FAR + 1) that are clear steps, mean of both sides, (M, 1 + REACH)."""
    before, behind = profiles[:, : FAR - NEAR + 1], profiles[:, FAR + NEAR :]
    start, end = before.mean(1), behind.mean(1)
    step = np.abs(end - start)
    even = np.maximum(np.ptp(before, axis=1), np.ptp(behind, axis=1)) < MAX_UNEVENNESS * step
    unclipped = (np.minimum(start, end) > UNCLIPPED[0]) & (np.maximum(start, end) < UNCLIPPED[1])
    steep = np.abs(profiles[:, FAR + 1] - profiles[:, FAR - 1]) / 2 > MIN_SLOPE * step
    clear = (step > MIN_STEP) & steep & even & unclipped
    relative = (profiles[clear] - start[clear, None]) / (end - start)[clear, None]
    after, ahead = relative[:, FAR + 1 : FAR + REACH + 1] - 1, -relative[:, FAR - 1 : FAR - REACH - 1 : -1]
    highest = (after.max(1, keepdims=True) + ahead.max(1, keepdims=True)) / 2
    return np.concatenate([highest, (after + ahead) / 2], 1)
