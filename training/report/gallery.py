"""What a degradation makes, to be looked at: kernels, noise, and made patches among real ones.

It costs a tenth of a second, so that a training can show itself every few seconds. All random numbers are its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.degradation import Degradation, evaluating
from training.data.photos import Photos
from training.report.alarms import Alarm, alarms_of_model
from training.report.crops import Geometry, clean_windows, generator_for, real_crops, spread_over
from training.report.metrics import Kernels, Noise, NoiseSums, axes_of, kernels_of, responses_of

PATCHES = 12  # real ones, and as many made ones
EXAMPLES, NOISE_GAIN = 3, 6  # of the made ones, shown whole; their noise so many times stronger, around grey
KERNELS, SHOWN = 128, 24  # drawn; of which so many are shown
FREQUENCIES = 24
HISTOGRAM_BINS = 41  # over four standard deviations on either side
REACH = 3  # pixels to every side that the noise's correlation is measured over


@dataclass(frozen=True)
class Width:
    """Standard deviations along a kernel's axes in high-resolution pixels, the major one's direction in degrees."""

    major: float
    minor: float
    angle: float  # 0 ≤ angle < 180; 0 is along the rows, 90 along the columns


@dataclass(frozen=True)
class Response:
    """What kernels leave of a frequency, mean over directions: of all kernels the mean and two percentiles."""

    frequency: float  # cycles a high-resolution pixel
    mean: float
    p5: float
    p95: float


@dataclass(frozen=True)
class Gallery:
    scale: int
    kernels: Tensor  # (24, K, K)
    widths: tuple[Width, ...]  # of 128
    transfer: tuple[Response, ...]
    noise_from: float  # 8-bit levels: where the histogram begins
    noise_step: float  # width of its bins
    noise_shares: tuple[float, ...]  # of the noise in each bin
    noise_correlation: tuple[tuple[float, ...], ...]  # (2 · REACH + 1)²; rows are offsets down, the middle is 1
    figures: Kernels
    noise: Noise
    patches: Tensor  # (24, 3, side, side) uint8, real and made ones shuffled
    real: tuple[bool, ...]  # which of them are
    examples: Tensor  # (3, 3, 3, s · side, s · side) uint8: of each the clean patch, what is made of it, and its noise
    example_kernels: Tensor  # (3, K, K)
    alarms: tuple[Alarm, ...]


@torch.no_grad()
def gallery_of(
    degradation: Degradation, lr_photos: Photos, hr_photos: Photos, *, seed: int, device: str = "cpu"
) -> Gallery:
    """A gallery of a degradation, which is on `device` and is left as it was; the same seed shows the same photos.

    Raises PhotosError where a set has no photo of 32 low-resolution pixels.
    """
    scale, size = degradation.config.scale, degradation.config.kernel.size
    geometry = replace(Geometry.fitting(lr_photos, hr_photos, scale), crops=1)
    real_photos = spread_over(lr_photos, geometry.side, PATCHES)
    clean_photos = spread_over(hr_photos, geometry.side * scale, PATCHES)
    real = torch.cat(list(real_crops(lr_photos, geometry, real_photos, generator_for(seed, 0))))
    windows = torch.cat(
        list(
            clean_windows(
                hr_photos,
                geometry,
                clean_photos,
                generator_for(seed, 1),
                scale=scale,
                size=size,
                top=degradation.kernel_origin[0],
            )
        )
    )
    latents = generator_for(seed, 2)
    with evaluating(degradation):
        z = torch.randn(KERNELS, degradation.config.kernel.z, 1, 1, generator=latents)
        kernels = degradation.kernel(z.to(device)).float().cpu()
        drawn = degradation.draw_latents(PATCHES, (geometry.side, geometry.side), latents).to(device)
        made = degradation(windows.to(device), drawn, surrounded=True)
    shown = range(0, PATCHES, PATCHES // EXAMPLES)  # neighbours may be cut from one photo
    lr, noise, used = (tensor.float().cpu() for tensor in (made.lr, made.noise.expand_as(made.lr), made.kernel[shown]))
    finite = all(bool(tensor.isfinite().all()) for tensor in (kernels, lr, noise))
    kernels, lr, noise, used = (tensor.nan_to_num(0, 0, 0) for tensor in (kernels, lr, noise, used))
    before, wide = -degradation.kernel_origin[0], geometry.side * scale
    clean = windows[shown, :, before : before + wide, before : before + wide]
    sums = NoiseSums()
    for one, blurred in zip(255 * noise, 255 * (lr - noise), strict=True):
        sums.add(one[None], blurred[None])
    figures = kernels_of(kernels, degradation.kernel_origin, scale)
    step, shares = _histogram(255 * noise)
    order = torch.randperm(2 * PATCHES, generator=generator_for(seed, 3))
    patches = torch.cat([real, (255 * lr).clamp(0, 255).round().byte()])[order]
    return Gallery(
        scale=scale,
        kernels=kernels[:SHOWN],
        widths=_widths(kernels),
        transfer=tuple(_response(kernels, 0.5 * number / FREQUENCIES) for number in range(FREQUENCIES + 1)),
        noise_from=-step * HISTOGRAM_BINS / 2,
        noise_step=step,
        noise_shares=shares,
        noise_correlation=_correlation(noise),
        figures=figures,
        noise=sums.noise(),
        patches=patches,
        real=tuple(bool(index < PATCHES) for index in order),
        examples=_side_by_side(clean, lr[shown], noise[shown], scale),
        example_kernels=used,
        alarms=tuple(alarms_of_model(figures, sums.colours(), finite=finite)),
    )


def _side_by_side(clean: Tensor, lr: Tensor, noise: Tensor, scale: int) -> Tensor:
    """clean (E, 3, s·h, s·w), lr and noise (E, 3, h, w) → (E, 3, 3, s·h, s·w) uint8, small pixels made large ones."""
    small = torch.stack([lr, 0.5 + NOISE_GAIN * noise], 1)
    large = small.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
    return (255 * torch.cat([clean[:, None], large], 1)).clamp(0, 255).round().byte()


def grid_of(patches: Tensor, columns: int) -> Tensor:
    """patches (N, 3, side, side) → one image (rows · side, columns · side, 3), row by row; N is rows · columns."""
    count, channels, side, _ = patches.shape
    rows = patches.view(count // columns, columns, channels, side, side)
    return rows.permute(0, 3, 1, 4, 2).reshape(count // columns * side, columns * side, channels).contiguous()


def _widths(kernels: Tensor) -> tuple[Width, ...]:
    major, minor, angle, _ = axes_of(kernels)
    degrees = torch.rad2deg(angle) % 180
    return tuple(Width(*each) for each in torch.stack([major, minor, degrees], 1).tolist())


def _response(kernels: Tensor, frequency: float) -> Response:
    responses = responses_of(kernels, frequency)
    p5, p95 = torch.quantile(responses, responses.new_tensor([0.05, 0.95])).tolist()
    return Response(frequency, responses.mean().item(), p5, p95)


def _histogram(noise: Tensor) -> tuple[float, tuple[float, ...]]:
    """The width of a bin, in the noise's unit, and the share of each; what lies beyond counts to the outermost."""
    step = max(0.1, 8 * noise.std().item() / HISTOGRAM_BINS)
    bins = (noise / step + HISTOGRAM_BINS / 2).floor().clamp(0, HISTOGRAM_BINS - 1).long().flatten()
    counts = torch.bincount(bins, minlength=HISTOGRAM_BINS)
    return step, tuple((counts / counts.sum()).tolist())


def _correlation(noise: Tensor) -> tuple[tuple[float, ...], ...]:
    """Of noise (B, 3, h, w) with itself, moved by up to REACH pixels."""
    noise = noise - noise.mean((2, 3), keepdim=True)
    height, width = noise.shape[2] - REACH, noise.shape[3] - REACH
    middle = noise[:, :, REACH:height, REACH:width]
    variance = middle.square().mean().clamp_min(1e-12)
    return tuple(
        tuple(
            (middle * noise[:, :, REACH + down : height + down, REACH + right : width + right]).mean().item()
            / variance.item()
            for right in range(-REACH, REACH + 1)
        )
        for down in range(-REACH, REACH + 1)
    )
