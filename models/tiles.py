"""Enlarging an image of any size in tiles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from models.edsr import EDSR, EDSRConfig
from models.triplet import evaluating

TILE_MEMORY = 256 * 2**20  # bytes that a tile's largest layers may hold


def super_resolve(
    edsr: EDSR,
    lr: NDArray[np.uint8],
    *,
    tile: int | None = None,
    after_tile: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """lr (h, w, 3) → (s·h, s·w, 3), the same as if it had been enlarged in one piece.

    `tile` is the side of a tile in low-resolution pixels; None chooses it by the memory that it takes. Each tile is
    enlarged together with all around it that its pixels depend on. After each, `after_tile(done, total)` is called and
    may raise. Raises ValueError for an image of another shape or type and for a tile below 1.
    """
    if lr.ndim != 3 or lr.shape[2] != 3 or lr.dtype != np.uint8 or not lr.size:
        raise ValueError(f"an image is (h, w, 3) uint8, not {lr.shape} {lr.dtype}")
    side = default_tile(edsr.config) if tile is None else tile
    if side < 1:
        raise ValueError(f"a tile of {side} pixels is too small")
    height, width = lr.shape[:2]
    scale, halo = edsr.config.scale, edsr.config.halo
    parameter = next(edsr.parameters())
    corners = [(top, left) for top in range(0, height, side) for left in range(0, width, side)]
    sr = np.empty((height * scale, width * scale, 3), np.uint8)
    for done, (top, left) in enumerate(corners, start=1):
        bottom, right = min(top + side, height), min(left + side, width)
        above, before = max(0, top - halo), max(0, left - halo)
        cut = torch.from_numpy(lr[above : bottom + halo, before : right + halo].copy()).to(parameter.device)
        with torch.inference_mode(), evaluating(edsr):
            enlarged = edsr(cut.permute(2, 0, 1)[None].to(parameter.dtype) / 255)[0].permute(1, 2, 0)
            inner = enlarged[(top - above) * scale :, (left - before) * scale :]
            inner = inner[: (bottom - top) * scale, : (right - left) * scale]
            pixels = (inner.float() * 255).clamp(0, 255).round().byte().cpu().numpy()
        sr[top * scale : bottom * scale, left * scale : right * scale] = pixels
        if after_tile:
            after_tile(done, len(corners))
    return sr


def default_tile(config: EDSRConfig) -> int:
    """The largest tile whose last layers, three copies of `width` float maps at full size, fit into TILE_MEMORY."""
    pixels = TILE_MEMORY / (3 * 4 * config.width)
    return max(32, int(pixels**0.5 / config.scale) - 2 * config.halo)
