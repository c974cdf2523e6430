"""Finds photos that were compressed with JPEG and resized afterwards, so that their blocks have another size than 8."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.data.photos import Photos

Profile = NDArray[np.float64]

MIN_SIDE = 128  # pixels; smaller photos hold too few blocks
MAX_CURVATURE = 12.0  # levels; edges of blocks are weak, those of things are not
PERIODS = np.concatenate([np.arange(3.9, 7.8, 0.02), np.arange(8.3, 16.0, 0.04)])  # pixels of a block's side
TREND = 16  # pixels over which a profile is made flat
OVERSAMPLING = 16  # of the spectrum, so that a harmonic lies near a frequency of it
MAX_FREQUENCY = 0.49  # cycles per pixel
# Of the weaker direction. Photos that were never compressed have less than 4; most of those of quality 50 and 75 that
# were reduced to 0.8 of their size have more.
MIN_SCORE = 4.0
MAX_INSPECTED = 12  # photos


def find_block_period(photo: NDArray[np.uint8]) -> float | None:
    """Returns the side in pixels of the blocks of a photo (H, W, 3), if they are not of 8 pixels; else None.

    Neighboring pixels differ more across the edges of blocks. A resized photo has such edges at a regular distance, the
    same in both directions.
    """
    if min(photo.shape[:2]) < MIN_SIDE:
        return None
    green = photo[:, :, 1].astype(np.float32)
    scores = np.minimum(_score(_edge_profile(green)), _score(_edge_profile(green.T)))
    best = int(scores.argmax())
    return float(PERIODS[best]) if scores[best] > MIN_SCORE else None


def count_resized(photos: Photos) -> tuple[int, int]:
    """Returns how many photos were compressed and then resized, and how many photos were inspected.

    Those are a few that show no blocks of 8 pixels. Their compressions must be known.
    """
    uncompressed = [
        index for index, known in enumerate(photos.compressions) if known and not known.compression.is_lossy
    ]
    inspected = uncompressed[:: max(1, -(-len(uncompressed) // MAX_INSPECTED))]
    return sum(find_block_period(photos[index]) is not None for index in inspected), len(inspected)


def _edge_profile(plane: NDArray[np.float32]) -> Profile:
    """Returns how much the pixels of each column differ from their neighbors, without slow changes."""
    curvature = np.abs(2 * plane[:, 1:-1] - plane[:, :-2] - plane[:, 2:])
    profile = np.minimum(curvature, MAX_CURVATURE).mean(0).astype(np.float64)
    padded = np.pad(profile, TREND, mode="reflect")
    flat: Profile = profile - np.convolve(padded, np.full(2 * TREND + 1, 1 / (2 * TREND + 1)), mode="valid")
    return flat * np.hanning(len(flat))


def _score(profile: Profile) -> Profile:
    """Returns for each period the log power of its first harmonics, relative to that of frequencies around them."""
    size = OVERSAMPLING * len(profile)
    power = np.log(np.abs(np.fft.rfft(profile, size)) ** 2 + 1e-12)
    around = 12 * OVERSAMPLING
    padded = np.pad(power, around, mode="reflect")
    level = np.convolve(padded, np.full(2 * around + 1, 1 / (2 * around + 1)), mode="valid")
    reach = OVERSAMPLING // 2  # half of a peak
    peak = np.lib.stride_tricks.sliding_window_view(np.pad(power, reach, mode="edge"), 2 * reach + 1).max(1) - level
    frequency = np.arange(1, 4)[:, None] / PERIODS  # (harmonics, periods)
    used = frequency < MAX_FREQUENCY
    heights = peak[np.round(frequency * used * size).astype(int)] * used
    scores: Profile = heights.sum(0) / np.sqrt(np.maximum(used.sum(0), 1.5))  # one harmonic alone proves less
    return scores
