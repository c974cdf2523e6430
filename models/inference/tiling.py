"""Enlarges an image of any size with an EDSR."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.device import measure_free_memory
from models.inference.streaming import Pixels, StreamingEDSR
from models.networks.edsr import EDSR, EDSRConfig

BAND_PIXELS = {"cpu": 2**15}  # of a band on a CPU, so that its features fit into the cache
DEFAULT_BAND_PIXELS = 2**20  # of a band on a GPU, so that it is busy
MIN_ROWS = 4  # of a band; each band reads two more
MIN_TILE_SIDE = 32  # of a tile whose size is chosen by the free memory


@dataclass(frozen=True)
class TilePlan:
    """How an image is split, in low-resolution pixels. Tiles are counted without their overlap."""

    rows: int  # of a tile
    columns: int  # of a tile
    batch: int  # tiles that pass through the network together
    band_pixels: int  # pixels that pass through the network together


def super_resolve(
    edsr: EDSR, lr: NDArray[np.uint8], *, tile: int | None = None, dtype: torch.dtype | None = None
) -> NDArray[np.uint8]:
    """Enlarges lr (h, w, 3) to (s·h, s·w, 3), as `upscale_rows` does."""
    return np.concatenate(list(upscale_rows(edsr, lr, tile=tile, dtype=dtype)))


def upscale_rows(
    edsr: EDSR | StreamingEDSR,
    lr: Pixels,
    *,
    tile: int | None = None,
    dtype: torch.dtype | None = None,
    bits: int = 8,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[Pixels]:
    """Enlarges lr (h, w, 3) and yields the rows of (s·h, s·w, 3) from the top, in 8 or 16 `bits`. Tiles leave no seam.

    Memory does not grow with the image's height. An image too wide for the free memory is split into tiles that
    overlap by the network's receptive radius. `tile` is the side of smaller tiles. `dtype` is that of the body of an
    `EDSR`; by default the fastest without visible loss. Of many small images each takes less time with one
    `StreamingEDSR`. A gray image stays gray. `on_progress(fraction done)` is called after each band; it may raise.
    Raises ValueError for an image of another shape or type and for a tile below 1.
    """
    if lr.ndim != 3 or lr.shape[2] != 3 or lr.dtype not in (np.uint8, np.uint16) or not lr.size:
        raise ValueError(f"an image is (h, w, 3) uint8 or uint16, not {lr.shape} {lr.dtype}")
    if tile is not None and tile < 1:
        raise ValueError(f"a tile of {tile} pixels is too small")
    gray = all(np.array_equal(lr[:, :, 0], lr[:, :, channel]) for channel in (1, 2))
    network = edsr if isinstance(edsr, StreamingEDSR) else StreamingEDSR(edsr, dtype)
    config, device = network.edsr.config, network.device
    border = config.border
    if border:  # repeats the outermost pixels
        above, left = (np.clip(np.arange(-border, length + border), 0, length - 1) for length in lr.shape[:2])
        lr = lr[above][:, left]
    height, width = lr.shape[:2]
    plan = plan_tiles(config, height, width, tile, device)
    cut, bottom, right = (config.scale * length for length in (border, height - border, width - border))
    done = 0  # rows of the output, the border's included
    for top in range(0, height, plan.rows):
        rows = slice(top, min(top + plan.rows, height))
        for pixels in _upscale_tile_row(network, lr, plan, rows, bits, gray, on_progress or (lambda _: None)):
            inner = pixels[max(0, cut - done) : max(0, bottom - done), cut:right]
            done += len(pixels)
            if len(inner):
                yield inner


def plan_tiles(config: EDSRConfig, height: int, width: int, tile: int | None, device: torch.device) -> TilePlan:
    """Plans tiles for the free memory: an eighth for a band, and an eighth for the rows that layers keep between bands.

    Neither depends on a tile's rows, so an image is split vertically only if it is split horizontally. Then tiles side
    by side are joined, and a sixteenth of the free memory is for their output. `tile` replaces both planned sides.
    """
    memory = measure_free_memory(device) // 4
    pixel = 4 * config.width  # bytes of a pixel's features
    radius = config.receptive_radius
    band = min(BAND_PIXELS.get(device.type, DEFAULT_BAND_PIXELS), memory // 2 // (8 * pixel))
    # Each convolution keeps two rows, and each skip connection the rows that its branch lags: four for each of radius.
    columns = tile or max(MIN_TILE_SIDE, memory // 2 // (4 * radius * pixel) - 2 * radius)
    if columns >= width:
        return TilePlan(height, width, 1, band)
    rows = tile or max(MIN_TILE_SIDE, memory // 4 // (3 * config.scale**2 * width))
    return TilePlan(rows, columns, max(1, band // ((rows + 2 * radius) * (columns + 2 * radius))), band)


@torch.inference_mode()
def _upscale_tile_row(
    network: StreamingEDSR,
    lr: Pixels,
    plan: TilePlan,
    rows: slice,
    bits: int,
    gray: bool,
    on_progress: Callable[[float], None],
) -> Iterator[Pixels]:
    """Enlarges these rows. Yields them as they come if there is one tile, else all at once."""
    (height, width), config = lr.shape[:2], network.edsr.config
    scale, radius = config.scale, config.receptive_radius
    above, below = max(0, rows.start - radius), min(height, rows.stop + radius)
    # All tiles have one width, so that several make a batch. The last one overlaps its neighbor further.
    tile_width = min(width, plan.columns + 2 * radius)
    tiles = [(left, min(max(0, left - radius), width - tile_width)) for left in range(0, width, plan.columns)]
    count = scale * (rows.stop - rows.start)
    joined = np.empty((count, width * scale, 3), np.dtype(f"uint{bits}")) if len(tiles) > 1 else None

    for number in range(0, len(tiles), plan.batch):
        batch = tiles[number : number + plan.batch]

        def bands(number: int = number, batch: list[tuple[int, int]] = batch) -> Iterator[Tensor]:
            step = max(MIN_ROWS, plan.band_pixels // (tile_width * len(batch)))
            for first in range(above, below, step):
                last = min(first + step, below)
                yield network.to_tensor([lr[first:last, start : start + tile_width] for _, start in batch])
                done = (number + len(batch) * (last - above) / (below - above)) / len(tiles)
                on_progress((rows.start + done * (rows.stop - rows.start)) / height)

        at = scale * (above - rows.start)  # index of the next output row; those of the overlap are negative
        for image in network.upscale_rows(bands(), below - above):
            pixels = network.to_pixels(image, bits, gray=gray)[:, max(0, -at) : max(0, count - at)]
            first, at = max(0, at), at + image.shape[2]
            if joined is None:
                yield pixels[0]
                continue
            for (left, start), part in zip(batch, pixels, strict=True):
                right = min(left + plan.columns, width)
                inner = part[:, scale * (left - start) : scale * (right - start)]
                joined[first : first + len(part), scale * left : scale * right] = inner
    if joined is not None:
        yield joined
