"""8-bit images blurred and sampled by kernels on the grid: exactly, and as fast as the library's convolution allows."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.geometry import reflected
from models.inference.deterministic import plain_sums
from models.inference.int8_blur import byte_blur, fits, multiplies_bytes

# A convolution with one input channel is done for so many output channels at once: they fill a CPU's vector registers.
# Where there are fewer kernels, several neighbouring pixels of each share a pass, as channels with shifted kernels.
KERNELS_AT_ONCE = 16
BAND_PIXELS = 32_768  # low-resolution pixels of a pass; its part of the image fits into the cache then


def blur(hr: NDArray[np.uint8], kernels: Tensor, scale: int, origin: tuple[int, int], device: torch.device) -> Tensor:
    """hr (H, W, 3), kernels (n, K, K) on the grid → (n, 3, H // scale, W // scale) float32 in 0..255, on `device`."""
    kernels, origin = _trimmed(kernels, origin)
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    blurred = torch.empty(len(kernels), 3, height, width, device=device)
    with torch.inference_mode(), plain_sums():
        if device.type == "cpu" and multiplies_bytes() and fits(kernels):
            cols = scale * (width - 1) + scale * math.ceil(kernels.shape[2] / scale)
            across = reflected(origin[1], cols, hr.shape[1]).numpy()
            byte_blur(partial(_window, hr, origin, across), kernels, scale, blurred)
            return blurred
        first = 0
        # Exact sums do not depend on how they are come by, so that each pass may be the fastest for what is left.
        while first < len(kernels):
            side = _pixels_a_side(len(kernels) - first)
            some = slice(first, min(first + KERNELS_AT_ONCE // side**2, len(kernels)))
            _pass(hr, kernels[some], scale, origin, side, blurred[some])
            first = some.stop
    return blurred


def _trimmed(kernels: Tensor, origin: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """Without the rows and columns in which all of them are 0."""
    rows, cols = (kernels.sum((0, axis)).nonzero()[:, 0] for axis in (2, 1))
    inner = kernels[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return inner, (origin[0] + int(rows[0]), origin[1] + int(cols[0]))


def _pixels_a_side(kernels: int) -> int:
    """Of the square of pixels that share a pass; two passes of four kernels each are faster than one for eight."""
    if kernels == 1:
        return 4
    return 2 if kernels <= 8 else 1


def _pass(
    hr: NDArray[np.uint8], kernels: Tensor, scale: int, origin: tuple[int, int], side: int, blurred: Tensor
) -> None:
    """Fills blurred (n, 3, h, w)."""
    (count, tall, wide), (height, width) = kernels.shape, blurred.shape[2:]
    reach = scale * (side - 1)
    weight = torch.zeros(count, side, side, tall + reach, wide + reach)
    for y in range(side):
        for x in range(side):
            weight[:, y, x, scale * y : scale * y + tall, scale * x : scale * x + wide] = kernels
    weight = weight.flatten(0, 2)[:, None].to(blurred.device)  # (n·side², 1, …)

    whole_height, whole_width = (side * math.ceil(length / side) for length in (height, width))
    across = reflected(origin[1], scale * (whole_width - 1) + wide, hr.shape[1]).numpy()
    step = side * max(1, BAND_PIXELS // (side * whole_width))
    for top in range(0, height, step):
        bottom = min(top + step, whole_height)
        window = _window(hr, origin, across, slice(scale * top, scale * (bottom - 1) + tall)).to(blurred.device)
        made = functional.conv2d(window[:, None].float(), weight, stride=scale * side)  # (3, n·side², …)
        blurred[:, :, top:bottom] = functional.pixel_shuffle(made, side).transpose(0, 1)[:, :, : height - top, :width]


def _window(hr: NDArray[np.uint8], origin: tuple[int, int], across: NDArray[np.int64], rows: slice) -> Tensor:
    """These rows of an image (H, W, 3), counted from `origin` and reflected: (3, rows, cols) uint8.

    `across` tells its columns, from that of `origin` on and reflected, too. Those inside the image are copied in one
    piece, which is several times as fast as picking them.
    """
    (top, left), cols = origin, len(across)
    down = reflected(top + rows.start, rows.stop - rows.start, hr.shape[0]).numpy()
    planes = np.empty((3, len(down), cols), np.uint8)
    pixels = planes.transpose(1, 2, 0)
    rising = bool((np.diff(down) == 1).all())
    seen = hr[down[0] : down[-1] + 1] if rising else hr[down]
    first, last = min(max(0, -left), cols), min(cols, hr.shape[1] - left)
    pixels[:, first:last] = seen[:, left + first : left + last]
    for outside in (slice(0, first), slice(last, None)):
        pixels[:, outside] = seen[:, across[outside]]
    return torch.from_numpy(planes)
