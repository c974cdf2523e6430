"""A gallery of a degradation: kernels, noise, and generated patches among real ones.

It takes a tenth of a second, so a running training can show it every few seconds. It has its own random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.degradation import Degradation, eval_mode
from training.data.photos import Photos
from training.report.alarms import Alarm, find_model_alarms
from training.report.crops import (
    CropGeometry,
    evenly_spaced,
    make_generator,
    sample_hr_windows,
    sample_real_crops,
)
from training.report.metrics import (
    KernelMetrics,
    NoiseAccumulator,
    NoiseMetrics,
    frequency_response,
    measure_kernels,
    principal_axes,
)

NUM_PATCHES = 12  # real ones, and as many generated ones
NUM_EXAMPLES, NOISE_GAIN = 3, 6  # generated patches shown with their steps; their noise is amplified, around gray
NUM_KERNELS, NUM_SHOWN = 128, 24  # drawn and measured; shown
NUM_FREQUENCIES = 24
HISTOGRAM_BINS = 41  # over four standard deviations on either side
CORR_RADIUS = 3  # pixels in each direction over which the noise's autocorrelation is measured


@dataclass(frozen=True)
class Width:
    """The sigmas along a kernel's axes in high-resolution pixels, and the major axis's direction in degrees."""

    major: float
    minor: float
    angle: float  # 0 ≤ angle < 180; 0 is along the rows, 90 along the columns


@dataclass(frozen=True)
class ResponseSummary:
    """The kernels' response at a frequency, averaged over directions: mean and two percentiles over kernels."""

    frequency: float  # cycles per high-resolution pixel
    mean: float
    p5: float
    p95: float


@dataclass(frozen=True)
class Gallery:
    scale: int
    kernels: Tensor  # (24, K, K)
    widths: tuple[Width, ...]  # of 128 kernels
    transfer: tuple[ResponseSummary, ...]
    hist_start: float  # where the noise histogram begins, in 8-bit levels
    bin_width: float  # of the noise histogram
    noise_hist: tuple[float, ...]  # share of the noise in each bin
    noise_correlation: tuple[tuple[float, ...], ...]  # (2 · CORR_RADIUS + 1)²; rows are offsets down, the center is 1
    kernel_metrics: KernelMetrics
    noise: NoiseMetrics
    patches: Tensor  # (24, 3, side, side) uint8, real and generated ones shuffled
    real: tuple[bool, ...]  # which patches are real
    examples: Tensor  # (3, 3, 3, s · side, s · side) uint8: clean patch, generated patch and its noise, of each
    example_kernels: Tensor  # (3, K, K)
    alarms: tuple[Alarm, ...]


@torch.no_grad()
def make_gallery(
    degradation: Degradation, lr_photos: Photos, hr_photos: Photos, *, seed: int, device: str = "cpu"
) -> Gallery:
    """Makes a gallery of a degradation on `device`, which it does not change. The same seed shows the same photos.

    Raises PhotosError if a set has no photo of 32 low-resolution pixels.
    """
    scale, size = degradation.config.scale, degradation.config.kernel.size
    geometry = replace(CropGeometry.choose(lr_photos, hr_photos, scale), crops_per_photo=1)
    real_photos = evenly_spaced(lr_photos, geometry.side, NUM_PATCHES)
    clean_photos = evenly_spaced(hr_photos, geometry.side * scale, NUM_PATCHES)
    real = torch.cat(list(sample_real_crops(lr_photos, geometry, real_photos, make_generator(seed, 0))))
    windows = torch.cat(
        list(
            sample_hr_windows(
                hr_photos,
                geometry,
                clean_photos,
                make_generator(seed, 1),
                scale=scale,
                size=size,
                top=degradation.kernel_origin[0],
            )
        )
    )
    latents = make_generator(seed, 2)
    with eval_mode(degradation):
        z = torch.randn(NUM_KERNELS, degradation.config.kernel.z, 1, 1, generator=latents)
        kernels = degradation.kernel(z.to(device)).float().cpu()
        drawn = degradation.draw_latents(NUM_PATCHES, (geometry.side, geometry.side), latents).to(device)
        degraded = degradation(windows.to(device), drawn, padded_input=True)
    chosen = range(0, NUM_PATCHES, NUM_PATCHES // NUM_EXAMPLES)  # spaced, because neighbors may share a photo
    lr, noise, example_kernels = (
        tensor.float().cpu() for tensor in (degraded.lr, degraded.noise.expand_as(degraded.lr), degraded.kernel[chosen])
    )
    is_finite = all(bool(tensor.isfinite().all()) for tensor in (kernels, lr, noise))
    kernels, lr, noise, example_kernels = (
        tensor.nan_to_num(0, 0, 0) for tensor in (kernels, lr, noise, example_kernels)
    )
    before, hr_side = -degradation.kernel_origin[0], geometry.side * scale
    clean = windows[chosen, :, before : before + hr_side, before : before + hr_side]
    accumulator = NoiseAccumulator()
    for patch_noise, blurred in zip(255 * noise, 255 * (lr - noise), strict=True):
        accumulator.add(patch_noise[None], blurred[None])
    kernel_metrics = measure_kernels(kernels, degradation.kernel_origin, scale)
    bin_width, noise_hist = _histogram(255 * noise)
    order = torch.randperm(2 * NUM_PATCHES, generator=make_generator(seed, 3))
    patches = torch.cat([real, (255 * lr).clamp(0, 255).round().byte()])[order]
    return Gallery(
        scale=scale,
        kernels=kernels[:NUM_SHOWN],
        widths=_measure_widths(kernels),
        transfer=tuple(
            _summarize_response(kernels, 0.5 * number / NUM_FREQUENCIES) for number in range(NUM_FREQUENCIES + 1)
        ),
        hist_start=-bin_width * HISTOGRAM_BINS / 2,
        bin_width=bin_width,
        noise_hist=noise_hist,
        noise_correlation=_autocorrelation(noise),
        kernel_metrics=kernel_metrics,
        noise=accumulator.get_noise_metrics(),
        patches=patches,
        real=tuple(bool(index < NUM_PATCHES) for index in order),
        examples=_example_panels(clean, lr[chosen], noise[chosen], scale),
        example_kernels=example_kernels,
        alarms=tuple(find_model_alarms(kernel_metrics, accumulator.get_color_bias(), is_finite=is_finite)),
    )


def _example_panels(clean: Tensor, lr: Tensor, noise: Tensor, scale: int) -> Tensor:
    """Stacks clean (E, 3, s·h, s·w) with enlarged lr and noise (E, 3, h, w): (E, 3, 3, s·h, s·w) uint8."""
    small = torch.stack([lr, 0.5 + NOISE_GAIN * noise], 1)
    large = small.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
    return (255 * torch.cat([clean[:, None], large], 1)).clamp(0, 255).round().byte()


def make_grid(patches: Tensor, columns: int) -> Tensor:
    """Arranges patches (N, 3, side, side) row by row into one image (rows · side, columns · side, 3)."""
    count, channels, side, _ = patches.shape
    rows = patches.view(count // columns, columns, channels, side, side)
    return rows.permute(0, 3, 1, 4, 2).reshape(count // columns * side, columns * side, channels).contiguous()


def _measure_widths(kernels: Tensor) -> tuple[Width, ...]:
    major, minor, angle, _ = principal_axes(kernels)
    degrees = torch.rad2deg(angle) % 180
    return tuple(Width(*values) for values in torch.stack([major, minor, degrees], 1).tolist())


def _summarize_response(kernels: Tensor, frequency: float) -> ResponseSummary:
    responses = frequency_response(kernels, frequency)
    p5, p95 = torch.quantile(responses, responses.new_tensor([0.05, 0.95])).tolist()
    return ResponseSummary(frequency, responses.mean().item(), p5, p95)


def _histogram(noise: Tensor) -> tuple[float, tuple[float, ...]]:
    """Returns the bin width, in the noise's unit, and each bin's share. Outliers count in the outermost bins."""
    bin_width = max(0.1, 8 * noise.std().item() / HISTOGRAM_BINS)
    bins = (noise / bin_width + HISTOGRAM_BINS / 2).floor().clamp(0, HISTOGRAM_BINS - 1).long().flatten()
    counts = torch.bincount(bins, minlength=HISTOGRAM_BINS)
    return bin_width, tuple((counts / counts.sum()).tolist())


def _autocorrelation(noise: Tensor) -> tuple[tuple[float, ...], ...]:
    """Computes the autocorrelation of noise (B, 3, h, w) for offsets of up to CORR_RADIUS pixels."""
    noise = noise - noise.mean((2, 3), keepdim=True)
    height, width = noise.shape[2] - CORR_RADIUS, noise.shape[3] - CORR_RADIUS
    center = noise[:, :, CORR_RADIUS:height, CORR_RADIUS:width]
    variance = center.square().mean().clamp_min(1e-12)
    offsets = range(-CORR_RADIUS, CORR_RADIUS + 1)
    return tuple(
        tuple(
            (center * noise[:, :, CORR_RADIUS + down : height + down, CORR_RADIUS + right : width + right])
            .mean()
            .item()
            / variance.item()
            for right in offsets
        )
        for down in offsets
    )
