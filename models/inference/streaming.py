"""Runs an EDSR on an image's rows as they arrive.

Within a tile, no pixel is computed twice. No feature map is held whole: each convolution keeps its last two input
rows. So memory does not grow with the image's height, and the working set fits into a processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.device import choose_dtype
from models.networks.edsr import EDSR, ResidualBlock, enlarge_bicubic
from models.networks.fused_tail import FusedTail

BICUBIC_RADIUS = 2

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


class StreamingEDSR:
    """An EDSR that processes rows. It copies weights: if they change, build another.

    The body's convolutions compute in `dtype`, by default the fastest without visible loss. All else, including the
    skip connections, uses the weights' own type.
    """

    def __init__(self, edsr: EDSR, dtype: torch.dtype | None = None):
        self.edsr = edsr
        self.device = next(edsr.parameters()).device
        self.dtype = dtype or choose_dtype(self.device)
        with torch.inference_mode():
            self.tail = FusedTail(edsr.tail, edsr.config.scale)

    def to_tensor(self, images: Sequence[Pixels]) -> Tensor:
        """Stacks images of one size, (h, w, 3) each, into the input (B, 3, h, w) of `upscale_rows`."""
        stacked: NDArray[Any] = np.stack(images)
        if stacked.dtype == np.uint16:
            stacked = stacked.astype(np.float32) / 257  # to 0..255
        pixels = torch.from_numpy(stacked).to(self.tail.weight.device)
        return pixels.permute(0, 3, 1, 2).to(self.tail.weight.dtype) / 255

    def to_pixels(self, images: Tensor, bits: int = 8, *, gray: bool = False) -> Pixels:
        """Rounds the output (B, 3, h, w) of `upscale_rows` to pixels (B, h, w, 3) of 8 or 16 bits.

        With `gray`, each pixel becomes the mean of its channels.
        """
        limit = 2**bits - 1
        images = images.mean(1, keepdim=True).expand_as(images) if gray else images
        rounded = (images * limit).clamp(0, limit).round()
        rounded = rounded.byte() if bits == 8 else rounded.int()
        pixels: Pixels = rounded.permute(0, 2, 3, 1).cpu().numpy().astype(f"uint{bits}", copy=False)
        return pixels

    def upscale_rows(self, bands: Iterable[Tensor], height: int) -> Iterator[Tensor]:
        """Turns bands of rows of images (B, 3, height, w) in [0, 1] into rows of (B, 3, s·height, s·w), about [0, 1].

        The images already have the config's border. The output lags behind the input by the network's receptive radius.
        """
        edsr, scale, pixel_range = self.edsr, self.edsr.config.scale, self.edsr.config.pixel_range
        head = RowConv3x3(edsr.head[0], self.tail.weight.dtype)
        body = [
            RowResidualBlock(layer, self.dtype) if isinstance(layer, ResidualBlock) else RowConv3x3(layer, self.dtype)
            for layer in edsr.body
        ]
        skip, global_skip = SkipBuffer(), SkipBuffer()
        before_tail, before_bicubic = RowBuffer(self.tail.radius), RowBuffer(BICUBIC_RADIUS)
        rows_read = 0
        for band in bands:
            rows_read += band.shape[2]
            last = rows_read == height
            features = head(edsr.sub_mean(band * pixel_range), last)
            residual = features
            for layer in body:
                residual = layer(residual, last)
            skip.push(features)
            if edsr.config.global_skip:
                window, ready = before_bicubic.push(band, last)
                bicubic = enlarge_bicubic(window, scale)
                global_skip.push(bicubic[:, :, scale * ready.start : scale * ready.stop])
            at_top = before_tail.start == 0
            window, ready = before_tail.push(skip.add(residual), last)
            if ready.start == ready.stop:
                continue
            image = self.tail(window, at_top=at_top, at_bottom=last)[:, :, scale * ready.start : scale * ready.stop]
            image = image / pixel_range if edsr.config.global_skip else edsr.add_mean(image) / pixel_range
            yield global_skip.add(image) if edsr.config.global_skip else image


class RowBuffer:
    """Keeps the last rows of a map that a layer of this radius still needs."""

    def __init__(self, radius: int):
        self.radius = radius
        self.kept: Tensor | None = None
        self.start = 0  # index in the map of the first row kept
        self.ready = 0  # rows before this index were returned as ready

    def push(self, rows: Tensor, last: bool) -> tuple[Tensor, slice]:
        """Appends rows. Returns the window, and which of its rows are ready: those with `radius` rows around them."""
        window = rows if self.kept is None else concat_rows(self.kept, rows)
        start, ready = self.start, self.ready
        end = start + window.shape[2]
        self.ready = end if last else max(ready, end - self.radius)
        self.start = max(0, self.ready - self.radius)
        self.kept = window[:, :, self.start - start :].clone()
        return window, slice(ready - start, self.ready - start)


def concat_rows(above: Tensor, below: Tensor) -> Tensor:
    """Concatenates rows. torch.cat is slower, and loses channels_last if one of the two is empty."""
    batch, channels, rows, width = above.shape
    shape = (batch, channels, rows + below.shape[2], width)
    both = torch.empty(shape, dtype=below.dtype, device=below.device, memory_format=torch.channels_last)
    both[:, :, :rows] = above
    both[:, :, rows:] = below
    return both


class SkipBuffer:
    """Delays the rows of a skip connection until its branch returns the same rows."""

    def __init__(self) -> None:
        self.waiting: Tensor | None = None

    def push(self, rows: Tensor) -> None:
        """Appends rows that wait for their branch."""
        self.waiting = rows if self.waiting is None else concat_rows(self.waiting, rows)

    def add(self, branch: Tensor) -> Tensor:
        """Adds the oldest waiting rows to the branch's rows (in place) and drops them."""
        assert self.waiting is not None
        branch = branch.to(self.waiting.dtype)
        branch += self.waiting[:, :, : branch.shape[2]]
        self.waiting = self.waiting[:, :, branch.shape[2] :].clone()
        return branch


class RowConv3x3:
    """A 3×3 convolution with zero padding that processes rows."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype, factor: float = 1.0):
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        self.weight = (layer.weight * factor).to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = (layer.bias * factor).to(dtype)
        self.buffer = RowBuffer(1)

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        window, ready = self.buffer.push(rows.to(self.weight.dtype), last)
        if ready.stop == ready.start:
            return rows.new_empty(len(rows), len(self.weight), 0, rows.shape[3])
        if ready.start == 0 or last:
            window = functional.pad(window, (0, 0, int(ready.start == 0), int(last)))
        return functional.conv2d(window, self.weight, self.bias, padding=(0, 1))


class RowResidualBlock:
    """A residual block that processes rows."""

    def __init__(self, block: ResidualBlock, dtype: torch.dtype):
        self.first = RowConv3x3(block.body[0], dtype)
        self.second = RowConv3x3(block.body[2], dtype, block.scale)
        self.skip = SkipBuffer()

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        self.skip.push(rows)
        return self.skip.add(self.second(self.first(rows, last).relu_(), last))
