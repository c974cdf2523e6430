"""Fuses EDSR's tail into one convolution.

The tail's convolutions and pixel shuffles are all linear. Together they are one 5×5 convolution with 3·s² outputs for
each low-resolution pixel. At scale 4 that is a tenth of the arithmetic. The feature maps at full size, which take most
of the network's memory, never exist.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class FusedTail:
    """Does what `layers` do, up to rounding. `radius` is that of its convolution, in low-resolution pixels."""

    def __init__(self, layers: nn.Sequential, scale: int):
        self.layers, self.scale = layers, scale
        weight, self.bias = fuse_tail(layers, scale)
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.radius = weight.shape[-1] // 2

    def __call__(self, features: Tensor, *, at_top: bool = True, at_bottom: bool = True) -> Tensor:
        """Turns features (B, width, h, w) into an image (B, 3, s·h, s·w).

        The features may be a band of rows. If the band lacks the map's first row, at_top is False and the first
        s·`radius` output rows are invalid. The same holds for the last row and at_bottom.
        """
        scale, side = self.scale, self.radius + 1
        image = functional.conv2d(features, self.weight, self.bias, padding=self.radius)  # (B, 3·s², h, w)
        image = functional.pixel_shuffle(image, scale)  # (B, 3, s·h, s·w)
        if self.radius == 1:  # a single layer: nothing was fused
            return image
        # Each layer pads its own input with zeros; the fused convolution pads only the first. They differ in the
        # outermost low-resolution pixel, so the layers compute that one.
        image[..., :scale] = self.layers(features[..., :side])[..., :scale]
        image[..., -scale:] = self.layers(features[..., -side:])[..., -scale:]
        if at_top:
            image[:, :, :scale] = self.layers(features[:, :, :side])[:, :, :scale]
        if at_bottom:
            image[:, :, -scale:] = self.layers(features[:, :, -side:])[:, :, -scale:]
        return image


def fuse_tail(layers: nn.Sequential, scale: int) -> tuple[Tensor, Tensor]:
    """Returns weight (3·s², width, 2·radius+1, 2·radius+1), to be followed by a pixel shuffle, and bias (3·s²,).

    The weight is the layers' impulse response in each channel, without biases. Gradients pass through.
    """
    steps = [layer for layer in layers.modules() if isinstance(layer, nn.Conv2d | nn.PixelShuffle)]
    first = next(step for step in steps if isinstance(step, nn.Conv2d))
    width = first.in_channels
    response = torch.eye(width).to(first.weight)[:, :, None, None]
    start = 0  # the response's first row, relative to the impulse
    for step in steps:
        if isinstance(step, nn.Conv2d):
            response, start = functional.conv2d(response, step.weight, padding=2), start - 1
        else:
            response, start = step(response), start * step.upscale_factor
    # Padded to whole low-resolution pixels: 2·radius + 1, with the impulse in the middle one.
    radius = -(start // scale)
    side = (2 * radius + 1) * scale
    before = start + radius * scale
    response = functional.pad(response, 2 * (before, side - before - response.shape[-1]))
    cells = response.view(width, 3, 2 * radius + 1, scale, 2 * radius + 1, scale)
    weight = cells.permute(1, 3, 5, 0, 2, 4).flip(4, 5).reshape(3 * scale**2, width, 2 * radius + 1, 2 * radius + 1)
    middle = slice(scale, 2 * scale)
    bias = layers(torch.zeros(1, width, 3, 3).to(first.weight))[0, :, middle, middle]  # (3, s, s)
    return weight, bias.reshape(-1)
