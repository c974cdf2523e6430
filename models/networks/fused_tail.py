"""EDSR's tail as one convolution.

Nothing bends between its body and the image: convolutions and pixel shuffles follow one another, all linear, and are
together one 5×5 convolution with s² results of each colour for each low-resolution pixel. At scale 4 that is a tenth of
the arithmetic, and the feature maps at full size, which take most of a network's memory, are never made.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ComposedTail:
    """Does what `layers` do, up to rounding. `reach` is how many pixels around it an enlarged pixel depends on."""

    def __init__(self, layers: nn.Sequential, scale: int):
        self.layers, self.scale = layers, scale
        weight, self.bias = compose(layers, scale)
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.reach = weight.shape[-1] // 2

    def __call__(self, features: Tensor, *, at_top: bool = True, at_bottom: bool = True) -> Tensor:
        """Features (B, width, h, w) → (B, 3, s·h, s·w).

        They may be some rows of a map: where its first row is not among them, the first `reach` rows that come out are
        not to be used, and likewise at the bottom.
        """
        scale, side = self.scale, self.reach + 1
        image = functional.conv2d(features, self.weight, self.bias, padding=self.reach)
        image = functional.pixel_shuffle(image, scale)
        if self.reach == 1:  # a single layer, not composed at all
            return image
        # Each layer takes what lies beyond the border for 0, one convolution only what the first is given. That shows
        # in the outermost low-resolution pixel.
        image[..., :scale] = self.layers(features[..., :side])[..., :scale]
        image[..., -scale:] = self.layers(features[..., -side:])[..., -scale:]
        if at_top:
            image[:, :, :scale] = self.layers(features[:, :, :side])[:, :, :scale]
        if at_bottom:
            image[:, :, -scale:] = self.layers(features[:, :, -side:])[:, :, -scale:]
        return image


def compose(layers: nn.Sequential, scale: int) -> tuple[Tensor, Tensor]:
    """Weight (3·s², width, 2·reach+1, 2·reach+1), before a pixel shuffle, and bias (3·s²,).

    The weight is what the layers, without their biases, answer to a single 1 in each channel; gradients pass through.
    """
    steps = [layer for layer in layers.modules() if isinstance(layer, nn.Conv2d | nn.PixelShuffle)]
    first = next(step for step in steps if isinstance(step, nn.Conv2d))
    width = first.in_channels
    answer, start = torch.eye(width).to(first.weight)[:, :, None, None], 0  # its first row lies `start` below the 1
    for step in steps:
        if isinstance(step, nn.Conv2d):
            answer, start = functional.conv2d(answer, step.weight, padding=2), start - 1
        else:
            answer, start = step(answer), start * step.upscale_factor
    # Filled up to whole low-resolution pixels: 2·reach + 1 of them, since the 1 is in the middle.
    reach = -(start // scale)
    side = (2 * reach + 1) * scale
    before = start + reach * scale
    answer = functional.pad(answer, 2 * (before, side - before - answer.shape[-1]))
    cells = answer.view(width, 3, 2 * reach + 1, scale, 2 * reach + 1, scale)
    weight = cells.permute(1, 3, 5, 0, 2, 4).flip(4, 5).reshape(3 * scale**2, width, 2 * reach + 1, 2 * reach + 1)
    middle = slice(scale, 2 * scale)
    flat = layers(torch.zeros(1, width, 3, 3).to(first.weight))[0, :, middle, middle]  # (3, s, s)
    return weight, flat.reshape(-1)
