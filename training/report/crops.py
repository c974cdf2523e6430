"""Crops of photos for the report, and the features of them that show blur and noise.

Blur shows in the windows with the sharpest edges, noise in the flattest ones. So the features are the mean over all
windows and these two extremes, in any order. They depend less on content than a spectrum does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.photos import Photos, PhotosError, sample_patches
from training.estimator.spectra import POWER_FLOOR, SECTORS, WINDOW, Spectra, extract_windows

RING_EDGES = (0.05, 0.12, 0.19, 0.26, 0.33, 0.41, 0.5)  # in cycles per low-resolution pixel
FLAT_FRACTION, SHARP_FRACTION = 0.2, 0.25  # of a photo's windows
CONTENT_BLOCK = 8  # side of the blocks that content is judged by; blur and noise hardly change their means
# (side of a crop, crops of a photo, side that half of the photos must have)
GEOMETRIES = ((64, 4, 96), (64, 1, 64), (48, 1, 48))


@dataclass(frozen=True)
class CropGeometry:
    """The crops of a photo, in low-resolution pixels. The same for real and generated photos."""

    side: int = 32  # of a crop
    crops_per_photo: int = 1

    @staticmethod
    def choose(lr_photos: Photos, hr_photos: Photos, scale: int) -> CropGeometry:
        """Chooses the largest geometry that at least half of the photos of both sets can hold."""
        for side, crops_per_photo, min_side in GEOMETRIES:
            enough = (
                len(photos.indices_fitting(min_side * factor)) >= max(1, len(photos) / 2)
                for photos, factor in ((lr_photos, 1), (hr_photos, scale))
            )
            if all(enough):
                return CropGeometry(side, crops_per_photo)
        return CropGeometry()


def sample_real_crops(
    photos: Photos, geometry: CropGeometry, indices: list[int], generator: torch.Generator
) -> Iterator[Tensor]:
    """Yields (crops, 3, side, side) uint8 for each index. Crops start at a JPEG block, as generated ones do."""
    for index in indices:
        yield sample_patches(
            photos,
            geometry.crops_per_photo,
            geometry.side,
            generator,
            crops_per_photo=geometry.crops_per_photo,
            augment=False,
            indices=[index],
            on_grid=True,
        )


def sample_hr_windows(
    photos: Photos,
    geometry: CropGeometry,
    indices: list[int],
    generator: torch.Generator,
    *,
    scale: int,
    size: int,
    top: int,
) -> Iterator[Tensor]:
    """Yields (crops, 3, …) in [0, 1] for each index: all pixels that a kernel with `size` taps from `top` on covers."""
    for index in indices:
        patches = sample_patches(
            photos,
            geometry.crops_per_photo,
            geometry.side * scale,
            generator,
            crops_per_photo=geometry.crops_per_photo,
            augment=False,
            margin=(-top, size - scale + top),
            indices=[index],
        )
        yield patches.float() / 255


def make_generator(seed: int, purpose: int) -> torch.Generator:
    """Makes the generator for one of a report's or gallery's four purposes, 0..3. None disturbs another's sequence."""
    return torch.Generator().manual_seed((seed * 4 + purpose) & 0x7FFF_FFFF_FFFF_FFFF)


def evenly_spaced(photos: Photos, side: int, count: int) -> list[int]:
    """Returns `count` ascending indices of photos that hold `side`, each equally often. Raises PhotosError if none."""
    usable = photos.indices_fitting(side)
    if not usable:
        raise PhotosError(f"None of {len(photos)} photos is {side} pixels wide and high. Add larger ones.")
    return [usable[number * len(usable) // count] for number in range(count)]


class CropFeatures:
    """Computes the features of a photo's crops."""

    def __init__(self) -> None:
        self.spectra = Spectra()
        radius, sector = self.spectra.radius, self.spectra.sector
        rings = torch.stack([(radius >= low) & (radius < high) for low, high in itertools.pairwise(RING_EDGES)])
        sectors = rings[:, None] & torch.stack([sector == number for number in range(SECTORS)])
        self.ring_weights = _mean_weights(rings.flatten(1))  # (frequencies, R)
        self.sector_weights = _mean_weights(sectors.flatten(2).flatten(0, 1))  # (frequencies, R · SECTORS)

    def degradation_features(self, crops: Tensor) -> Tensor:
        """Computes (F,) log powers, their extremes and ratios, of one photo's crops (B, 3, side, side) in levels."""
        windows = extract_windows(crops, WINDOW // 2)  # (W, 3, 32, 32)
        power = self.spectra.power(windows).flatten(2)  # (W, 3, frequencies)
        ring = (power @ self.ring_weights + POWER_FLOOR).log()  # (W, 3, R)
        sector = (power[:, 0] @ self.sector_weights + POWER_FLOOR).log().view(len(ring), -1, SECTORS)  # (W, R, S)
        flattest = ring[:, :, 1:].sort(0).values[: _count_fraction(len(ring), FLAT_FRACTION)].mean(0)
        num_sharp = _count_fraction(len(ring), SHARP_FRACTION)
        edges = ring[ring[:, 0, 1].topk(num_sharp).indices, 0].mean(0)  # (R,)
        # In each direction, the windows with edges across it. How fast their power falls shows the width there.
        across = sector[:, :2].mean(1).topk(num_sharp, 0).indices  # (k, S)
        falloff = sector.gather(0, across[:, None].expand(-1, sector.shape[1], -1)).mean(0)
        falloff = falloff[1:5] - falloff[:1]  # (4, S)
        directions = torch.stack([falloff.mean(1), falloff.amax(1), falloff.amin(1), falloff.std(1)])
        brightness = windows.mean((1, 2, 3))
        slope = _noise_brightness_slope(brightness, ring[:, 0, 3:].mean(1))
        others = torch.stack([slope, brightness.mean() / 100, _blockiness(crops)])
        parts = (flattest, ring.mean(0), edges, directions, others)
        return torch.cat([part.flatten() for part in parts])

    def content_features(self, crops: Tensor) -> Tensor:
        """Computes (9,) means and contrasts of blocks of 8 pixels, of one photo's crops (B, 3, side, side) in levels.

        Blur, noise and compression hardly change them, so they describe content.
        """
        blocks = torch.nn.functional.avg_pool2d(self.spectra.to_opponent(crops), CONTENT_BLOCK)
        flat = blocks.transpose(0, 1).flatten(1)  # (3, blocks)
        steps = (blocks[..., 1:] - blocks[..., :-1]).abs().transpose(0, 1).flatten(1)
        return torch.cat([flat.mean(1), (flat.std(1) + 1).log(), (steps.mean(1) + 1).log()])


def _mean_weights(masks: Tensor) -> Tensor:
    """Returns weights (frequencies, N) that average over each of masks (N, frequencies)."""
    weights = masks.float()
    return (weights / weights.sum(1, keepdim=True).clamp_min(1)).T


def _count_fraction(count: int, fraction: float) -> int:
    return max(1, round(count * fraction))


def _noise_brightness_slope(brightness: Tensor, power: Tensor) -> Tensor:
    """Computes how much stronger noise is in the brighter half of the windows, from the flattest of each half.

    brightness and power are (W,).
    """
    order = brightness.argsort()
    half = len(order) // 2
    if not half:
        return power.new_zeros(())
    dark, bright = (
        power[part].sort().values[: _count_fraction(half, FLAT_FRACTION)].mean()
        for part in (order[:half], order[-half:])
    )
    return bright - dark


def _blockiness(crops: Tensor) -> Tensor:
    """Computes the log ratio of steps at the borders of JPEG blocks to those elsewhere."""
    gray = crops.mean(1)
    at_border = torch.arange(gray.shape[2] - 1) % 8 == 7
    steps = (gray[:, :, 1:] - gray[:, :, :-1]).abs(), (gray[:, 1:] - gray[:, :-1]).abs().transpose(1, 2)
    border, elsewhere = (sum(step[:, :, where].mean() for step in steps) for where in (at_border, ~at_border))
    return ((border + 0.2) / (elsewhere + 0.2)).log()  # type: ignore[union-attr]
