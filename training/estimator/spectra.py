"""Log power spectra of windows, and a distance between distributions.

A blur lowers the high frequencies of a photo and noise fills them up, so the spectrum tells both. What the photo shows
is in it too, which is why an estimator (estimator.py) reads it rather than a ruler.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WINDOW = 32  # side in low-resolution pixels
RINGS, SECTORS = 8, 6  # of the frequency plane
# Luma and two differences of colours, each of length 1: noise stands out in the differences, where photos have little.
OPPONENT = ((0.577, 0.577, 0.577), (0.707, 0.0, -0.707), (0.408, -0.816, 0.408))
FLOOR = 0.1  # in squared 8-bit levels, about the noise of rounding; nothing below it can be told apart
NEAREST = 32  # looks at real photos, of 600, in about the light of a made one


def windows_of(images: Tensor, step: int) -> Tensor:
    """images (B, C, h, w) → all their windows at multiples of `step`, (B · windows, C, 32, 32)."""
    windows = images.unfold(2, WINDOW, step).unfold(3, WINDOW, step)  # (B, C, n, m, 32, 32)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


class Spectra:
    """Power spectra of Hann windows, pooled by ring and sector."""

    def __init__(self, device: torch.device | str = "cpu"):
        window = torch.hann_window(WINDOW, periodic=False, device=device)
        self.window = window[:, None] * window[None]
        self.window /= self.window.square().sum().sqrt()  # white noise of variance v has power v everywhere
        self.opponent = torch.tensor(OPPONENT, device=device)
        self.frequencies = torch.fft.fftfreq(WINDOW, device=device)  # in cycles a low-resolution pixel
        y, x = self.frequencies[:, None], self.frequencies[: WINDOW // 2 + 1].abs()[None]
        self.radius, angle = torch.hypot(y, x), torch.atan2(y, x) % math.pi  # of each frequency, (32, 17)
        ring = (self.radius / 0.5 * RINGS).long()
        self.sector = (angle / math.pi * SECTORS + 0.5).long() % SECTORS  # likewise
        sector = self.sector.where(ring > 0, 0)
        # The window smears the mean over the lowest frequencies; the corners beyond hold a direction or two only.
        used = (self.radius > 1.5 / WINDOW) & (self.radius < 0.56)
        pools = torch.nn.functional.one_hot(ring * SECTORS + sector) * used[:, :, None]
        pools = pools.flatten(0, 1).float()
        pools = pools[:, pools.sum(0) > 0]
        self.pools = pools / pools.sum(0)  # (frequencies, bins)

    @property
    def bins(self) -> int:
        return self.pools.shape[1]

    def power(self, windows: Tensor) -> Tensor:
        """windows (B, 3, 32, 32) in 8-bit levels → (B, 3, 32, 17), powers in luma and colour differences."""
        opponent = self.opponents_of(windows)
        centred = opponent - opponent.mean((2, 3), keepdim=True)
        return torch.view_as_real(torch.fft.rfft2(centred * self.window)).square().sum(-1)

    def opponents_of(self, images: Tensor) -> Tensor:
        """images (B, 3, h, w) → (B, 3, h, w): luma and two differences of colours."""
        return torch.einsum("oc,bchw->bohw", self.opponent, images)

    def log_power(self, windows: Tensor) -> Tensor:
        """windows (B, 3, 32, 32) in 8-bit levels → (B, 3, bins), natural logarithms of pooled powers."""
        pooled: Tensor = (self.power(windows).flatten(2) @ self.pools + FLOOR).log()
        return pooled

    def of_kernels(self, kernel: Tensor, scale: int) -> Tensor:
        """kernel (B, K, K) in high-resolution pixels → (B, bins): what it does to the power at each frequency, 0..1."""
        taps = torch.arange(kernel.shape[-1], device=kernel.device)
        turn = -2j * math.pi * self.frequencies[:, None] / scale * taps
        rows, cols = turn.exp(), turn[: WINDOW // 2 + 1].exp()
        response = torch.einsum("fu,buv,gv->bfg", rows, kernel.to(rows.dtype), cols)
        return response.abs().square().flatten(1) @ self.pools


def energy_distance(made: Tensor, real: Tensor, per_place: int = 1) -> Tensor:
    """Energy distance between the distributions that made (N, F) and real (M, F) are drawn from, up to a constant.

    Left out is the mean distance within `real`, which nothing learns from. Unlike a sliced Wasserstein distance between
    small batches, its estimate is unbiased, so that matching a few photos at a time does not narrow their spread. So
    that it stays so where each `per_place` of `made` in a row show the same, these are not compared with each other.
    """
    between = _distances(made, real)
    within = _distances(made, made)[_of_other_places(made, per_place)]
    return 2 * between.mean() - within.mean()


def energy_distance_in_light(
    made: Tensor, light: Tensor, real: Tensor, light_real: Tensor, per_place: int = 1
) -> Tensor:
    """Energy distance between what is told of photos at the light they show: made (N, F) at (N,), real (M, F) at (M,).

    Made photos may be lighter or darker than the real ones altogether, which is no difference between cameras. So each
    stands in its light beside the NEAREST real photos to it, as if these were in the very same light: then made and
    real ones are as light on average, however few they are, and only what is told of them can differ.
    """
    nearest = (light[:, None] - light_real[None]).abs().topk(min(NEAREST, len(real)), largest=False).indices  # (N, k)
    others = _of_other_places(made, per_place)
    made = torch.cat([made, light[:, None]], 1)
    real = torch.cat([real[nearest], light[:, None, None].expand(-1, nearest.shape[1], 1)], 2)  # (N, k, F + 1)
    between = _distances(made, real.flatten(0, 1)).view(len(made), *nearest.shape).mean(2)
    return (2 * between - _distances(made, made))[others].mean()


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """(N, F), (M, F) → (N, M)."""
    return ((one[:, None] - other[None]).square().sum(-1) + 1e-12).sqrt()


def _of_other_places(made: Tensor, per_place: int) -> Tensor:
    """(N, N): which of `made` do not show the same, each `per_place` in a row doing so, nor any as itself."""
    place = torch.arange(len(made), device=made.device) // per_place
    return place[:, None] != place


def energy_distance_of_differences(made: Tensor, real: Tensor) -> Tensor:
    """As energy_distance, of differences (N, F) and (M, F) between two of a kind, which might have the other sign."""
    between = torch.stack([_distances(made, real), _distances(made, -real)])
    within = torch.stack([_distances(made, made), _distances(made, -made)])[:, _of_other_places(made, per_place=1)]
    return 2 * between.mean() - within.mean()
