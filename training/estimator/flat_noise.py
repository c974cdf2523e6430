"""Measures the noise of a set of photos, by brightness, color and frequency, where they show nothing else.

In every photo the flattest windows of each brightness are taken. Most photos have some that show noise alone, and a
quantile over photos leaves out those that have none. The same statistics of generated noise on gray steps are compared
with it: no content takes part on either side, and nothing is assumed about how devices make noise.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.photos import Photos
from training.estimator.spectra import OPPONENT

WINDOW, STRIDE = 16, 8  # in low-resolution pixels; larger windows are hardly ever flat
STEPS = (24.0, 72.0, 120.0, 168.0, 216.0)  # brightness of the gray steps, in 8-bit levels
HALF_STEP = 24.0
RINGS = ((0.05, 0.16), (0.16, 0.28), (0.28, 0.4), (0.4, 0.71))  # in cycles per pixel
COLORS = 3  # luma and two color differences
MAX_MEASURED = 120  # photos
FLATTEST, MIN_WINDOWS = 0.05, 40  # share of a photo's windows of a brightness, and how many it must have of them
MIN_SCENES, MIN_STEPS = 3, 3  # with even areas of a brightness, and brightnesses with as many scenes
CLIPPED = 3.0  # 8-bit levels from black or white; noise of windows whose mean is nearer is cut off
QUANTILE = 0.45  # over photos; some have texture in all windows
# Most photos may have texture in all windows of a brightness, as foliage is always dark. Those with less then show it.
LOW_QUANTILE, MAX_RATIO = 0.35, 1.5
WHITE_RATIO = 0.6  # between the amplitudes of the finest and the second ring of luma; above, noise counts as white
FLOOR = 0.1  # in squared 8-bit levels, about the power of rounding
NUM_STATISTICS = COLORS * (2 + len(RINGS))


class WindowStatistics:
    """Computes variance, power by frequency and covariance of windows (N, 3, 16, 16), by color."""

    def __init__(self, device: torch.device | str = "cpu"):
        self.opponent = torch.tensor(OPPONENT, device=device)
        hann = torch.hann_window(WINDOW, periodic=False, device=device)
        self.window = hann[:, None] * hann
        self.window /= self.window.square().sum().sqrt()
        frequency = torch.fft.fftfreq(WINDOW, device=device)
        radius = torch.hypot(frequency[:, None], frequency[: WINDOW // 2 + 1].abs())
        rings = torch.stack([(radius >= low) & (radius < high) for low, high in RINGS]).flatten(1).float()
        self.ring_weights = (rings / rings.sum(1, keepdim=True)).T
        ramp = torch.linspace(-1, 1, WINDOW, device=device)
        self.ramp = ramp / ramp.norm()

    def __call__(self, windows: Tensor) -> Tensor:
        """Returns the variance, the power of each ring and the covariance with the next color, (N, 3, 2 + rings).

        The mean and the slope of a window do not count.
        """
        images = torch.einsum("oc,nchw->nohw", self.opponent, windows)
        images = images - images.mean((2, 3), keepdim=True)
        across, down = images.mean(2) @ self.ramp, images.mean(3) @ self.ramp  # (N, 3)
        images = images - across[..., None, None] * self.ramp - down[..., None, None] * self.ramp[:, None]
        power = torch.view_as_real(torch.fft.rfft2(images * self.window)).square().sum(-1).flatten(2)
        variance = images.square().mean((2, 3))
        covariance = (images * images.roll(-1, 1)).mean((2, 3))
        return torch.cat([variance[..., None], power @ self.ring_weights, covariance[..., None]], 2)


def to_curves(power: Tensor) -> Tensor:
    """Converts mean statistics (N, 5, 3, 2 + rings) to noise curves (N, 5, 18).

    They are roots of stds, so that no photo with far too much noise counts for most, and correlations of colors.
    """
    variance = power[..., :1] + FLOOR
    correlation = power[..., -1:] / (variance * variance.roll(-1, 2)).sqrt()
    return torch.cat([(power[..., :-1].clamp_min(0) + FLOOR) ** 0.25, correlation], 3).flatten(2)


def measure_photos(photos: Photos, scenes: list[list[int]]) -> Tensor:
    """Measures the noise of photos, whose indices are given scene by scene: noise curves (N, 5, 18), see `to_curves`.

    By gray step, then by color: the whole, each ring of frequencies, and the correlation with the next color. All
    photos share one curve over brightness and differ in its level. Empty (0, 5, 18) if the noise is white, for which
    the estimator is more exact: it knows texture. Empty, too, if too few scenes have even areas: what they
    show may be texture.
    """
    statistics, nothing = WindowStatistics(), torch.zeros(0, len(STEPS), NUM_STATISTICS)
    chosen = [(index, scene) for scene, indices in enumerate(scenes) for index in indices]
    chosen = chosen[:: 1 + len(chosen) // MAX_MEASURED]
    if not chosen:
        return nothing
    found = torch.stack([_measure_photo(photos[index], statistics) for index, _ in chosen])
    known = ~found[..., 0, 0].isnan()  # (photos, 5)
    owners = torch.tensor([scene for _, scene in chosen])
    known_steps = [step for step in range(len(STEPS)) if len(owners[known[:, step]].unique()) >= MIN_SCENES]
    if len(known_steps) < MIN_STEPS:
        return nothing
    # Where too few photos have a brightness, noise is as at the nearest one.
    nearest = [min(known_steps, key=lambda other: abs(other - step)) for step in range(len(STEPS))]
    curve = torch.stack([_typical(found[known[:, step], step]) for step in nearest])
    rings = curve[:, 0, 1:-1].mean(0)
    if rings[-1] > WHITE_RATIO**2 * rings[1]:
        return nothing
    level = _relative_levels(found[..., 0].sum(2), curve[..., 0].sum(1))
    return to_curves(curve[None] * level[:, None, None, None])


def _typical(measured: Tensor) -> Tensor:
    """Returns the statistics (3, 2 + rings) that most photos (N, 3, 2 + rings) have where they show noise alone."""
    usual, low = measured.quantile(QUANTILE, dim=0), measured.quantile(LOW_QUANTILE, dim=0)
    return usual * (MAX_RATIO * low[:, :1] / usual[:, :1].clamp_min(1e-9)).clamp(max=1)  # texture is mostly gray


def _relative_levels(power: Tensor, curve: Tensor) -> Tensor:
    """Returns the noise power of each photo relative to the curve (5,), (photos,); power (photos, 5) may be nan.

    A photo's lower brightnesses count, because texture only adds. How much they differ within photos shows how much
    levels differ by chance, and that is taken from the spread.
    """
    ratio = (power / curve).log()
    ratio = ratio[~ratio.isnan().all(1)]
    level = ratio.nanquantile(0.25, dim=1)
    level = level - level.median()
    count = (~ratio.isnan()).sum(1)
    mean = ratio.nanmean(1, keepdim=True)
    within = ((ratio - mean).square().nansum(1) / (count - 1).clamp_min(1))[count > 1]
    chance = (within / count[count > 1]).median() if len(within) else level.new_zeros(())
    variance = level.var() if len(level) > 1 else level.new_zeros(())
    return (level * (1 - chance / variance.clamp_min(1e-6)).clamp_min(0).sqrt()).clamp(-2, 2).exp()


def _measure_photo(photo: NDArray[np.uint8], statistics: WindowStatistics) -> Tensor:
    """Returns mean statistics of the flattest windows of each brightness, (5, 3, 2 + rings); nan without windows."""
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1).float()
    windows = image.unfold(1, WINDOW, STRIDE).unfold(2, WINDOW, STRIDE).permute(1, 2, 0, 3, 4).flatten(0, 1)
    mean = windows.mean((2, 3))
    inside = ((mean > CLIPPED) & (mean < 255 - CLIPPED)).all(1)
    windows, brightness = windows[inside], mean[inside].mean(1)
    measured = torch.full((len(STEPS), COLORS, 2 + len(RINGS)), math.nan)
    for step, level in enumerate(STEPS):
        chosen = windows[(brightness - level).abs() <= HALF_STEP]
        if len(chosen) < MIN_WINDOWS:
            continue
        values = statistics(chosen)
        total = values[..., 0].sum(1)
        flattest = total.topk(max(4, round(FLATTEST * len(total))), largest=False).indices
        measured[step] = values[flattest].mean(0) / _selection_bias(values[flattest])
    return measured


def _selection_bias(values: Tensor) -> float:
    """Returns how much lower the variance of the flatter half of all windows with noise alone is than their mean.

    A sum of n equal parts varies by √(2 / n). Noise in few frequencies has few parts.
    """
    power = values[..., 1:-1].mean(0)  # (colors, rings)
    area = power.new_tensor([high**2 - low**2 for low, high in RINGS]) * math.pi
    area[-1] = 1 - area[:-1].sum()
    parts = WINDOW**2 * float((power * area).sum() ** 2 / (power.square() * area).sum().clamp_min(1e-9))
    return 1 - 0.8 * math.sqrt(2 / max(parts, 8.0))


def gray_steps(count: int, device: torch.device | str) -> Tensor:
    """Returns clean gray steps for `count` photos, (5 · count, 3, 32, 32) in 0..1."""
    steps = torch.tensor(STEPS, device=device).view(1, -1, 1, 1, 1) / 255
    return steps.expand(count, -1, COLORS, 2 * WINDOW, 2 * WINDOW).flatten(0, 1)


def measure_steps(statistics: WindowStatistics, steps: Tensor) -> Tensor:
    """Measures noisy gray steps (5 · N, 3, 32, 32) in 8-bit levels: noise curves (N, 5, 18), as of photos."""
    windows = steps.unfold(2, WINDOW, WINDOW).unfold(3, WINDOW, WINDOW).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    power = statistics(windows)
    return to_curves(power.view(-1, len(STEPS), 4, *power.shape[1:]).mean(2))
