"""Enlarging an image of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.device import fast_dtype, free_memory
from models.inference.streaming import BandedEDSR
from models.networks.edsr import EDSR, EDSRConfig

BAND_PIXELS = {"cpu": 2**15}  # worked on at a time: on a CPU what fits into its cache,
BAND_PIXELS_OF_OTHERS = 2**20  # on a GPU what keeps it busy
FEWEST_ROWS = 4  # of a band; for each two more are read
NARROWEST = 32  # columns of a tile that is chosen by the memory that there is


@dataclass(frozen=True)
class Plan:
    """How an image is taken apart, in low-resolution pixels; tiles are told without what lies around them."""

    rows: int  # of a tile
    columns: int  # of a tile
    at_once: int  # tiles that pass through the network together
    band: int  # pixels that do


def super_resolve(
    edsr: EDSR, lr: NDArray[np.uint8], *, tile: int | None = None, dtype: torch.dtype | None = None
) -> NDArray[np.uint8]:
    """All rows of `super_resolved_rows`: lr (h, w, 3) → (s·h, s·w, 3)."""
    return np.concatenate(list(super_resolved_rows(edsr, lr, tile=tile, dtype=dtype)))


def super_resolved_rows(
    edsr: EDSR,
    lr: NDArray[np.uint8],
    *,
    tile: int | None = None,
    dtype: torch.dtype | None = None,
    after_band: Callable[[float], None] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """lr (h, w, 3) → (s·h, s·w, 3), from the top and some rows at a time; the same as if enlarged in one piece.

    What is held beside them does not grow with the image's height, nor with its width beyond what memory allows: an
    image wider than that is enlarged in tiles, each with all around it that its pixels depend on. `tile` is the side of
    smaller ones. `dtype` is what the network computes in; None takes the fastest that does not show. After each band,
    `after_band(share of the image that is done)` is called and may raise. Raises ValueError for an image of another
    shape or type and for a tile below 1.
    """
    if lr.ndim != 3 or lr.shape[2] != 3 or lr.dtype != np.uint8 or not lr.size:
        raise ValueError(f"an image is (h, w, 3) uint8, not {lr.shape} {lr.dtype}")
    if tile is not None and tile < 1:
        raise ValueError(f"a tile of {tile} pixels is too small")
    height, width = lr.shape[:2]
    device = next(edsr.parameters()).device
    plan = planned(edsr.config, height, width, tile, device)
    network = BandedEDSR(edsr, dtype or fast_dtype(device))
    for top in range(0, height, plan.rows):
        rows = slice(top, min(top + plan.rows, height))
        yield from _row_of_tiles(network, lr, plan, rows, after_band or (lambda _: None))


def planned(config: EDSRConfig, height: int, width: int, tile: int | None, device: torch.device) -> Plan:
    """Uses at most a quarter of the memory that is free: half of it for a band, half for what is kept between bands.

    Rows are no matter to what is held, so that there are several tiles below each other only where there are several
    beside each other.
    """
    memory = free_memory(device) // 4
    pixel = 4 * config.width  # bytes of a pixel's features
    band = min(BAND_PIXELS.get(device.type, BAND_PIXELS_OF_OTHERS), memory // 2 // (8 * pixel))
    # Each convolution keeps two rows, and each skip connection those that wait for their branch: four for each of halo.
    columns = tile or max(NARROWEST, memory // 2 // (4 * config.halo * pixel) - 2 * config.halo)
    if columns >= width:
        return Plan(height, width, 1, band)
    rows = tile or max(NARROWEST, memory // 4 // (3 * config.scale**2 * width))
    return Plan(rows, columns, max(1, band // ((rows + 2 * config.halo) * (columns + 2 * config.halo))), band)


@torch.inference_mode()
def _row_of_tiles(
    network: BandedEDSR, lr: NDArray[np.uint8], plan: Plan, rows: slice, after_band: Callable[[float], None]
) -> Iterator[NDArray[np.uint8]]:
    """These rows, enlarged: as they come where there is one tile, else all at once."""
    (height, width), config = lr.shape[:2], network.edsr.config
    scale, halo = config.scale, config.halo
    above, below = max(0, rows.start - halo), min(height, rows.stop + halo)
    # All are cut equally wide, so that several make one batch; the last then overlap their neighbours further.
    cut = min(width, plan.columns + 2 * halo)
    tiles = [(left, min(max(0, left - halo), width - cut)) for left in range(0, width, plan.columns)]
    count = scale * (rows.stop - rows.start)
    joined = np.empty((count, width * scale, 3), np.uint8) if len(tiles) > 1 else None

    for number in range(0, len(tiles), plan.at_once):
        some = tiles[number : number + plan.at_once]

        def bands(number: int = number, some: list[tuple[int, int]] = some) -> Iterator[Tensor]:
            step = max(FEWEST_ROWS, plan.band // (cut * len(some)))
            for first in range(above, below, step):
                last = min(first + step, below)
                yield network.input([lr[first:last, start : start + cut] for _, start in some])
                done = (number + len(some) * (last - above) / (below - above)) / len(tiles)
                after_band((rows.start + done * (rows.stop - rows.start)) / height)

        at = scale * (above - rows.start)  # where the next rows belong; those of the halo do not
        for image in network.enlarge(bands(), below - above):
            pixels = network.output(image)[:, max(0, -at) : max(0, count - at)]
            first, at = max(0, at), at + image.shape[2]
            if joined is None:
                yield pixels[0]
                continue
            for (left, start), part in zip(some, pixels, strict=True):
                right = min(left + plan.columns, width)
                inner = part[:, scale * (left - start) : scale * (right - start)]
                joined[first : first + len(part), scale * left : scale * right] = inner
    if joined is not None:
        yield joined
