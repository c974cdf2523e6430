"""Noise as cameras make it: raw noise that passed through demosaicing, denoising, a tone curve and sharpening.

Every step is drawn at random for each photo, within what phones and cameras do. So noise depends on brightness along a
tone curve, is correlated between neighbors and between colors, and spares or spreads at edges. The result has no
formula. `expose` measures it on gray steps that pass through the same camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.networks.noise import local_contrast

LUMA = (0.299, 0.587, 0.114)
WHITE_CAMERA_SHARE = 0.25  # of cameras without any processing: independent pixels, as in `simulation.random_noise`
FILTER_RADIUS = 4  # pixels; of a Gaussian with a sigma of at most 2.2


@dataclass(frozen=True)
class Cameras:
    """The random settings of N cameras. All are (N, 1, 1, 1) unless said otherwise."""

    read_share: Tensor  # of the noise variance in mid-gray; the rest is shot noise
    gamma: Tensor
    toe: Tensor  # keeps the tone curve's slope finite in the dark
    contrast: Tensor  # 1 is none; larger values flatten shadows and highlights
    white_balance: Tensor  # (N, 3, 1, 1), gains of raw channels
    saturation: Tensor  # 1 is none
    mosaic: Tensor  # bool: whether the noise passes through demosaicing
    color_difference: Tensor  # bool: the demosaicing interpolates differences from green, else each channel alone
    chroma_sigma: Tensor  # of the blur of color differences, pixels; 0 is none
    luma_sigma: Tensor
    luma_share: Tensor  # of the blurred luma, 0..1
    edge_sparing: Tensor  # bool: the luma's blur spares edges
    sharpen_sigma: Tensor
    sharpen_amount: Tensor
    edge_gain: Tensor  # std of the noise at edges, relative to the local contrast
    edge_gray: Tensor  # share of it that is equal in all channels
    sigma: Tensor  # wanted std over gray steps, in 8-bit levels

    def power_response(self, radius: Tensor) -> Tensor:
        """Returns the power response (N, F) of what the camera does to an image, at frequencies `radius` (F,).

        A blur that spares edges counts as none.
        """

        def gaussian(sigma: Tensor) -> Tensor:
            return (-2 * (math.pi * sigma.view(-1, 1) * radius) ** 2).exp()

        share = self.luma_share.where(~self.edge_sparing, torch.tensor(0.0)).view(-1, 1)
        smooth = 1 - share * (1 - gaussian(self.luma_sigma))
        return (smooth * (1 + self.sharpen_amount.view(-1, 1) * (1 - gaussian(self.sharpen_sigma)))).square()


def draw_cameras(count: int, sigma: Tensor, generator: torch.Generator) -> Cameras:
    """Draws `count` cameras whose noise has about the std sigma (count,), in 8-bit levels."""

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.rand(count, channels, 1, 1, generator=generator) * (high - low) + low

    plain = uniform(0, 1) < WHITE_CAMERA_SHARE

    def bernoulli(probability: float) -> Tensor:
        return (uniform(0, 1) < probability) & ~plain

    def sometimes(probability: float, values: Tensor, otherwise: float) -> Tensor:
        return values.where(bernoulli(probability), torch.tensor(otherwise))

    gains = uniform(1, 2.4, 3)
    gains[:, 1] = 1  # green is the most sensitive
    return Cameras(
        read_share=uniform(0, 1).square(),
        gamma=sometimes(0.85, uniform(1.4, 2.6), 1.0),
        toe=uniform(-7, -3).exp(),
        contrast=sometimes(0.75, uniform(1, 2.0), 1.0),
        white_balance=gains.where(bernoulli(0.7), torch.tensor(1.0)),
        saturation=sometimes(0.5, uniform(1, 1.7), 1.0),
        mosaic=bernoulli(0.75),
        color_difference=uniform(0, 1) < 0.5,
        chroma_sigma=sometimes(0.55, uniform(0.4, 2.2), 0.0),
        luma_sigma=uniform(0.5, 1.4),
        luma_share=sometimes(0.55, uniform(0.2, 1), 0.0),
        edge_sparing=uniform(0, 1) < 0.5,
        sharpen_sigma=uniform(0.5, 3.0),
        sharpen_amount=sometimes(0.45, uniform(0.2, 1.5), 0.0),
        edge_gain=(uniform(0, 0.5) * (uniform(0, 1) < 0.5)),
        edge_gray=uniform(0.5, 1),
        sigma=sigma.view(-1, 1, 1, 1),
    )


def expose(cameras: Cameras, images: Tensor, steps: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Photographs images (N, C, 3, h, w) and gray steps (L, 1, 1, 1), both in 8-bit levels.

    Returns noisy images of the same shape, and N cameras' noisy steps (N, L, 3, h, w), neither clamped nor rounded.
    """
    count, _, channels, height, width = images.shape
    flat = steps.expand(len(steps), channels, height, width).expand(count, -1, -1, -1, -1)
    gain = torch.full((count, 1, 1, 1, 1), 1 / 255)
    probe = _develop(cameras, flat / 255, gain, generator)
    std = 255 * probe.std((3, 4), keepdim=True).square().mean((1, 2), keepdim=True).sqrt()  # (N, 1, 1, 1, 1)
    gain = gain * cameras.sigma[:, None] / std.clamp_min(1e-3)
    both = _develop(cameras, torch.cat([images, flat], 1) / 255, gain, generator)
    edges = _edge_noise(cameras, images / 255, generator)
    return 255 * (both[:, : images.shape[1]] + edges), 255 * both[:, images.shape[1] :]


def _edge_noise(cameras: Cameras, images: Tensor, generator: torch.Generator) -> Tensor:
    """Draws what aliasing, interpolation and denoising leave at edges: noise (N, C, 3, h, w), like local contrast."""
    contrast = local_contrast(images.flatten(0, 1)).view(*images.shape[:2], 1, *images.shape[3:])
    noise = torch.randn(images.shape, generator=generator)
    gray = torch.randn(contrast.shape, generator=generator)
    share = cameras.edge_gray[:, None]
    return cameras.edge_gain[:, None] * contrast * (share * gray + (1 - share**2).sqrt() * noise)


def _develop(cameras: Cameras, images: Tensor, gain: Tensor, generator: torch.Generator) -> Tensor:
    """Adds raw noise to images (N, C, 3, h, w) in [0, 1], and develops them."""
    shape, views = images.shape, images.shape[1]

    def each(setting: Tensor) -> Tensor:
        """Repeats a camera's setting for each of its images, (N · C, …)."""
        return setting.repeat_interleave(views, 0)

    gamma, toe, contrast = each(cameras.gamma), each(cameras.toe), each(cameras.contrast)
    linear = to_linear(images.flatten(0, 1), gamma, toe, contrast)
    read = each(cameras.read_share)
    std = (read + (1 - read) * linear / 0.2).clamp_min(1e-6).sqrt() * each(cameras.white_balance) * each(gain[:, 0])
    noise = torch.randn(linear.shape, generator=generator) * std
    noise = torch.where(each(cameras.mosaic), demosaic(noise, each(cameras.color_difference)), noise)
    luma = _luma(noise)
    noise = torch.lerp(luma, noise, each(cameras.saturation))
    noisy = to_display(linear + noise, gamma, toe, contrast)
    noisy = _denoise(cameras, noisy, each)
    amount = each(cameras.sharpen_amount)
    return (noisy + amount * (noisy - blur(noisy, each(cameras.sharpen_sigma)))).view(shape)


def _denoise(cameras: Cameras, images: Tensor, each: Callable[[Tensor], Tensor]) -> Tensor:
    luma = _luma(images)
    chroma_sigma = each(cameras.chroma_sigma)
    chroma = torch.where(chroma_sigma > 0, blur(images - luma, chroma_sigma), images - luma)
    smooth = blur(luma, each(cameras.luma_sigma))
    # A blur that spares edges: where the luma differs from its surroundings by more than noise does, it stays.
    tolerance = 3 * each(cameras.sigma) / 255
    keep = 1 - torch.exp(-(((luma - smooth) / tolerance) ** 2))
    smooth = torch.where(each(cameras.edge_sparing), torch.lerp(smooth, luma, keep), smooth)
    return torch.lerp(luma, smooth, each(cameras.luma_share)) + chroma


def to_display(linear: Tensor, gamma: Tensor, toe: Tensor, contrast: Tensor) -> Tensor:
    """Applies tone curves to linear light; 0 stays 0 and 1 stays 1. Values outside [0, 1] are clipped."""
    base = toe ** (1 / gamma)
    value = ((linear.clamp(0, 1) + toe) ** (1 / gamma) - base) / ((1 + toe) ** (1 / gamma) - base)
    return _bend(value, contrast)


def to_linear(display: Tensor, gamma: Tensor, toe: Tensor, contrast: Tensor) -> Tensor:
    """Inverts `to_display`."""
    base = toe ** (1 / gamma)
    value = _bend(display.clamp(0, 1), 1 / contrast)
    return (value * ((1 + toe) ** (1 / gamma) - base) + base) ** gamma - toe


def _bend(value: Tensor, contrast: Tensor) -> Tensor:
    """An S-shaped curve through (0, 0), (½, ½) and (1, 1). `1 / contrast` gives the inverse."""
    rise, fall = value.clamp(1e-6, 1) ** contrast, (1 - value).clamp(1e-6, 1) ** contrast
    return rise / (rise + fall)


def demosaic(images: Tensor, color_difference: Tensor) -> Tensor:
    """Samples images (B, 3, h, w) as an RGGB mosaic and interpolates it bilinearly. Known pixels stay as they are.

    Where color_difference (B, 1, 1, 1) is true, green is interpolated first, then red and blue as differences from it.
    """
    mask = torch.zeros(3, *images.shape[2:])
    mask[0, 0::2, 0::2] = mask[1, 0::2, 1::2] = mask[1, 1::2, 0::2] = mask[2, 1::2, 1::2] = 1
    green = torch.where(mask[1:2] > 0, images[:, 1:2], _interpolate(images[:, 1:2], mask[1:2])) * color_difference
    others = _interpolate(images - green, mask) + green
    return torch.where(mask > 0, images, others)


def _interpolate(values: Tensor, mask: Tensor) -> Tensor:
    """Interpolates values (B, C, h, w) bilinearly from the pixels where mask (C, h, w) is 1."""
    channels = len(mask)
    tent = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).expand(channels, 1, 3, 3)
    both = torch.cat([values * mask, mask[None]])
    spread = functional.conv2d(functional.pad(both, (1, 1, 1, 1), "reflect"), tent, groups=channels)
    return spread[:-1] / spread[-1:]


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blurs images (B, C, h, w) by Gaussians of sigma (B, 1, 1, 1), in pixels. Their border is repeated."""
    batch, channels, height, width = images.shape
    offset = torch.arange(-FILTER_RADIUS, FILTER_RADIUS + 1)
    taps = (-0.5 * (offset / sigma.clamp_min(0.05)) ** 2).exp()  # (B, 1, 1, 9)
    taps = (taps / taps.sum(-1, keepdim=True)).repeat_interleave(channels, 0)
    groups = batch * channels
    padded = functional.pad(images, (FILTER_RADIUS,) * 4, "replicate").view(1, groups, height + 8, width + 8)
    rows = functional.conv2d(padded, taps, groups=groups)
    return functional.conv2d(rows, taps.transpose(2, 3), groups=groups).view(batch, channels, height, width)


def _luma(images: Tensor) -> Tensor:
    return torch.einsum("c,bchw->bhw", torch.tensor(LUMA), images)[:, None]
