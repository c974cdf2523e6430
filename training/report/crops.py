"""Looks at photos: a few crops of one photo, and figures of them in which its blur and its noise show.

Blur shows in the windows with the sharpest edges, noise in the flattest ones. So what is taken of a look's windows is
their mean and these two ends, in any order: figures that vary less with what a photo shows than its spectrum does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.jpeg import BLOCK
from training.data.photos import Photos, PhotosError, draw_patches
from training.estimator.spectra import FLOOR, SECTORS, WINDOW, Spectra, windows_of

RINGS = (0.05, 0.12, 0.19, 0.26, 0.33, 0.41, 0.5)  # their borders, in cycles a low-resolution pixel
FLATTEST, SHARPEST = 0.2, 0.25  # shares of a look's windows
COARSE = 8  # side of the blocks that content is judged by, which neither blur nor noise changes much
# (side of crops, crops of a photo, side that half of the photos must have)
GEOMETRIES = ((64, 4, 96), (64, 1, 64), (48, 1, 48))


@dataclass(frozen=True)
class Geometry:
    """What is looked at of a photo, in low-resolution pixels. Real and made photos are looked at alike."""

    side: int = 32  # of a crop
    crops: int = 1  # of a photo

    @staticmethod
    def fitting(lr_photos: Photos, hr_photos: Photos, scale: int) -> Geometry:
        """As much as most photos of both sets hold."""
        for side, crops, needed in GEOMETRIES:
            enough = (
                len(photos.at_least(needed * times)) >= max(1, len(photos) / 2)
                for photos, times in ((lr_photos, 1), (hr_photos, scale))
            )
            if all(enough):
                return Geometry(side, crops)
        return Geometry()


def real_crops(photos: Photos, geometry: Geometry, indices: list[int], generator: torch.Generator) -> Iterator[Tensor]:
    """Of each photo named, (crops, 3, side, side) uint8, on the grid of JPEG's blocks as made ones are."""
    for index in indices:
        yield draw_patches(
            photos,
            geometry.crops,
            geometry.side,
            generator,
            per_photo=geometry.crops,
            turned=False,
            among=[index],
            grid=BLOCK,
        )


def clean_windows(
    photos: Photos,
    geometry: Geometry,
    indices: list[int],
    generator: torch.Generator,
    *,
    scale: int,
    size: int,
    top: int,
) -> Iterator[Tensor]:
    """Of each photo named, (crops, 3, …) in [0, 1]: all that a kernel of `size` taps from `top` on makes crops of."""
    for index in indices:
        patches = draw_patches(
            photos,
            geometry.crops,
            geometry.side * scale,
            generator,
            per_photo=geometry.crops,
            turned=False,
            margin=(-top, size - scale + top),
            among=[index],
        )
        yield patches.float() / 255


def generator_for(seed: int, purpose: int) -> torch.Generator:
    """Random numbers for one of the four things that a report or a gallery draws: none disturbs another's."""
    return torch.Generator().manual_seed((seed * 4 + purpose) & 0x7FFF_FFFF_FFFF_FFFF)


def spread_over(photos: Photos, side: int, count: int) -> list[int]:
    """`count` indices of photos that hold `side`, ascending, each photo as often as the others. Raises PhotosError."""
    usable = photos.at_least(side)
    if not usable:
        raise PhotosError(f"none of {len(photos)} photos is {side} pixels wide and high")
    return [usable[number * len(usable) // count] for number in range(count)]


class LookStatistics:
    """Figures of looks."""

    def __init__(self) -> None:
        self.spectra = Spectra()
        radius, sector = self.spectra.radius, self.spectra.sector
        rings = torch.stack([(radius >= low) & (radius < high) for low, high in itertools.pairwise(RINGS)])
        sectors = rings[:, None] & torch.stack([sector == number for number in range(SECTORS)])
        self.rings = _means(rings.flatten(1))  # (frequencies, R)
        self.sectors = _means(sectors.flatten(2).flatten(0, 1))  # (frequencies, R · SECTORS)

    def of_look(self, crops: Tensor) -> Tensor:
        """crops (B, 3, side, side) of one photo in 8-bit levels → (F,): logarithms of powers, their ends and ratios."""
        windows = windows_of(crops, WINDOW // 2)  # (W, 3, 32, 32)
        power = self.spectra.power(windows).flatten(2)  # (W, 3, frequencies)
        ring = (power @ self.rings + FLOOR).log()  # (W, 3, R)
        sector = (power[:, 0] @ self.sectors + FLOOR).log().view(len(ring), -1, SECTORS)  # (W, R, S)
        flattest = ring[:, :, 1:].sort(0).values[: _share(len(ring), FLATTEST)].mean(0)
        sharpest = _share(len(ring), SHARPEST)
        edges = ring[ring[:, 0, 1].topk(sharpest).indices, 0].mean(0)  # (R,)
        # In each direction the windows whose edges lie across it; how fast their power falls tells the width there.
        across = sector[:, :2].mean(1).topk(sharpest, 0).indices  # (k, S)
        falls = sector.gather(0, across[:, None].expand(-1, sector.shape[1], -1)).mean(0)
        falls = falls[1:5] - falls[:1]  # (4, S)
        directions = torch.stack([falls.mean(1), falls.amax(1), falls.amin(1), falls.std(1)])
        brightness = windows.mean((1, 2, 3))
        others = torch.stack([_tilt(brightness, ring[:, 0, 3:].mean(1)), brightness.mean() / 100, _blockiness(crops)])
        parts = (flattest, ring.mean(0), edges, directions, others)
        return torch.cat([part.flatten() for part in parts])

    def of_content(self, crops: Tensor) -> Tensor:
        """crops (B, 3, side, side) of one photo in 8-bit levels → (9,): means and contrasts of blocks of 8 pixels.

        Hardly changed by blur, noise or compression: it tells what a photo shows.
        """
        blocks = torch.nn.functional.avg_pool2d(self.spectra.opponents_of(crops), COARSE)
        flat = blocks.transpose(0, 1).flatten(1)  # (3, blocks)
        steps = (blocks[..., 1:] - blocks[..., :-1]).abs().transpose(0, 1).flatten(1)
        return torch.cat([flat.mean(1), (flat.std(1) + 1).log(), (steps.mean(1) + 1).log()])


def _means(masks: Tensor) -> Tensor:
    """masks (N, frequencies) → (frequencies, N): the mean over each."""
    weights = masks.float()
    return (weights / weights.sum(1, keepdim=True).clamp_min(1)).T


def _share(count: int, share: float) -> int:
    return max(1, round(count * share))


def _tilt(brightness: Tensor, power: Tensor) -> Tensor:
    """How much stronger the noise of the brighter half of the windows is, by the flattest of either half; (W,) each."""
    order = brightness.argsort()
    half = len(order) // 2
    if not half:
        return power.new_zeros(())
    dark, bright = (
        power[part].sort().values[: _share(half, FLATTEST)].mean() for part in (order[:half], order[-half:])
    )
    return bright - dark


def _blockiness(crops: Tensor) -> Tensor:
    """How much larger steps are at the borders of JPEG's blocks than elsewhere, as a logarithm."""
    grey = crops.mean(1)
    border = torch.arange(grey.shape[2] - 1) % 8 == 7
    steps = (grey[:, :, 1:] - grey[:, :, :-1]).abs(), (grey[:, 1:] - grey[:, :-1]).abs().transpose(1, 2)
    at, elsewhere = (sum(step[:, :, where].mean() for step in steps) for where in (border, ~border))
    return ((at + 0.2) / (elsewhere + 0.2)).log()  # type: ignore[union-attr]
