"""Log power spectra of patches, and a distance between distributions of them.

A blur lowers the high frequencies of a photo and noise fills them up, so the spectrum tells both. What the photo shows
is in it too; the mean over several patches of one photo, all with its kernel and its noise level, holds less of that.
"""

from __future__ import annotations

import torch
from torch import Tensor

RINGS, SECTORS = 8, 4
# Luma and two differences of colours, each of length 1: noise stands out in the differences, where photos have little.
OPPONENT = ((0.577, 0.577, 0.577), (0.707, 0.0, -0.707), (0.408, -0.816, 0.408))
FLOOR = 0.1  # in squared 8-bit levels, about the noise of rounding; nothing below it can be told apart


class Spectra:
    """Pooled log power spectra of patches of one size."""

    def __init__(self, side: int, device: str):
        window = torch.hann_window(side, periodic=False, device=device)
        self.window = window[:, None] * window[None]
        self.window /= self.window.square().sum().sqrt()  # white noise of variance v has power v everywhere
        self.opponent = torch.tensor(OPPONENT, device=device)
        y = torch.fft.fftfreq(side, device=device)[:, None]
        x = torch.fft.rfftfreq(side, device=device)[None]
        radius, angle = torch.hypot(y, x), torch.atan2(y, x) % torch.pi
        ring = (radius / 0.5 * RINGS).long()
        sector = ((angle / torch.pi * SECTORS + 0.5).long()) % SECTORS
        pool = (ring * SECTORS + sector).flatten()
        members = torch.nn.functional.one_hot(pool)
        members[(radius < 1.5 / side).flatten()] = 0  # the window smears the mean over the lowest frequencies
        kept = members[:, members.sum(0) > 0].float()
        self.pools = kept / kept.sum(0)  # (frequencies, F)

    def __call__(self, lr: Tensor) -> Tensor:
        """lr (B, 3, side, side) in [0, 1] → (B, 3, F), natural logarithms of mean powers in squared 8-bit levels."""
        opponent = torch.einsum("oc,bchw->bohw", self.opponent, lr * 255)
        centred = opponent - opponent.mean((2, 3), keepdim=True)
        power = torch.view_as_real(torch.fft.rfft2(centred * self.window)).square().sum(-1)  # (B, 3, h, w/2 + 1)
        return (power.flatten(2) @ self.pools + FLOOR).log()


def energy_distance(made: Tensor, real: Tensor) -> Tensor:
    """Energy distance between the distributions that made (N, F) and real (M, F) are drawn from.

    Unlike a sliced Wasserstein distance between small batches, its estimate is unbiased, so that matching a few at a
    time does not narrow the spread. 0 where they are the same in the mean, and the estimate may fall below.
    """
    return 2 * _mean_distance(made, real) - _mean_distance(made, made) - _mean_distance(real, real)


def _mean_distance(one: Tensor, other: Tensor) -> Tensor:
    pairs = (one[:, None] - other[None]).square().sum(-1)
    if one is other:
        # Not with itself: a pair of equal points has no gradient, and would bias the mean.
        pairs = pairs[~torch.eye(len(one), dtype=torch.bool, device=one.device)]
    return (pairs + 1e-12).sqrt().mean()
