"""The metrics of a report. Kernels, noise and color bias are measured on the degradation itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.networks.kernel import clear_negative_taps, compute_moments
from training.report.kinds import Kinds
from training.report.two_sample import TwoSample

BRIGHTNESS_BIN = 32  # in 8-bit levels
MIN_PIXELS = 500  # in a brightness bin that is reported
MIDTONES = 32, 223  # 8-bit levels
TRANSFER_AT = (0.25, 0.5, 0.75, 1.0)  # fractions of half a cycle per low-resolution pixel
NUM_DIRECTIONS = 12
MAX_COMPARED = 128  # kernels


@dataclass(frozen=True)
class Summary:
    """A distribution: mean, standard deviation and percentiles."""

    mean: float
    std: float
    p5: float
    p50: float
    p95: float


@dataclass(frozen=True)
class FrequencyResponse:
    frequency: float  # in cycles per high-resolution pixel
    response: float  # 0..1, mean over kernels and directions


@dataclass(frozen=True)
class KernelMetrics:
    """In high-resolution pixels. Widths are sigmas: the standard deviations along a kernel's two axes."""

    major: Summary
    minor: Summary
    elongation: float  # mean of major / minor
    orientation: float  # 0: elongated in all directions alike; 1: all in one direction
    off_center: Summary  # distance of the center of mass from the sampled point
    transfer: tuple[FrequencyResponse, ...]
    diversity: float  # mean total variation distance between two kernels: 0 all equal, 1 disjoint
    border_mass: float  # mean share of a kernel in its window's outermost taps; if large, the window is too small


@dataclass(frozen=True)
class BrightnessNoise:
    brightness: float  # center of a bin of 32 levels, of the blurred photo
    std: float  # of the noise there


@dataclass(frozen=True)
class NoiseMetrics:
    """In 8-bit levels. The noise includes the JPEG residual, before rounding."""

    std: Summary  # of the noise in one photo
    by_brightness: tuple[BrightnessNoise, ...]  # bins with enough pixels
    corr_right: float  # correlation with the neighbor to the right, −1..1
    corr_down: float
    corr_diagonal: float
    corr_red_green: float  # correlation between channels
    corr_green_blue: float
    corr_red_blue: float


@dataclass(frozen=True)
class ColorBias:
    """The mean of the noise in 8-bit levels. It brightens generated photos relative to blurred clean ones.

    Measured in the midtones, because clipping at black and white shifts real photos as well.
    """

    red: float
    green: float
    blue: float
    spread: float  # standard deviation over photos, mean of the channels


@dataclass(frozen=True)
class StatComparison:
    """A statistic that the regressor predicts for real and for generated photos.

    The regressor shrinks what it is unsure of, and content misleads it. So compare real with generated only, not
    either with the metrics of the degradation.
    """

    real_mean: float
    real_std: float
    generated_mean: float
    generated_std: float
    distance: float  # Wasserstein-1, in the same unit


@dataclass(frozen=True)
class PredictedStats:
    """Blur widths in high-resolution pixels, and noise stds in 8-bit levels."""

    major: StatComparison
    minor: StatComparison
    luma_coarse: StatComparison  # below 0.2 cycles per low-resolution pixel
    luma_fine: StatComparison  # above 0.3
    color_coarse: StatComparison
    color_fine: StatComparison
    dark: StatComparison  # in the darker half of a photo
    bright: StatComparison


@dataclass(frozen=True)
class PhotoSet:
    photos: int
    used: int  # photos that are large enough
    smallest_side: int  # in pixels


@dataclass(frozen=True)
class PhotoSets:
    real: PhotoSet
    clean: PhotoSet
    # How well a classifier separates real from clean photos by brightness, color and contrast of blocks of 8
    # low-resolution pixels. Blur and noise hardly change these, so it measures content.
    content: TwoSample | None


@dataclass(frozen=True)
class OvershootComparison:
    """How far pixels beside clear edges overshoot, as a fraction of the step: the sign of sharpening.

    Means over photos and their standard errors (training/estimator/overshoot.py).
    """

    real: float
    real_error: float
    generated: float
    generated_error: float

    @property
    def difference(self) -> float:
        return self.real - self.generated

    @property
    def error(self) -> float:
        """The standard error of the difference."""
        return math.hypot(self.real_error, self.generated_error) + 1e-9


@dataclass(frozen=True)
class ReportMetrics:
    """All numbers are finite. What could not be measured is None."""

    # 0 is perfect: distance of blur widths in pixels, plus that of noise stds in units of 4 levels, as predicted, plus
    # that of overshoots in units of a fifth of the step.
    score: float
    # Real against generated photos; 0.5 is perfect. Like `predicted`, of photos generated without the kernels' unsharp
    # mask, because spectra do not show sharpening; `overshoot` compares it.
    two_sample: TwoSample | None
    sharpened_two_sample: TwoSample | None  # the same with the mask; None if there is no mask
    predicted: PredictedStats
    overshoot: OvershootComparison | None  # None: too few photos have clear edges
    kernels: KernelMetrics
    noise: NoiseMetrics
    colors: ColorBias
    photos: PhotoSets
    kinds: Kinds | None  # None: too few photos, or a preset without the estimator
    discriminator_loss: float | None  # at the end: 0.25 if it cannot separate, 0 if it always can
    num_crops: int  # groups of crops of real photos, and as many of generated ones
    is_finite: bool  # False: kernels or noise were not; such values were replaced by 0


def summarize(values: Tensor) -> Summary:
    """Summarizes values (N,)."""
    p5, p50, p95 = torch.quantile(values, values.new_tensor([0.05, 0.5, 0.95])).tolist()
    return Summary(values.mean().item(), values.std(correction=0).item(), p5, p50, p95)


def measure_kernels(kernel: Tensor, origin: tuple[int, int], scale: int) -> KernelMetrics:
    """Measures kernel (N, K, K). `origin` is (top, left) of the first tap relative to pixel (s·i, s·j)."""
    major, minor, angle, center = principal_axes(kernel)
    sampled = (scale - 1) / 2 - kernel.new_tensor(origin)
    elongation = (major - minor) / (major + minor + 1e-6)
    doubled = 2 * angle  # an axis is the same after half a turn
    direction = torch.stack([(elongation * doubled.cos()).mean(), (elongation * doubled.sin()).mean()]).norm()
    border = kernel.abs().sum((1, 2)) - kernel[:, 1:-1, 1:-1].abs().sum((1, 2))
    compared = kernel[:MAX_COMPARED].flatten(1)
    frequencies = [part * 0.5 / scale for part in TRANSFER_AT]
    num_pairs = max(1, len(compared) * (len(compared) - 1))
    return KernelMetrics(
        major=summarize(major),
        minor=summarize(minor),
        elongation=(major / minor.clamp_min(0.05)).mean().item(),
        orientation=(direction / (elongation.mean() + 1e-6)).item(),
        off_center=summarize((center - sampled).norm(dim=1)),
        transfer=tuple(FrequencyResponse(at, frequency_response(kernel, at).mean().item()) for at in frequencies),
        diversity=(torch.cdist(compared, compared, p=1).sum() / num_pairs / 2).item(),
        border_mass=border.mean().item(),
    )


def principal_axes(kernel: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Computes the axes of kernel (N, K, K).

    Returns major and minor sigma in taps, the major axis's direction in radians, (N,) each, and the center of mass
    (N, 2), (y, x), in taps from the window's first. Of sharpened kernels, the axes are those of the positive taps.
    """
    center = compute_moments(kernel)[0]
    _, yy, xx, yx = compute_moments(clear_negative_taps(kernel))
    middle, half = (yy + xx) / 2, (((yy - xx) / 2) ** 2 + yx**2).sqrt()
    angle = torch.atan2(2 * yx, xx - yy) / 2
    return (middle + half).sqrt(), (middle - half).clamp_min(0).sqrt(), angle, center


def frequency_response(kernel: Tensor, frequency: float) -> Tensor:
    """Computes the response (N,) of kernel (N, K, K) in 0..1, mean over directions. Frequency: cycles per tap."""
    offset = torch.arange(kernel.shape[-1], device=kernel.device)
    responses = kernel.new_zeros(len(kernel))
    for direction in range(NUM_DIRECTIONS):
        angle = math.pi * direction / NUM_DIRECTIONS
        rows, cols = ((-2j * math.pi * frequency * part * offset).exp() for part in (math.sin(angle), math.cos(angle)))
        responses += torch.einsum("u,buv,v->b", rows, kernel.to(rows.dtype), cols).abs() / NUM_DIRECTIONS
    return responses


class NoiseAccumulator:
    """Accumulates sums over photos, and computes noise metrics and color bias from them."""

    def __init__(self) -> None:
        self.stds: list[float] = []
        self.shifts: list[Tensor] = []  # (3,) each
        self.channels = torch.zeros(3, 3, dtype=torch.double)
        self.neighbors = torch.zeros(4, dtype=torch.double)  # variance; covariance to the right, down, diagonal
        bins = 256 // BRIGHTNESS_BIN
        self.squares, self.pixels = torch.zeros(2, bins, dtype=torch.double)

    def add(self, noise: Tensor, blurred: Tensor) -> None:
        """Adds one photo: noise and the blurred image (B, 3, h, w), in 8-bit levels."""
        midtones = ((blurred > MIDTONES[0]) & (blurred < MIDTONES[1])).float()
        self.shifts.append((noise * midtones).sum((0, 2, 3)) / midtones.sum((0, 2, 3)).clamp_min(1))
        noise = (noise - noise.mean((0, 2, 3), keepdim=True)).double()
        self.stds.append(noise.square().mean().sqrt().item())
        flat = noise.transpose(0, 1).flatten(1)
        self.channels += flat @ flat.T / flat.shape[1]
        pairs = (
            (noise, noise),
            (noise[..., 1:], noise[..., :-1]),
            (noise[..., 1:, :], noise[..., :-1, :]),
            (noise[..., 1:, 1:], noise[..., :-1, :-1]),
        )
        self.neighbors += torch.stack([(first * second).mean() for first, second in pairs])
        bins = (blurred.clamp(0, 255) / BRIGHTNESS_BIN).long().flatten()
        self.squares.index_add_(0, bins, noise.square().flatten())
        self.pixels.index_add_(0, bins, torch.ones_like(bins, dtype=torch.double))

    def get_noise_metrics(self) -> NoiseMetrics:
        _, right, down, diagonal = (self.neighbors / self.neighbors[0].clamp_min(1e-9)).tolist()
        std = self.channels.diagonal().sqrt().clamp_min(1e-4)
        correlation = self.channels / (std[:, None] * std)
        by_brightness = tuple(
            BrightnessNoise((number + 0.5) * BRIGHTNESS_BIN, math.sqrt(square / pixels))
            for number, (square, pixels) in enumerate(zip(self.squares.tolist(), self.pixels.tolist(), strict=True))
            if pixels >= MIN_PIXELS
        )
        return NoiseMetrics(
            std=summarize(torch.tensor(self.stds)),
            by_brightness=by_brightness,
            corr_right=right,
            corr_down=down,
            corr_diagonal=diagonal,
            corr_red_green=correlation[0, 1].item(),
            corr_green_blue=correlation[1, 2].item(),
            corr_red_blue=correlation[0, 2].item(),
        )

    def get_color_bias(self) -> ColorBias:
        shifts = torch.stack(self.shifts)
        red, green, blue = shifts.mean(0).tolist()
        return ColorBias(red, green, blue, shifts.std(0, correction=0).mean().item())
