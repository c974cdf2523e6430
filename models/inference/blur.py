"""Blurs and samples 8-bit images with quantized kernels, exactly and fast."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.geometry import reflect_indices
from models.inference.deterministic import deterministic_convs
from models.inference.int8_blur import blur_int8, kernels_fit_int8, supports_int8_dot

# Output channels of a convolution with one input channel; they fill a CPU's vector registers. With fewer kernels,
# a block of neighboring pixels shares a pass, as channels with shifted kernels.
KERNEL_BATCH = 16
BAND_PIXELS = 32_768  # low-resolution pixels of a pass; its part of the image then fits into the cache


def blur(hr: NDArray[np.uint8], kernels: Tensor, scale: int, origin: tuple[int, int], device: torch.device) -> Tensor:
    """Blurs hr (H, W, 3) with quantized kernels (n, K, K) and samples every `scale`-th pixel.

    Returns (n, 3, H // scale, W // scale) float32 in 0..255 on `device`, exact.
    """
    kernels, origin = _crop_zero_border(kernels, origin)
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    blurred = torch.empty(len(kernels), 3, height, width, device=device)
    with torch.inference_mode(), deterministic_convs():
        if device.type == "cpu" and supports_int8_dot() and kernels_fit_int8(kernels):
            cols = scale * (width - 1) + scale * math.ceil(kernels.shape[2] / scale)
            columns = reflect_indices(origin[1], cols, hr.shape[1]).numpy()
            blur_int8(partial(_read_rows, hr, origin, columns), kernels, scale, blurred)
            return blurred
        first = 0
        # Sums are exact in any order, so each pass may be the fastest for the kernels that are left.
        while first < len(kernels):
            side = _pixel_block_size(len(kernels) - first)
            batch = slice(first, min(first + KERNEL_BATCH // side**2, len(kernels)))
            _blur_batch(hr, kernels[batch], scale, origin, side, blurred[batch])
            first = batch.stop
    return blurred


def _crop_zero_border(kernels: Tensor, origin: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """Removes outer rows and columns where all kernels are 0. Moves the origin with them."""
    rows, cols = (kernels.abs().sum((0, axis)).nonzero()[:, 0] for axis in (2, 1))
    inner = kernels[:, rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    return inner, (origin[0] + int(rows[0]), origin[1] + int(cols[0]))


def _pixel_block_size(kernels: int) -> int:
    """Returns the side of the block of pixels that share a pass. Two passes of 4 kernels are faster than one of 8."""
    if kernels == 1:
        return 4
    return 2 if kernels <= 8 else 1


def _blur_batch(
    hr: NDArray[np.uint8], kernels: Tensor, scale: int, origin: tuple[int, int], side: int, blurred: Tensor
) -> None:
    """Fills blurred (n, 3, h, w), in blocks of side × side pixels."""
    (count, kernel_h, kernel_w), (height, width) = kernels.shape, blurred.shape[2:]
    shift = scale * (side - 1)
    weight = torch.zeros(count, side, side, kernel_h + shift, kernel_w + shift)
    for y in range(side):
        for x in range(side):
            weight[:, y, x, scale * y : scale * y + kernel_h, scale * x : scale * x + kernel_w] = kernels
    weight = weight.flatten(0, 2)[:, None].to(blurred.device)  # (n·side², 1, …)

    padded_height, padded_width = (side * math.ceil(length / side) for length in (height, width))
    columns = reflect_indices(origin[1], scale * (padded_width - 1) + kernel_w, hr.shape[1]).numpy()
    step = side * max(1, BAND_PIXELS // (side * padded_width))
    for top in range(0, height, step):
        bottom = min(top + step, padded_height)
        rows = slice(scale * top, scale * (bottom - 1) + kernel_h)
        window = _read_rows(hr, origin, columns, rows).to(blurred.device)
        blocks = functional.conv2d(window[:, None].float(), weight, stride=scale * side)  # (3, n·side², …)
        band = functional.pixel_shuffle(blocks, side).transpose(0, 1)  # (n, 3, bottom - top, padded_width)
        blurred[:, :, top:bottom] = band[:, :, : height - top, :width]


def _read_rows(hr: NDArray[np.uint8], origin: tuple[int, int], columns: NDArray[np.int64], rows: slice) -> Tensor:
    """Reads rows of hr (H, W, 3), counted from `origin` and reflected, as (3, rows, cols) uint8.

    `columns` are the indices of its columns, from that of `origin` on, reflected. Columns inside the image are copied
    in one piece, several times as fast as by index.
    """
    (top, left), cols = origin, len(columns)
    row_indices = reflect_indices(top + rows.start, rows.stop - rows.start, hr.shape[0]).numpy()
    planes = np.empty((3, len(row_indices), cols), np.uint8)
    pixels = planes.transpose(1, 2, 0)
    contiguous = bool((np.diff(row_indices) == 1).all())
    source = hr[row_indices[0] : row_indices[-1] + 1] if contiguous else hr[row_indices]
    first, last = min(max(0, -left), cols), min(cols, hr.shape[1] - left)
    pixels[:, first:last] = source[:, left + first : left + last]
    for outside in (slice(0, first), slice(last, None)):
        pixels[:, outside] = source[:, columns[outside]]
    return torch.from_numpy(planes)
