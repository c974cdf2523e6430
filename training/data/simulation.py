"""Random degradations of every kind for an estimator to learn from. Independent of the real photos."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

KERNEL_SIGMAS = (0.5 / 4, 5.0 / 4)  # range of kernels' sigmas, in low-resolution pixels
NOISE_SIGMAS = (0.3, 16.0)  # range of the noise std, in 8-bit levels


def photometric_augment(photos: Tensor, crops_per_photo: int, generator: torch.Generator) -> Tensor:
    """Changes contrast, brightness and channel order of photos (B, 3, H, W) in [0, 1], all crops of a photo alike.

    The estimator then sees more content than there are photos, and memorizes less of it.
    """
    count = len(photos) // crops_per_photo
    contrast, shift = torch.rand(2, count, generator=generator)
    contrast, shift = 0.5 + 0.8 * contrast, 0.3 * (shift - 0.5)
    order = torch.rand(count, 3, generator=generator).argsort(1)
    image = photos.view(count, crops_per_photo, *photos.shape[1:])
    image = image.take_along_dim(order[:, None, :, None, None], 2)
    mean = image.mean((1, 2, 3, 4), keepdim=True)
    image = torch.lerp(mean, image, contrast.view(-1, 1, 1, 1, 1)).add_(shift.view(-1, 1, 1, 1, 1)).clamp_(0, 1)
    return image.view_as(photos)


def random_kernels(count: int, size: int, scale: int, generator: torch.Generator) -> Tensor:
    """Draws kernels (count, size, size), centered in their window, with sum 1.

    Their shape is exp(-r^p): Gaussians (40%), sharper and flatter shapes, up to near ellipses and lines. 30% are round.
    """

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, 1, 1, generator=generator) * (high - low) + low

    def bernoulli(probability: float) -> Tensor:
        return torch.rand(count, 1, 1, generator=generator) < probability

    low, high = (math.log(sigma * scale) for sigma in KERNEL_SIGMAS)
    major, minor = uniform(low, high).exp(), uniform(low, high).exp()
    minor = torch.where(bernoulli(0.3), major, minor)
    power = torch.where(bernoulli(0.4), torch.tensor(2.0), uniform(0, math.log(8)).exp())
    angle = uniform(0, math.pi)
    offset = torch.arange(size) - (size - 1) / 2
    y, x = offset[:, None], offset[None]
    along, across = (angle.cos() * x + angle.sin() * y) / major, (angle.cos() * y - angle.sin() * x) / minor
    # In two dimensions exp(-r^p) has variance Γ(4/p) / Γ(2/p) / 2 along each axis. It is normalized to 1.
    variance = (torch.lgamma(4 / power) - torch.lgamma(2 / power)).exp() / 2
    kernel = (-(((along**2 + across**2) * variance).clamp_min(1e-9) ** (power / 2))).exp()
    return kernel / kernel.sum((1, 2), keepdim=True)


def random_noise(blurred: Tensor, crops_per_photo: int, generator: torch.Generator) -> Tensor:
    """Draws noise for blurred (B, 3, h, w), both in 8-bit levels. All crops of a photo share its kind and std.

    It mixes read and shot noise in all proportions. 40% is gray in part, 40% is mixed between channels, 40% is
    correlated between pixels: half of that coarse, the rest as fine as possible. All are independent, so the estimator
    cannot infer one target from another. The noise of a learned network need not follow any such rule.
    """
    batch, _, height, width = blurred.shape

    def uniform(low: float, high: float) -> Tensor:
        values = torch.rand(batch // crops_per_photo, 1, 1, 1, generator=generator) * (high - low) + low
        return values.repeat_interleave(crops_per_photo, 0)

    sigma = uniform(math.log(NOISE_SIGMAS[0]), math.log(NOISE_SIGMAS[1])).exp()
    shot = uniform(0, 1)
    gain = sigma * (1 - shot + shot * blurred / 128).clamp_min(0).sqrt()
    gray_mix = uniform(0, 1) * (uniform(0, 1) < 0.4)
    noise = torch.randn(blurred.shape, generator=generator)
    gray = torch.randn(batch, 1, height, width, generator=generator)
    noise = (1 - gray_mix**2).sqrt() * noise + gray_mix * gray
    channel_mix = 0.5 * (uniform(0, 1) < 0.4).view(batch, 1, 1)
    mixing = torch.randn(batch // crops_per_photo, 3, 3, generator=generator).repeat_interleave(crops_per_photo, 0)
    channel_mix = torch.eye(3) + channel_mix * mixing
    channel_mix = channel_mix * (3**0.5 / channel_mix.norm(dim=(1, 2), keepdim=True))
    noise = torch.einsum("boc,bchw->bohw", channel_mix, noise)
    filter_sigma = uniform(0.2, 0.9) * (uniform(0, 1) < 0.4) + 1e-3
    phase = math.pi * uniform(0, 1) * (uniform(0, 1) < 0.5)  # from one pixel to the next
    offset = torch.arange(-2, 3)
    taps = (-0.5 * (offset / filter_sigma) ** 2).exp() * (phase * offset).cos()  # (B, 1, 1, 5)
    taps = (taps / taps.square().sum(-1, keepdim=True).sqrt()).repeat_interleave(3, 0)
    noise = functional.conv2d(noise.view(1, -1, height, width), taps, padding=(0, 2), groups=3 * batch)
    noise = functional.conv2d(noise, taps.transpose(2, 3), padding=(2, 0), groups=3 * batch)
    return gain * noise.view_as(blurred)
