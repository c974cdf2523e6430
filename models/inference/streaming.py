"""An EDSR that is given an image's rows as they come.

No pixel is computed twice and no feature map is held whole: each convolution keeps the last two rows that it was given.
So what is held does not grow with the image's height, and what is being worked on fits into a processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.networks.edsr import EDSR, ResidualBlock
from models.networks.fused_tail import ComposedTail

BICUBIC_REACH = 2


class BandedEDSR:
    """An EDSR's weights, arranged for this. Some are taken over here: when they change, make another.

    The body's convolutions compute in `dtype`, all else in the weights' own type: what the skip connections carry, too.
    """

    def __init__(self, edsr: EDSR, dtype: torch.dtype):
        self.edsr, self.dtype = edsr, dtype
        with torch.inference_mode():
            self.tail = ComposedTail(edsr.tail, edsr.config.scale)

    def input(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Images of one size, (h, w, 3) each, as `enlarge` takes them."""
        pixels = torch.from_numpy(np.stack(images)).to(self.tail.weight.device)
        return pixels.permute(0, 3, 1, 2).to(self.tail.weight.dtype) / 255

    def output(self, images: Tensor) -> NDArray[np.uint8]:
        """What `enlarge` gives, as pixels (B, h, w, 3)."""
        pixels: NDArray[np.uint8] = (images * 255).clamp(0, 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return pixels

    def enlarge(self, bands: Iterable[Tensor], height: int) -> Iterator[Tensor]:
        """Rows of images (B, 3, height, w) in [0, 1], some at a time → rows of (B, 3, s·height, s·w), about [0, 1].

        What comes out lags behind what goes in, since the network looks some rows down.
        """
        edsr, scale = self.edsr, self.edsr.config.scale
        head = RowConvolution(edsr.head[0], self.tail.weight.dtype)
        body = [
            RowBlock(layer, self.dtype) if isinstance(layer, ResidualBlock) else RowConvolution(layer, self.dtype)
            for layer in edsr.body
        ]
        skip, global_skip = Delay(), Delay()
        before_tail, before_bicubic = Window(self.tail.reach), Window(BICUBIC_REACH)
        seen = 0
        for band in bands:
            seen += band.shape[2]
            last = seen == height
            features = head(edsr.sub_mean(band * 255), last)
            details = features
            for layer in body:
                details = layer(details, last)
            skip.put(features)
            if edsr.config.global_skip:
                window, new = before_bicubic.slide(band, last)
                enlarged = functional.interpolate(window, scale_factor=float(scale), mode="bicubic")
                global_skip.put(enlarged[:, :, scale * new.start : scale * new.stop])
            at_top = before_tail.start == 0
            window, new = before_tail.slide(skip.add_to(details), last)
            if new.start == new.stop:
                continue
            image = self.tail(window, at_top=at_top, at_bottom=last)[:, :, scale * new.start : scale * new.stop]
            yield global_skip.add_to(image / 255) if edsr.config.global_skip else edsr.add_mean(image) / 255


class Window:
    """Rows of a map as they come, together with those before them that a layer of this reach still needs."""

    def __init__(self, reach: int):
        self.reach = reach
        self.kept: Tensor | None = None
        self.start = 0  # the first row of those kept
        self.done = 0  # all rows before it have been ready

    def slide(self, rows: Tensor, last: bool) -> tuple[Tensor, slice]:
        """The window, and those of its rows that are ready: as many lie around them as the layer reaches."""
        window = rows if self.kept is None else joined(self.kept, rows)
        start, done = self.start, self.done
        end = start + window.shape[2]
        self.done = end if last else max(done, end - self.reach)
        self.start = max(0, self.done - self.reach)
        self.kept = window[:, :, self.start - start :].clone()
        return window, slice(done - start, self.done - start)


def joined(above: Tensor, below: Tensor) -> Tensor:
    """torch.cat is slower, and forgets channels_last where one of the two is empty."""
    batch, channels, rows, width = above.shape
    shape = (batch, channels, rows + below.shape[2], width)
    both = torch.empty(shape, dtype=below.dtype, device=below.device, memory_format=torch.channels_last)
    both[:, :, :rows] = above
    both[:, :, rows:] = below
    return both


class Delay:
    """Rows that wait until a branch has made something of them, to which they are then added."""

    def __init__(self) -> None:
        self.waiting: Tensor | None = None

    def put(self, rows: Tensor) -> None:
        self.waiting = rows if self.waiting is None else joined(self.waiting, rows)

    def add_to(self, branch: Tensor) -> Tensor:
        assert self.waiting is not None
        branch = branch.to(self.waiting.dtype)
        branch += self.waiting[:, :, : branch.shape[2]]
        self.waiting = self.waiting[:, :, branch.shape[2] :].clone()
        return branch


class RowConvolution:
    """A 3×3 convolution that pads with zeros, row by row."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype, factor: float = 1.0):
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        self.weight = (layer.weight * factor).to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = (layer.bias * factor).to(dtype)
        self.window = Window(1)

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        window, new = self.window.slide(rows.to(self.weight.dtype), last)
        if new.stop == new.start:
            return rows.new_empty(len(rows), len(self.weight), 0, rows.shape[3])
        if new.start == 0 or last:
            window = functional.pad(window, (0, 0, int(new.start == 0), int(last)))
        return functional.conv2d(window, self.weight, self.bias, padding=(0, 1))


class RowBlock:
    """A residual block, row by row."""

    def __init__(self, block: ResidualBlock, dtype: torch.dtype):
        self.first = RowConvolution(block.body[0], dtype)
        self.second = RowConvolution(block.body[2], dtype, block.scale)
        self.skip = Delay()

    def __call__(self, rows: Tensor, last: bool) -> Tensor:
        self.skip.put(rows)
        return self.skip.add_to(self.second(self.first(rows, last).relu_(), last))
