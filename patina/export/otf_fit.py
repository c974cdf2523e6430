"""Fits the options of hand-made on-the-fly pipelines to a learned degradation, by sampling it and measuring.

The pipelines are those of BasicSR and Real-ESRGAN ("Training Real-World Blind Super-Resolution with Pure Synthetic
Data", arXiv 2107.10833) and of trainers that copied its options. They draw Gaussian blur with independent uniform
sigmas, then white Gaussian or Poisson noise, then JPEG of a uniform quality.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.compression import nearest_quality
from models.degradation import Degradation
from models.jpeg import NO_JPEG
from models.networks.kernel import compute_moments

BATCH, PATCH = 64, 48  # photos drawn at once; side of a patch of their noise, in low-resolution pixels
BRIGHTNESS = (0.2, 0.5, 0.8)  # of the flat gray that noise is measured on, 1 = white
POISSON_LEVELS = 256  # a Poisson pipeline counts as many photons at white as an image has levels, rounded up to 2^n
SHAPES = (0.5, 4.0)  # exponents of the pipelines' generalized Gaussians
SHAPE_TOLERANCE = 0.15  # of the logarithm of the median exponent; nearer to a Gaussian, it counts as one
MIN_SHAPED_SIGMA = 0.8  # pixels; the taps of a narrower kernel do not show its shape
MIN_SIGMA = 0.2  # of the pipelines' blur, in pixels; below it, a kernel is a point
SIMULATED = 2000  # draws of a candidate pipeline
TAILS = (5, 95)  # percentiles that stand for a range's ends

Array = NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True)
class Measured:
    """What samples of a degradation look like. One entry a photo, except in the means."""

    scale: int
    major: Array  # sigmas of the kernels' axes, in high-resolution pixels
    minor: Array
    shape: Array  # exponents β of the generalized Gaussians exp(-r^(2β) / 2) with their kurtosis; 1 is a Gaussian
    lobes: float  # mean weight of negative taps (sharpening)
    noise: Array  # (photos, 3), noise std in 8-bit levels at each of BRIGHTNESS; zeros without noise
    gray: float  # mean correlation between color channels
    neighbors: float  # mean correlation between neighboring pixels
    qualities: Array  # of the JPEG compressions, nearest in the standard tables; 100 is none


@dataclass(frozen=True)
class OtfOptions:
    """Options in the pipelines' terms, of the one blur, noise and JPEG that a learned degradation has."""

    scale: int
    isotropic: float  # share of round kernels
    blur_sigma: Range
    shape: Range | None  # of generalized Gaussians' exponents; None: Gaussians
    kernel_size: int  # odd
    gaussian_share: float  # of photos with Gaussian noise; the others have Poisson noise
    noise_range: Range
    poisson_range: Range
    gray_share: float
    jpeg_share: float
    jpeg_range: Range


def measure(degradation: Degradation, photos: int, seed: int) -> Measured:
    """Draws kernels and noise for `photos` photos, and measures them."""
    generator = torch.Generator().manual_seed(seed)
    kernels, stds, grays, neighbors = list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
    with torch.inference_mode():
        for first in range(0, photos, BATCH):
            count = min(BATCH, photos - first)
            latents = degradation.draw_latents(count, (PATCH, PATCH), generator)
            kernels.append(degradation.kernel(latents.kernel).double())
            by_brightness = []
            for brightness in BRIGHTNESS:
                flat = torch.full((count, 3, PATCH, PATCH), brightness)
                noise = 255 * degradation.draw_noise(latents, flat).expand_as(flat)
                noise = noise - noise.mean((2, 3), keepdim=True)
                by_brightness.append(noise.square().mean((1, 2, 3)).sqrt())
                grays.append(_channel_correlation(noise))
                neighbors.append(_neighbor_correlation(noise))
            stds.append(torch.stack(by_brightness, 1))
    kernel = torch.cat(kernels)
    _, yy, xx, yx = compute_moments(kernel)
    middle, half = (yy + xx) / 2, (((yy - xx) / 2) ** 2 + yx**2).sqrt()
    bank = degradation.config.bank
    return Measured(
        scale=degradation.config.scale,
        major=(middle + half).clamp_min(0).sqrt().numpy(),
        minor=(middle - half).clamp_min(0).sqrt().numpy(),
        shape=_measure_shape(kernel.numpy()),
        lobes=float(-kernel.clamp_max(0).sum((1, 2)).mean()),
        noise=torch.cat(stds).double().numpy(),
        gray=float(torch.cat(grays).mean()),
        neighbors=float(torch.cat(neighbors).mean()),
        qualities=np.array([nearest_quality(entry) for entry in bank for _ in range(entry.count)] or [NO_JPEG], float),
    )


def fit(measured: Measured, *, resize_variance: float = 0.0) -> OtfOptions:
    """Returns the options whose kernels, noise and JPEG are nearest to what was measured.

    `resize_variance` is what the pipeline's own downsampling adds to a blur's variance, in squared pixels.
    """
    shape = _range(measured.shape)
    generalized = abs(np.log(np.median(measured.shape))) > SHAPE_TOLERANCE
    # Their options are the sigmas of the Gaussian inside, not of the kernel.
    widening = spread_of_shape(float(np.median(measured.shape))) if generalized else 1.0
    axes = [_narrow(axis, resize_variance) / widening for axis in (measured.major, measured.minor)]
    isotropic, blur_sigma = _fit_blur(*axes)
    gaussian_share, noise_range, poisson_range = _fit_noise(measured.noise)
    lossy = measured.qualities[measured.qualities < NO_JPEG]
    return OtfOptions(
        measured.scale,
        isotropic,
        blur_sigma,
        shape if generalized else None,
        kernel_size=2 * int(np.ceil(3 * blur_sigma[1] * widening)) + 1,
        gaussian_share=gaussian_share,
        noise_range=noise_range,
        poisson_range=poisson_range,
        gray_share=float(np.clip(measured.gray, 0, 1)),
        jpeg_share=len(lossy) / len(measured.qualities),
        jpeg_range=_range(lossy) if len(lossy) else (NO_JPEG - 1, NO_JPEG - 1),
    )


def simulate_sigmas(isotropic: float, blur_sigma: Range, count: int = SIMULATED, seed: int = 0) -> tuple[Array, Array]:
    """Returns the major and minor sigmas that a pipeline draws, (count,) each."""
    rng = np.random.default_rng(seed)
    low, high = blur_sigma
    first, second = low + (high - low) * rng.random((2, count))
    second = np.where(rng.random(count) < isotropic, first, second)
    return np.maximum(first, second), np.minimum(first, second)


def distance(one: Array, other: Array) -> float:
    """Returns the Wasserstein-1 distance of two samples, by 101 of their quantiles."""
    at = np.linspace(0, 1, 101)
    return float(np.abs(np.quantile(one, at) - np.quantile(other, at)).mean())


def spread_of_shape(shape: float) -> float:
    """Returns how much wider a generalized Gaussian is than its sigma: 1 for a Gaussian, less for a flat top."""
    return math.sqrt(2 ** (1 / shape) * math.gamma(2 / shape) / math.gamma(1 / shape) / 2)


def _measure_shape(kernels: Array) -> Array:
    """Returns the exponent of each kernel (N, K, K), see `Measured`. A kernel of a few taps counts as a Gaussian."""
    offset = np.arange(kernels.shape[1], dtype=float)
    exponents = np.geomspace(*SHAPES, 200)
    log_kurtosis = [math.lgamma(3 / beta) + math.lgamma(1 / beta) - 2 * math.lgamma(2 / beta) for beta in exponents]
    shapes = np.ones(len(kernels))
    for number, kernel in enumerate(kernels):
        center = np.array([kernel.sum(1) @ offset, kernel.sum(0) @ offset])
        y, x = np.meshgrid(offset - center[0], offset - center[1], indexing="ij")
        points = np.stack([y, x]).reshape(2, -1)
        covariance = (points * kernel.ravel()) @ points.T
        if np.linalg.eigvalsh(covariance)[0] < MIN_SHAPED_SIGMA**2:
            continue
        squared = (points * np.linalg.solve(covariance, points)).sum(0)  # distances relative to the sigmas
        kurtosis = kernel.ravel() @ squared**2 / 4  # 2 for a Gaussian in two dimensions
        shapes[number] = np.interp(-np.log(max(kurtosis, 1.0)), -np.array(log_kurtosis), exponents)
    return shapes


def _fit_blur(major: Array, minor: Array) -> tuple[float, Range]:
    """Returns share of round kernels and range of sigmas nearest to both distributions of axes."""
    at = np.linspace(0, 1, 101)
    targets = np.quantile(major, at), np.quantile(minor, at)
    lows = np.unique(np.quantile(minor, np.linspace(0, 0.5, 16)))
    highs = np.unique(np.quantile(major, np.linspace(0.5, 1, 16)))
    best, best_error = (0.0, (float(lows[0]), float(highs[-1]))), np.inf
    for isotropic in np.linspace(0, 1, 11):
        # A pipeline's sigmas are linear in its range, so one draw serves all ranges.
        unit = [np.quantile(axis, at) for axis in simulate_sigmas(isotropic, (0, 1))]
        for low, high in itertools.product(lows, highs):
            error = sum(
                np.abs(low + (high - low) * axis - target).mean() for axis, target in zip(unit, targets, strict=True)
            )
            if low <= high and error < best_error:
                best, best_error = (float(isotropic), (float(low), float(high))), error
    return best


def _fit_noise(noise: Array) -> tuple[float, Range, Range]:
    """Returns the share of photos with Gaussian noise, and the ranges of Gaussian std and of Poisson scale.

    A photo's variance is fitted by a + b · brightness. Where b is the larger part at mid-gray, it counts as Poisson.
    """
    brightness = np.array(BRIGHTNESS)
    design = np.stack([np.ones_like(brightness), brightness], 1)
    constant, growing = np.linalg.lstsq(design, (noise**2).T, rcond=None)[0]
    middle = noise[:, 1]
    poisson = (growing > 0) & (growing * brightness[1] > constant)
    # var = scale² · brightness / levels of white, in units of white
    scales = middle / 255 * np.sqrt(POISSON_LEVELS / brightness[1])
    gaussian_range = _range(middle[~poisson]) if (~poisson).any() else (0.0, 0.0)
    poisson_range = _range(scales[poisson]) if poisson.any() else (0.0, 0.0)
    return float((~poisson).mean()), gaussian_range, poisson_range


def _narrow(sigma: Array, variance: float) -> Array:
    return np.sqrt(np.maximum(sigma**2 - variance, MIN_SIGMA**2))


def _range(values: Array) -> Range:
    low, high = np.percentile(values, TAILS)
    return float(low), float(high)


def _channel_correlation(noise: Tensor) -> Tensor:
    """Returns the mean correlation (B,) between channels of noise (B, 3, h, w)."""
    unit = noise.flatten(2)
    unit = unit / unit.norm(dim=2, keepdim=True).clamp_min(1e-9)
    correlation = unit @ unit.mT
    mean: Tensor = (correlation.sum((1, 2)) - correlation.diagonal(dim1=1, dim2=2).sum(1)) / 6
    return mean


def _neighbor_correlation(noise: Tensor) -> Tensor:
    """Returns the mean correlation (B,) of pixels with their right and lower neighbors, noise (B, 3, h, w)."""
    power = noise.square().mean((1, 2, 3)).clamp_min(1e-12)
    right = (noise[..., 1:] * noise[..., :-1]).mean((1, 2, 3))
    down = (noise[..., 1:, :] * noise[..., :-1, :]).mean((1, 2, 3))
    return (right + down) / 2 / power
