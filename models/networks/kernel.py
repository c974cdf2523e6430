"""The kernel network: z_k → blur kernel (section 3.2 of the paper)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FAINTEST = 1e-12  # of what a tap lets through, for its logarithm to count
SLIGHT = 0.12  # elongation that counts half: one axis an eighth longer than the other
WIDEST = 1 / 4  # of the window's side, for the standard deviation of an ellipse
NEWTON_STEPS = 24
NEWTON_PARTS = (1.0, 0.3, 0.1, 0.01, 0.0001)


@dataclass(frozen=True)
class KernelConfig:
    """The defaults are the seed's run."""

    z: int = 3
    width: int = 64
    blocks: int = 8
    size: int = 21  # taps a side
    batch_norm: bool = True
    # Standard deviation, in high-resolution pixels, of the Gaussian that an untrained network gives. None is the
    # published start, one logit at 1 and all others at 0, which after the softmax is all but a box.
    initial_sigma: float | None = None
    # Standard deviation, in high-resolution pixels, of a Gaussian that the logits are smoothed by. What is finer than a
    # low-resolution pixel hardly shows in photos; unsmoothed, kernels may become a few points far apart.
    smoothing: float = 0.0
    # Width, elongation and direction have three outputs of their own (`ellipses`), to which the logits of all taps add
    # what else there is to the shape. Through these alone a narrower kernel takes hundreds of outputs that agree.
    ellipse: bool = False

    def __post_init__(self) -> None:
        if self.ellipse and self.initial_sigma is None:
            raise ValueError("kernels that start from an ellipse need its width, initial_sigma")


class ResidualBlock(nn.Module):
    """Two 1×1 convolutions added to their input."""

    def __init__(self, width: int, batch_norm: bool):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 1),
            nn.BatchNorm2d(width) if batch_norm else nn.Identity(),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class KernelNetwork(nn.Module):
    """Draws blur kernels.

    `centre` is where, in taps from the window's first, the centre of mass of every kernel is held in both directions.
    None leaves it free, as published.
    """

    def __init__(self, config: KernelConfig, centre: float | None = None):
        super().__init__()
        self.config = config
        self.centre = centre
        self.body = nn.Sequential(
            nn.Conv2d(config.z, config.width, 1),
            nn.BatchNorm2d(config.width) if config.batch_norm else nn.Identity(),
            nn.ReLU(inplace=True),
            *(ResidualBlock(config.width, config.batch_norm) for _ in range(config.blocks)),
        )
        self.head = nn.Conv2d(config.width, config.size**2, 1)
        self.ellipse = nn.Conv2d(config.width, 3, 1) if config.ellipse else None
        if config.smoothing:
            self.register_buffer("smoothing", _smoothing(config.size, config.smoothing), persistent=False)
        self._start()

    def _start(self) -> None:
        with torch.no_grad():
            self.head.bias.zero_()  # type: ignore[union-attr]
            if self.ellipse is not None:
                self.ellipse.bias.zero_()  # type: ignore[union-attr]
            elif self.config.initial_sigma is not None:
                self.head.bias.copy_(self._ellipses(torch.zeros(1, 3))[0])  # type: ignore[union-attr]
            else:
                self.head.weight.zero_()
                self.head.bias[self.config.size**2 // 2] = 1  # type: ignore[index]

    def forward(self, z: Tensor) -> Tensor:
        """(B, z, 1, 1) → kernels (B, size, size), non-negative; each sums to 1."""
        features = self.body(z)
        logits: Tensor = self.head(features).flatten(1)  # (B, size²)
        if self.config.smoothing:
            across = self.get_buffer("smoothing")
            logits = (across @ logits.view(-1, *across.shape) @ across.T).flatten(1)
        if self.ellipse is not None:
            logits = logits + self._ellipses(self.ellipse(features).flatten(1))
        if self.centre is not None:
            logits = centred(logits, self.config.size, self.centre)
        return logits.softmax(1).view(-1, self.config.size, self.config.size)

    def _ellipses(self, shape: Tensor) -> Tensor:
        size, sigma = self.config.size, self.config.initial_sigma
        assert sigma is not None
        return ellipses(shape, size, size // 2 if self.centre is None else self.centre, sigma)


def ellipses(shape: Tensor, size: int, centre: float, sigma: float) -> Tensor:
    """Logits (B, size²) of Gaussians about (centre, centre), in taps, from shape (B, 3).

    Their precision goes from that of the widest that the window holds, a quarter of it, by the matrix exponential of
    [[n + e, d], [d, n − e]], whose rows are x and y. So 0 is round and sigma wide, n narrows, (e, d) flattens by its
    length and turns by half of its angle. Whatever the three are, it is an ellipse in the window.
    """
    narrow, e, d = shape.unbind(1)
    flat = (e**2 + d**2 + 1e-6).sqrt()
    across, along = (narrow + flat).exp(), (narrow - flat).exp()
    mean, apart = (across + along) / 2, (across - along) / (2 * flat)
    widest = (WIDEST * size) ** -2
    start = sigma**-2 - widest
    xx, yy, xy = widest + start * (mean + e * apart), widest + start * (mean - e * apart), start * d * apart
    y, x = _from(centre, size, shape)
    return -0.5 * (xx[:, None] * x**2 + 2 * xy[:, None] * (x * y) + yy[:, None] * y**2)


def _from(centre: float, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """How far each tap of a window lies below and to the right of (centre, centre), (size²,) each."""
    offset = torch.arange(size, device=like.device, dtype=like.dtype) - centre
    return offset.repeat_interleave(size), offset.repeat(size)


def _smoothing(size: int, sigma: float) -> Tensor:
    """(size, size): what a product with it does to each column is a Gaussian filter; beyond its ends, values go on."""
    reach = math.ceil(3 * sigma)
    offset = torch.arange(-reach, reach + 1)
    falloff = (-0.5 * (offset / sigma) ** 2).exp()
    taken = (torch.arange(size)[:, None] + offset).clamp(0, size - 1)  # (size, taps)
    return torch.zeros(size, size).scatter_add(1, taken, (falloff / falloff.sum()).expand(size, -1))


def convexity(kernel: Tensor) -> Tensor:
    """How far kernels (B, K, K) are from log-concave, 0 for those that are: a mean over taps and directions.

    Gaussians, ellipses, streaks and all else without lumps or long tails are log-concave. What it measures is positive
    second differences of the logarithm.
    """
    log, seen = kernel.clamp_min(FAINTEST).log(), kernel > FAINTEST
    size, total = kernel.shape[-1], kernel.new_zeros(())
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for reach in (1, 2, 4):
            y, x = reach * down, reach * abs(right)
            rows = slice(0, size - 2 * y), slice(y, size - y), slice(2 * y, size)
            cols = slice(0, size - 2 * x), slice(x, size - x), slice(2 * x, size)
            if right < 0:
                cols = cols[::-1]
            ends, middle = [log[:, rows[i], cols[i]] for i in (0, 2)], log[:, rows[1], cols[1]]
            all_seen = seen[:, rows[0], cols[0]] & seen[:, rows[2], cols[2]]
            total = total + ((ends[0] + ends[1] - 2 * middle) * all_seen).clamp_min(0).mean()
    return total / 12


def moments(kernel: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Kernels (B, K, K) → their centre of mass (B, 2), (y, x) in taps from the window's first; their variance down and
    across, and covariance, in taps², (B,) each."""
    offset = torch.arange(kernel.shape[-1], device=kernel.device, dtype=kernel.dtype)
    rows, cols = kernel.sum(2), kernel.sum(1)
    y, x = rows @ offset, cols @ offset
    off_y, off_x = offset - y[:, None], offset - x[:, None]
    yy, xx = (rows * off_y**2).sum(1), (cols * off_x**2).sum(1)
    yx = torch.einsum("buv,bu,bv->b", kernel, off_y, off_x)
    return torch.stack([y, x], 1), yy, xx, yx


def elongated(kernel: Tensor) -> Tensor:
    """About the share of kernels (B, K, K) that are not round.

    The mean of e² / (e² + SLIGHT²), e being (a² − b²) / (a² + b²) of the widths a and b: it pulls slight elongations to
    0 and hardly touches long kernels.
    """
    _, yy, xx, yx = moments(kernel)
    square = ((xx - yy) ** 2 + 4 * yx**2) / ((xx + yy) ** 2).clamp_min(1e-6)  # of a single tap it is 0
    return (square / (square + SLIGHT**2)).mean()


def centred(logits: Tensor, size: int, centre: float) -> Tensor:
    """Tilts kernels until their centre of mass is where it should be.

    Adds to logits (B, size²) the plane t·(y, x) that brings the centre of mass of their softmax to (centre, centre), in
    taps. Of all kernels with that centre of mass this is the nearest in relative entropy, and t is the minimum of a
    convex function, so it always exists and is unique.

    Gradients flow through t as well. At the minimum a Newton step changes nothing, but its derivative by the logits
    is the implicit function theorem's; so the search needs no gradient and one last step of 0 carries it all.
    """
    y, x = _from(centre, size, logits)
    plane = torch.stack([y, x])  # (2, size²)
    products = torch.stack([y * y, y * x, x * x])  # (3, size²)
    ridge = 1e-6  # in taps²; keeps the step finite for a kernel that is all but a line or a point
    watched = logits.device.type == "cpu" and not torch.compiler.is_exporting()  # a GPU would have to be waited for

    def mean_and_inverse(weight: Tensor) -> tuple[Tensor, Tensor]:
        mean, second = weight @ plane.T, weight @ products.T  # (B, 2), (B, 3)
        yy = second[:, 0] - mean[:, 0] ** 2 + ridge
        yx = second[:, 1] - mean[:, 0] * mean[:, 1]
        xx = second[:, 2] - mean[:, 1] ** 2 + ridge
        adjugate = torch.stack([xx, -yx, -yx, yy], 1).view(-1, 2, 2)
        return mean, adjugate / (yy * xx - yx**2).clamp_min(ridge**2)[:, None, None]

    with torch.no_grad():
        tilt = torch.zeros(len(logits), 2, device=logits.device, dtype=logits.dtype)
        for _ in range(NEWTON_STEPS):
            mean, inverse = mean_and_inverse((logits + tilt @ plane).softmax(1))
            step = (inverse @ mean[:, :, None])[:, :, 0]
            # A whole step overshoots where a kernel is far off or has several lumps: the part of it that leads lowest.
            # Of short ones none does, and rounding hides which part leads lower.
            tries = torch.stack([tilt - part * step for part in NEWTON_PARTS])  # (parts, B, 2)
            lowest = (logits + tries @ plane).logsumexp(2).argmin(0)
            partly = tries[lowest, torch.arange(len(tilt), device=tilt.device)]
            length, precision = step.norm(dim=1, keepdim=True), torch.finfo(step.dtype).eps
            tilt = torch.where(length < precision ** (1 / 3), tilt - step, partly)
            if watched and length.max() < precision**0.5:
                break  # the length is squared with each: the next is 0
        _, inverse = mean_and_inverse((logits + tilt @ plane).softmax(1))
    mean = (logits + tilt @ plane).softmax(1) @ plane.T
    tilt = tilt - (inverse @ (mean - mean.detach())[:, :, None])[:, :, 0]
    return logits + tilt @ plane
