"""Transparency of super-resolved images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.inference.streaming import Pixels

MARGIN = 3  # low-resolution rows around a band that bicubic interpolation reads


def fill_transparent(rgb: Pixels, alpha: Pixels) -> Pixels:
    """Returns colors (h, w, 3) whose fully transparent pixels have the colors of their visible neighbors.

    A network mixes the colors of neighbors. What is hidden would otherwise show at the edge of what is visible.
    """
    if alpha.all() or not alpha.any():
        return rgb
    visible = (alpha > 0).astype(np.float32)
    filled = _push_pull(rgb * visible[..., None], visible)
    return np.where(alpha[..., None] > 0, rgb, np.rint(filled).astype(rgb.dtype))


def _push_pull(color: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fills pixels of weight 0 with averages of visible ones around them, from ever larger blocks.

    `color` (h, w, 3) is multiplied with `weight` (h, w) in 0..1.
    """
    mean: NDArray[np.float32] = np.divide(color, np.maximum(weight, np.float32(1e-30))[..., None], dtype=np.float32)
    if weight.all() or weight.size == 1:
        return mean
    height, width = weight.shape
    pad = ((0, height % 2), (0, width % 2))
    blocks = np.pad(weight, pad).reshape(-(-height // 2), 2, -(-width // 2), 2)
    colors = np.pad(color, (*pad, (0, 0))).reshape(*blocks.shape, 3)
    total = blocks.sum((1, 3))
    share = 1 / np.maximum(total, 1)  # a block counts at most as one pixel
    coarse = _push_pull(colors.sum((1, 3)) * share[..., None], np.minimum(total, 1))
    around = coarse.repeat(2, 0)[:height].repeat(2, 1)[:, :width]
    filled: NDArray[np.float32] = np.where(weight[..., None] > 0, mean, around)
    return filled


class AlphaEnlarger:
    """Enlarges transparency (h, w) bicubically, a band of rows at a time."""

    def __init__(self, alpha: Pixels, scale: int, bits: int):
        self._alpha, self._scale = alpha, scale
        self._max, self._kind = 2**bits - 1, np.dtype(f"uint{bits}")
        self._gain = self._max / np.iinfo(alpha.dtype).max

    def rows(self, start: int, stop: int) -> Pixels:
        """Returns rows `start` to before `stop` of the enlarged plane (s·h, s·w)."""
        scale, (height, width) = self._scale, self._alpha.shape
        top, bottom = max(0, start // scale - MARGIN), min(height, -(-stop // scale) + MARGIN)
        band = Image.fromarray(self._alpha[top:bottom].astype(np.float32))
        enlarged = np.asarray(band.resize((scale * width, scale * (bottom - top)), Image.Resampling.BICUBIC))
        rows = enlarged[start - scale * top : stop - scale * top] * self._gain
        pixels: Pixels = np.rint(rows).clip(0, self._max).astype(self._kind)
        return pixels
