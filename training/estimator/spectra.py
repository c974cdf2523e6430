"""Power spectra of windows, and energy distances between distributions.

Blur lowers the high frequencies of a photo and noise raises them, so a spectrum shows both. It shows the content, too.
Therefore an estimator (network.py) interprets it, not a formula.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WINDOW = 32  # side in low-resolution pixels
RINGS, SECTORS = 8, 6  # of the frequency plane
# Luma and two color differences, each a unit vector. Noise stands out in the differences, where photos have little.
OPPONENT = ((0.577, 0.577, 0.577), (0.707, 0.0, -0.707), (0.408, -0.816, 0.408))
POWER_FLOOR = 0.1  # in squared 8-bit levels, about the power of rounding noise
K_NEAREST = 32  # entries of real photos, of 600, with about the brightness of a generated one


def extract_windows(images: Tensor, stride: int) -> Tensor:
    """Cuts all windows of images (B, C, h, w) at multiples of `stride`, (B · windows, C, 32, 32)."""
    windows = images.unfold(2, WINDOW, stride).unfold(3, WINDOW, stride)  # (B, C, n, m, 32, 32)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)


class Spectra:
    """Computes power spectra of Hann windows, averaged in bins by ring and sector."""

    def __init__(self, device: torch.device | str = "cpu"):
        window = torch.hann_window(WINDOW, periodic=False, device=device)
        self.window = window[:, None] * window[None]
        self.window /= self.window.square().sum().sqrt()  # white noise of variance v then has power v everywhere
        self.opponent = torch.tensor(OPPONENT, device=device)
        self.frequencies = torch.fft.fftfreq(WINDOW, device=device)  # in cycles per low-resolution pixel
        y, x = self.frequencies[:, None], self.frequencies[: WINDOW // 2 + 1].abs()[None]
        self.radius, angle = torch.hypot(y, x), torch.atan2(y, x) % math.pi  # of each frequency, (32, 17)
        ring = (self.radius / 0.5 * RINGS).long()
        self.sector = (angle / math.pi * SECTORS + 0.5).long() % SECTORS  # of each frequency, (32, 17)
        sector = self.sector.where(ring > 0, 0)
        # The window leaks the mean into the lowest frequencies. Corners beyond the rings hold few directions.
        used = (self.radius > 1.5 / WINDOW) & (self.radius < 0.56)
        weights = torch.nn.functional.one_hot(ring * SECTORS + sector) * used[:, :, None]
        weights = weights.flatten(0, 1).float()
        weights = weights[:, weights.sum(0) > 0]
        self.bin_weights = weights / weights.sum(0)  # (frequencies, bins)

    @property
    def num_bins(self) -> int:
        return self.bin_weights.shape[1]

    def power(self, windows: Tensor) -> Tensor:
        """Computes powers (B, 3, 32, 17) in luma and color differences; windows (B, 3, 32, 32) in 8-bit levels."""
        opponent = self.to_opponent(windows)
        centered = opponent - opponent.mean((2, 3), keepdim=True)
        return torch.view_as_real(torch.fft.rfft2(centered * self.window)).square().sum(-1)

    def to_opponent(self, images: Tensor) -> Tensor:
        """Converts RGB images (B, 3, h, w) to luma and two color differences, (B, 3, h, w)."""
        return torch.einsum("oc,bchw->bohw", self.opponent, images)

    def log_power(self, windows: Tensor) -> Tensor:
        """Computes natural logarithms of mean powers, (B, 3, bins); windows (B, 3, 32, 32) in 8-bit levels."""
        mean_power: Tensor = (self.power(windows).flatten(2) @ self.bin_weights + POWER_FLOOR).log()
        return mean_power

    def kernel_power_response(self, kernel: Tensor, scale: int) -> Tensor:
        """Computes the power response of kernel (B, K, K), in high-resolution pixels: (B, bins) in 0..1."""
        taps = torch.arange(kernel.shape[-1], device=kernel.device)
        phase = -2j * math.pi * self.frequencies[:, None] / scale * taps
        rows, cols = phase.exp(), phase[: WINDOW // 2 + 1].exp()
        response = torch.einsum("fu,buv,gv->bfg", rows, kernel.to(rows.dtype), cols)
        return response.abs().square().flatten(1) @ self.bin_weights


def energy_distance(generated: Tensor, real: Tensor, group_size: int = 1) -> Tensor:
    """Estimates the energy distance between the distributions of generated (N, F) and real (M, F), up to a constant.

    The constant is the mean distance within `real`. The estimate is unbiased, unlike a sliced Wasserstein distance of
    small batches, so matching in small batches does not narrow the spread. Each `group_size` consecutive entries of
    `generated` share their content. They are not compared with each other, which keeps the estimate unbiased.
    """
    between = _pairwise_distances(generated, real)
    within = _pairwise_distances(generated, generated)[_different_group_mask(generated, group_size)]
    return 2 * between.mean() - within.mean()


def energy_distance_given_brightness(
    generated: Tensor, brightness: Tensor, real: Tensor, real_brightness: Tensor, group_size: int = 1
) -> Tensor:
    """Estimates the energy distance given the brightness: generated (N, F) at (N,), real (M, F) at (M,).

    Generated photos may be brighter or darker than all real ones, which is no difference between cameras. So each is
    compared with the K_NEAREST real ones in brightness, as if these had its brightness. Both sides then have the same
    brightness on average, and only their predictions can differ.
    """
    k = min(K_NEAREST, len(real))
    nearest = (brightness[:, None] - real_brightness[None]).abs().topk(k, largest=False).indices  # (N, k)
    different_group = _different_group_mask(generated, group_size)
    generated = torch.cat([generated, brightness[:, None]], 1)
    real = torch.cat([real[nearest], brightness[:, None, None].expand(-1, nearest.shape[1], 1)], 2)  # (N, k, F + 1)
    between = _pairwise_distances(generated, real.flatten(0, 1)).view(len(generated), *nearest.shape).mean(2)
    return (2 * between - _pairwise_distances(generated, generated))[different_group].mean()


def energy_distance_of_differences(generated: Tensor, real: Tensor) -> Tensor:
    """Estimates the energy distance of differences (N, F) and (M, F) within pairs, whose sign is arbitrary."""
    between = torch.stack([_pairwise_distances(generated, real), _pairwise_distances(generated, -real)])
    within = torch.stack([_pairwise_distances(generated, generated), _pairwise_distances(generated, -generated)])
    within = within[:, _different_group_mask(generated, group_size=1)]
    return 2 * between.mean() - within.mean()


def _pairwise_distances(first: Tensor, second: Tensor) -> Tensor:
    """Computes Euclidean distances between (N, F) and (M, F), (N, M)."""
    return ((first[:, None] - second[None]).square().sum(-1) + 1e-12).sqrt()


def _different_group_mask(generated: Tensor, group_size: int) -> Tensor:
    """Returns (N, N): which entries belong to different groups of `group_size` consecutive ones."""
    group = torch.arange(len(generated), device=generated.device) // group_size
    return group[:, None] != group
