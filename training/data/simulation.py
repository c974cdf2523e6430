"""Degradations of every kind, drawn at random, for an estimator to learn from. Nothing here knows the real photos."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

WIDTHS = (0.5 / 4, 5.0 / 4)  # standard deviations of kernels, in low-resolution pixels
LEVELS = (0.3, 16.0)  # standard deviations of noise, in 8-bit levels


def in_other_light(photos: Tensor, per_photo: int, generator: torch.Generator) -> Tensor:
    """photos (B, 3, H, W) in [0, 1], each `per_photo` in a row with another contrast, brightness and order of colours.

    So the estimator meets more than the few contents that there are, and knows fewer by heart.
    """
    count = len(photos) // per_photo
    contrast, shift = torch.rand(2, count, generator=generator)
    contrast, shift = 0.5 + 0.8 * contrast, 0.3 * (shift - 0.5)
    order = torch.rand(count, 3, generator=generator).argsort(1)
    image = photos.view(count, per_photo, *photos.shape[1:])
    image = image.take_along_dim(order[:, None, :, None, None], 2)
    mean = image.mean((1, 2, 3, 4), keepdim=True)
    image = torch.lerp(mean, image, contrast.view(-1, 1, 1, 1, 1)).add_(shift.view(-1, 1, 1, 1, 1)).clamp_(0, 1)
    return image.view_as(photos)


def random_kernels(count: int, size: int, scale: int, generator: torch.Generator) -> Tensor:
    """(count, size, size), centred in their window.

    exp(-r^p): Gaussians (40%), sharper and flatter shapes up to all but ellipses and lines; 30% are round.
    """

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, 1, 1, generator=generator) * (high - low) + low

    def sometimes(share: float) -> Tensor:
        return torch.rand(count, 1, 1, generator=generator) < share

    low, high = (math.log(width * scale) for width in WIDTHS)
    major, minor = uniform(low, high).exp(), uniform(low, high).exp()
    minor = torch.where(sometimes(0.3), major, minor)
    power = torch.where(sometimes(0.4), torch.tensor(2.0), uniform(0, math.log(8)).exp())
    angle = uniform(0, math.pi)
    offset = torch.arange(size) - (size - 1) / 2
    y, x = offset[:, None], offset[None]
    along, across = (angle.cos() * x + angle.sin() * y) / major, (angle.cos() * y - angle.sin() * x) / minor
    # In two dimensions exp(-r^p) has variance Γ(4/p) / Γ(2/p) / 2 in each; made 1.
    variance = (torch.lgamma(4 / power) - torch.lgamma(2 / power)).exp() / 2
    kernel = (-(((along**2 + across**2) * variance).clamp_min(1e-9) ** (power / 2))).exp()
    return kernel / kernel.sum((1, 2), keepdim=True)


def random_noise(blurred: Tensor, per_photo: int, generator: torch.Generator) -> Tensor:
    """Noise for blurred (B, 3, h, w), both in 8-bit levels; each `per_photo` images in a row have one kind and level.

    Read and shot noise in all proportions; 40% shared between channels, 40% mixed between them, 40% correlated between
    pixels, half of that coarse and the rest as fine as it may be. So the estimator has to look at each of its targets,
    and cannot conclude from one to the others: what a noise network has come to make need not follow any such rule.
    """
    batch, _, height, width = blurred.shape

    def uniform(low: float, high: float) -> Tensor:
        drawn = torch.rand(batch // per_photo, 1, 1, 1, generator=generator) * (high - low) + low
        return drawn.repeat_interleave(per_photo, 0)

    level = uniform(math.log(LEVELS[0]), math.log(LEVELS[1])).exp()
    shot = uniform(0, 1)
    gain = level * (1 - shot + shot * blurred / 128).clamp_min(0).sqrt()
    shared = uniform(0, 1) * (uniform(0, 1) < 0.4)
    grain = torch.randn(blurred.shape, generator=generator)
    grey = torch.randn(batch, 1, height, width, generator=generator)
    grain = (1 - shared**2).sqrt() * grain + shared * grey
    mixing = 0.5 * (uniform(0, 1) < 0.4).view(batch, 1, 1)
    mixing = torch.eye(3) + mixing * torch.randn(batch // per_photo, 3, 3, generator=generator).repeat_interleave(
        per_photo, 0
    )
    mixing = mixing * (3**0.5 / mixing.norm(dim=(1, 2), keepdim=True))
    grain = torch.einsum("boc,bchw->bohw", mixing, grain)
    spread = uniform(0.2, 0.9) * (uniform(0, 1) < 0.4) + 1e-3
    turn = math.pi * uniform(0, 1) * (uniform(0, 1) < 0.5)  # from one pixel to the next
    offset = torch.arange(-2, 3)
    taps = (-0.5 * (offset / spread) ** 2).exp() * (turn * offset).cos()  # (B, 1, 1, 5)
    taps = (taps / taps.square().sum(-1, keepdim=True).sqrt()).repeat_interleave(3, 0)
    grain = functional.conv2d(grain.view(1, -1, height, width), taps, padding=(0, 2), groups=3 * batch)
    grain = functional.conv2d(grain, taps.transpose(2, 3), padding=(2, 0), groups=3 * batch)
    return gain * grain.view_as(blurred)
