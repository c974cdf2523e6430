"""Figures of a degradation itself: its kernels, its noise, its colours. Measured on what it makes, so exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.networks.kernel import moments

BRIGHTNESS_STEP = 32  # in 8-bit levels
FEW_PIXELS = 500  # of a brightness, below which nothing is said of it
MID_TONES = 32, 223  # levels
TRANSFER_AT = (0.25, 0.5, 0.75, 1.0)  # of half a cycle a low-resolution pixel
DIRECTIONS = 12
MOST_COMPARED = 128  # kernels


@dataclass(frozen=True)
class Spread:
    """How something is distributed."""

    mean: float
    std: float
    p5: float  # percentiles
    p50: float
    p95: float


@dataclass(frozen=True)
class Transfer:
    frequency: float  # in cycles a high-resolution pixel
    response: float  # 0..1, of the kernels there, mean over directions


@dataclass(frozen=True)
class Kernels:
    """In high-resolution pixels. A width is the standard deviation along an axis: a Gaussian's sigma."""

    major: Spread
    minor: Spread
    elongation: float  # mean of major / minor
    orientation: float  # 0: elongated in all directions alike; 1: all in one
    off_centre: Spread  # from the kernel's centre of mass to the point that is sampled
    transfer: tuple[Transfer, ...]
    diversity: float  # mean total variation between two kernels: 0 all are the same, 1 they have no tap in common
    at_border: float  # mean share of a kernel in its window's outermost taps; if large, the window is too small


@dataclass(frozen=True)
class Brightness:
    brightness: float  # middle of a range of 32 levels, of the blurred photo
    level: float  # standard deviation of the noise there


@dataclass(frozen=True)
class Noise:
    """In 8-bit levels: what is added to the blurred photo, with what compression does to it, before rounding."""

    level: Spread  # standard deviation in one photo, about its mean
    by_brightness: tuple[Brightness, ...]  # only where there was enough to look at
    right: float  # correlation with the neighbour to the right, −1..1
    below: float
    diagonal: float
    red_green: float  # correlation between channels
    green_blue: float
    red_blue: float


@dataclass(frozen=True)
class Colours:
    """In 8-bit levels: the noise's mean, by which made photos are brighter than blurred clean ones.

    Measured in the mid tones, because what is cut off at black and white brightens and darkens real photos as well.
    """

    red: float
    green: float
    blue: float
    spread: float  # from photo to photo, standard deviation, mean of the channels


def spread_of(values: Tensor) -> Spread:
    """values (N,)."""
    p5, p50, p95 = torch.quantile(values, values.new_tensor([0.05, 0.5, 0.95])).tolist()
    return Spread(values.mean().item(), values.std(correction=0).item(), p5, p50, p95)


def kernels_of(kernel: Tensor, origin: tuple[int, int], scale: int) -> Kernels:
    """Figures of kernels (N, K, K), whose first tap lies `origin`, (top, left), from pixel (s·i, s·j)."""
    major, minor, angle, centre = axes_of(kernel)
    sampled = (scale - 1) / 2 - kernel.new_tensor(origin)
    elongated = (major - minor) / (major + minor + 1e-6)
    doubled = 2 * angle  # an axis has no sense: turned by half a circle it is the same
    towards = torch.stack([(elongated * doubled.cos()).mean(), (elongated * doubled.sin()).mean()]).norm()
    border = kernel.sum((1, 2)) - kernel[:, 1:-1, 1:-1].sum((1, 2))
    some = kernel[:MOST_COMPARED].flatten(1)
    frequencies = [part * 0.5 / scale for part in TRANSFER_AT]
    pairs = max(1, len(some) * (len(some) - 1))
    return Kernels(
        spread_of(major),
        spread_of(minor),
        (major / minor.clamp_min(0.05)).mean().item(),
        (towards / (elongated.mean() + 1e-6)).item(),
        spread_of((centre - sampled).norm(dim=1)),
        tuple(Transfer(at, responses_of(kernel, at).mean().item()) for at in frequencies),
        (torch.cdist(some, some, p=1).sum() / pairs / 2).item(),
        border.mean().item(),
    )


def axes_of(kernel: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Kernels (N, K, K) → major and minor standard deviation in taps, direction of the major axis in radians, (N,)
    each, and the centre of mass (N, 2), (y, x), in taps from the window's first."""
    centre, yy, xx, yx = moments(kernel)
    middle, half = (yy + xx) / 2, (((yy - xx) / 2) ** 2 + yx**2).sqrt()
    angle = torch.atan2(2 * yx, xx - yy) / 2
    return (middle + half).sqrt(), (middle - half).clamp_min(0).sqrt(), angle, centre


def responses_of(kernel: Tensor, frequency: float) -> Tensor:
    """What each of kernels (N, K, K) leaves of a frequency, in cycles a tap: (N,) in 0..1, mean over directions."""
    offset = torch.arange(kernel.shape[-1], device=kernel.device)
    responses = kernel.new_zeros(len(kernel))
    for direction in range(DIRECTIONS):
        angle = math.pi * direction / DIRECTIONS
        rows, cols = ((-2j * math.pi * frequency * part * offset).exp() for part in (math.sin(angle), math.cos(angle)))
        responses += torch.einsum("u,buv,v->b", rows, kernel.to(rows.dtype), cols).abs() / DIRECTIONS
    return responses


class NoiseSums:
    """Sums over looks, from which the figures of noise and colours follow."""

    def __init__(self) -> None:
        self.levels: list[float] = []
        self.shifts: list[Tensor] = []  # (3,) each
        self.channels = torch.zeros(3, 3, dtype=torch.double)
        self.neighbours = torch.zeros(4, dtype=torch.double)  # variance, right, below, diagonal
        bins = 256 // BRIGHTNESS_STEP
        self.squares, self.pixels = torch.zeros(2, bins, dtype=torch.double)

    def add(self, noise: Tensor, blurred: Tensor) -> None:
        """One look: noise and the blurred image (B, 3, h, w), in 8-bit levels."""
        mid_tones = ((blurred > MID_TONES[0]) & (blurred < MID_TONES[1])).float()
        self.shifts.append((noise * mid_tones).sum((0, 2, 3)) / mid_tones.sum((0, 2, 3)).clamp_min(1))
        noise = (noise - noise.mean((0, 2, 3), keepdim=True)).double()
        self.levels.append(noise.square().mean().sqrt().item())
        flat = noise.transpose(0, 1).flatten(1)
        self.channels += flat @ flat.T / flat.shape[1]
        pairs = (
            (noise, noise),
            (noise[..., 1:], noise[..., :-1]),
            (noise[..., 1:, :], noise[..., :-1, :]),
            (noise[..., 1:, 1:], noise[..., :-1, :-1]),
        )
        self.neighbours += torch.stack([(one * other).mean() for one, other in pairs])
        bins = (blurred.clamp(0, 255) / BRIGHTNESS_STEP).long().flatten()
        self.squares.index_add_(0, bins, noise.square().flatten())
        self.pixels.index_add_(0, bins, torch.ones_like(bins, dtype=torch.double))

    def noise(self) -> Noise:
        _, right, below, diagonal = (self.neighbours / self.neighbours[0].clamp_min(1e-9)).tolist()
        std = self.channels.diagonal().sqrt().clamp_min(1e-4)
        between = self.channels / (std[:, None] * std)
        by_brightness = tuple(
            Brightness((number + 0.5) * BRIGHTNESS_STEP, math.sqrt(square / pixels))
            for number, (square, pixels) in enumerate(zip(self.squares.tolist(), self.pixels.tolist(), strict=True))
            if pixels >= FEW_PIXELS
        )
        return Noise(
            spread_of(torch.tensor(self.levels)),
            by_brightness,
            right,
            below,
            diagonal,
            between[0, 1].item(),
            between[1, 2].item(),
            between[0, 2].item(),
        )

    def colours(self) -> Colours:
        shifts = torch.stack(self.shifts)
        red, green, blue = shifts.mean(0).tolist()
        return Colours(red, green, blue, shifts.std(0, correction=0).mean().item())
