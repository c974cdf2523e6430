"""The kernel network: z_k gives a blur kernel.

Section 3.2 of "Learning the Degradation Distribution for Blind Image Super-Resolution", CVPR 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

EPS = 1e-12  # weight of a tap below which its logarithm is ignored
ELONGATION_SCALE = 0.12  # elongation that gets half of the penalty: one axis an eighth longer than the other
MAX_SIGMA_FRACTION = 1 / 4  # largest sigma of a Gaussian, as a fraction of the window's side
MAX_EXPONENT = 8.0  # of a Gaussian's precision relative to the first one; above, it is a single point anyway
NEWTON_STEPS = 24
# Of a kernel's negative taps. The positive ones then sum to less than 2, which keeps sums of pixels below 2⁹, where
# float32 holds multiples of 2⁻¹⁵ exactly (models/fixed_point.py).
MAX_NEGATIVE_MASS = 0.95
LINE_SEARCH_STEPS = (1.0, 0.3, 0.1, 0.01, 0.0001)  # fractions of a Newton step


@dataclass(frozen=True)
class KernelConfig:
    """The kernel network's shape. The defaults are those of the preset `seed`.

    Raises ValueError for a parametric ellipse without `initial_sigma`.
    """

    z: int = 3  # channels of z_k
    width: int = 64
    blocks: int = 8
    size: int = 21  # taps a side
    batch_norm: bool = True
    # None of what follows is in the paper. Sigma, in high-resolution pixels, of the Gaussian that an untrained network
    # returns. None: as published, one logit is 1 and all others 0, which after the softmax is nearly a box.
    initial_sigma: float | None = None
    # Sigma, in high-resolution pixels, of a Gaussian filter on the logits. Detail finer than a low-resolution pixel
    # hardly shows in photos. Without the filter, kernels may become a few separate points.
    smoothing: float = 0.0
    # Three outputs set a Gaussian's sigma, elongation and direction (`gaussian_logits`). The logits of all taps add to
    # it. Without them, a narrower kernel needs hundreds of outputs to agree.
    parametric_ellipse: bool = False
    # Amount and radius, in high-resolution pixels, of an unsharp mask, as cameras sharpen (`sharpen_kernels`).
    # Amount 0: no sharpening, and no tap is negative.
    sharpening_amount: float = 0.0
    sharpening_radius: float = 1.0
    # Divides the logits of all taps. Above 1, kernels are wider: of a Gaussian, by the root.
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.parametric_ellipse and self.initial_sigma is None:
            raise ValueError("parametric_ellipse needs initial_sigma")


class ResidualBlock(nn.Module):
    """Adds the output of two 1×1 convolutions to their input."""

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

    `center`, in taps from the window's first, is where every kernel's center of mass is held, in both directions.
    None leaves it free, as published.
    """

    def __init__(self, config: KernelConfig, center: float | None = None):
        super().__init__()
        self.config = config
        self.center = center
        self.body = nn.Sequential(
            nn.Conv2d(config.z, config.width, 1),
            nn.BatchNorm2d(config.width) if config.batch_norm else nn.Identity(),
            nn.ReLU(inplace=True),
            *(ResidualBlock(config.width, config.batch_norm) for _ in range(config.blocks)),
        )
        self.head = nn.Conv2d(config.width, config.size**2, 1)
        self.ellipse = nn.Conv2d(config.width, 3, 1) if config.parametric_ellipse else None
        if config.smoothing:
            self.register_buffer("smoothing", _gaussian_matrix(config.size, config.smoothing), persistent=False)
        self._init_weights()

    def _init_weights(self) -> None:
        with torch.no_grad():
            self.head.bias.zero_()  # type: ignore[union-attr]
            if self.ellipse is not None:
                self.ellipse.bias.zero_()  # type: ignore[union-attr]
            elif self.config.initial_sigma is not None:
                self.head.bias.copy_(self._gaussian_logits(torch.zeros(1, 3))[0])  # type: ignore[union-attr]
            else:
                self.head.weight.zero_()
                self.head.bias[self.config.size**2 // 2] = 1  # type: ignore[index]

    def forward(self, z: Tensor) -> Tensor:
        """Returns kernels (B, K, K), each of sum 1, for z (B, z, 1, 1). Without sharpening, no tap is negative."""
        features = self.body(z)  # (B, width, 1, 1)
        logits: Tensor = self.head(features).flatten(1)  # (B, K²)
        if self.config.smoothing:
            smoothing = self.get_buffer("smoothing")  # (K, K)
            logits = (smoothing @ logits.view(-1, *smoothing.shape) @ smoothing.T).flatten(1)
        if self.ellipse is not None:
            logits = logits + self._gaussian_logits(self.ellipse(features).flatten(1))  # (B, 3) -> (B, K²)
        if self.config.temperature != 1:
            logits = logits / self.config.temperature
        if self.center is not None:
            logits = center_logits(logits, self.config.size, self.center)
        kernel = logits.softmax(1).view(-1, self.config.size, self.config.size)  # (B, K, K)
        if not self.config.sharpening_amount:
            return kernel
        return sharpen_kernels(kernel, self.config.sharpening_amount, self.config.sharpening_radius)

    def _gaussian_logits(self, shape: Tensor) -> Tensor:
        size, sigma = self.config.size, self.config.initial_sigma
        assert sigma is not None
        return gaussian_logits(shape, size, size // 2 if self.center is None else self.center, sigma)


def sharpen_kernels(kernel: Tensor, amount: float, radius: float) -> Tensor:
    """Applies an unsharp mask to non-negative kernels (B, K, K) of sum 1. The radius is in taps.

    The mask subtracts a blurred image: (1 + a)·k − a·b. As b, k blurred by a Gaussian, this takes the Gaussian that has
    its center of mass and its covariance. The sum remains 1, and the center of mass stays where k has it, if that is
    the window's center. Kernels whose negative taps would sum to more than MAX_NEGATIVE_MASS are sharpened less.
    """
    size = kernel.shape[-1]
    center, yy, xx, yx = compute_moments(kernel)
    yy, xx = yy + radius**2, xx + radius**2
    offset = torch.arange(size, device=kernel.device, dtype=kernel.dtype)
    y, x = (offset - center[:, :1])[:, :, None], (offset - center[:, 1:])[:, None]  # (B, K, 1), (B, 1, K)
    yy, xx, yx = (moment[:, None, None] for moment in (yy, xx, yx))
    logits = -0.5 * (xx * y**2 - 2 * yx * (y * x) + yy * x**2) / (yy * xx - yx**2)
    blurred = logits.flatten(1).softmax(1).view_as(kernel)
    change = amount * (kernel - blurred)
    negative = (-(kernel + change)).clamp_min(0).sum((1, 2), keepdim=True)
    return kernel + change * (MAX_NEGATIVE_MASS / negative.clamp_min(MAX_NEGATIVE_MASS))


def clear_negative_taps(kernel: Tensor) -> Tensor:
    """Returns the non-negative part of kernels (B, K, K), each of sum 1.

    The second moments of a sharpened kernel may be negative. Those of this part are about those of the non-negative
    kernel that fits photos best.
    """
    positive = kernel.clamp_min(0)
    return positive / positive.sum((1, 2), keepdim=True)


def gaussian_logits(shape: Tensor, size: int, center: float, sigma: float) -> Tensor:
    """Returns logits (B, size²) of Gaussians around (center, center), in taps, for `shape` (B, 3) = (n, e, d).

    The precision matrix is P_min + (sigma⁻² − P_min) · exp([[n + e, d], [d, n − e]]), rows being x and y. P_min belongs
    to the widest Gaussian that the window holds, whose sigma is a quarter of its side. So (0, 0, 0) is round with
    `sigma`; n narrows; (e, d) elongates by its length and rotates by half of its angle. Any three numbers give a
    Gaussian that fits the window.
    """
    n, e, d = shape.unbind(1)
    length = (e**2 + d**2 + 1e-6).sqrt()
    larger, smaller = _limited_exp(n + length), _limited_exp(n - length)  # eigenvalues of the matrix exponential
    mean, slope = (larger + smaller) / 2, (larger - smaller) / (2 * length)
    minimum = (MAX_SIGMA_FRACTION * size) ** -2
    start = sigma**-2 - minimum
    xx, yy, xy = minimum + start * (mean + e * slope), minimum + start * (mean - e * slope), start * d * slope
    y, x = _offsets(center, size, shape)
    return -0.5 * (xx[:, None] * x**2 + 2 * xy[:, None] * (x * y) + yy[:, None] * y**2)


def _limited_exp(exponent: Tensor) -> Tensor:
    """Returns the exponential, which grows slowly above MAX_EXPONENT: photos without any blur ask for infinity."""
    excess = (exponent - MAX_EXPONENT).clamp_min(0)
    return (exponent - 0.99 * excess).exp()


def _offsets(center: float, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the vertical and horizontal offset of each tap of a window from (center, center), (size²,) each."""
    offset = torch.arange(size, device=like.device, dtype=like.dtype) - center
    return offset.repeat_interleave(size), offset.repeat(size)


def _gaussian_matrix(size: int, sigma: float) -> Tensor:
    """Returns (size, size). A product with it filters each column by a Gaussian, with replicate padding."""
    radius = math.ceil(3 * sigma)
    offset = torch.arange(-radius, radius + 1)
    weight = (-0.5 * (offset / sigma) ** 2).exp()
    column = (torch.arange(size)[:, None] + offset).clamp(0, size - 1)  # (size, taps)
    return torch.zeros(size, size).scatter_add(1, column, (weight / weight.sum()).expand(size, -1))


def log_concavity_penalty(kernel: Tensor) -> Tensor:
    """Measures how far kernels (B, K, K) are from log-concave. It is 0 for log-concave ones.

    Gaussians, ellipses, disks and motion streaks are log-concave. Kernels with several lumps or long tails are not.
    The penalty is the positive second difference of the logarithm, averaged over taps and directions.
    """
    log, significant = kernel.clamp_min(EPS).log(), kernel > EPS
    size, total = kernel.shape[-1], kernel.new_zeros(())
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for distance in (1, 2, 4):
            y, x = distance * down, distance * abs(right)
            rows = slice(0, size - 2 * y), slice(y, size - y), slice(2 * y, size)
            cols = slice(0, size - 2 * x), slice(x, size - x), slice(2 * x, size)
            if right < 0:
                cols = cols[::-1]
            ends, middle = [log[:, rows[i], cols[i]] for i in (0, 2)], log[:, rows[1], cols[1]]
            both_ends = significant[:, rows[0], cols[0]] & significant[:, rows[2], cols[2]]
            total = total + ((ends[0] + ends[1] - 2 * middle) * both_ends).clamp_min(0).mean()
    return total / 12


def compute_moments(kernel: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns (center of mass, vertical variance, horizontal variance, covariance) of kernels (B, K, K).

    The center of mass (B, 2) is (y, x) in taps from the window's first. The others, (B,) each, are in taps².
    """
    offset = torch.arange(kernel.shape[-1], device=kernel.device, dtype=kernel.dtype)
    rows, cols = kernel.sum(2), kernel.sum(1)
    y, x = rows @ offset, cols @ offset
    off_y, off_x = offset - y[:, None], offset - x[:, None]
    yy, xx = (rows * off_y**2).sum(1), (cols * off_x**2).sum(1)
    yx = torch.einsum("buv,bu,bv->b", kernel, off_y, off_x)
    return torch.stack([y, x], 1), yy, xx, yx


def elongation_penalty(kernel: Tensor) -> Tensor:
    """Returns about the fraction of kernels (B, K, K) that are not round.

    It is the mean of e² / (e² + ELONGATION_SCALE²) with e = (a² − b²) / (a² + b²) for the sigmas a and b of the axes.
    It pulls slight elongations to 0 and hardly touches long kernels.
    """
    _, yy, xx, yx = compute_moments(clear_negative_taps(kernel))
    squared = ((xx - yy) ** 2 + 4 * yx**2) / ((xx + yy) ** 2).clamp_min(1e-6)  # e²; a single tap has 0
    return (squared / (squared + ELONGATION_SCALE**2)).mean()


def center_logits(logits: Tensor, size: int, center: float) -> Tensor:
    """Moves the center of mass of softmax(logits) to (center, center), in taps, for logits (B, size²).

    Unpaired photos do not fix a kernel's position, and a kernel that drifts shifts every training pair.

    It adds a plane t·(y, x) to the logits. Of all kernels with that center of mass, the result is nearest to the input
    in relative entropy. t minimizes a convex function, so it exists and is unique.

    Gradients flow through t. At the minimum a Newton step is 0, but its derivative with respect to the logits is that
    of the implicit function theorem. So the search runs without gradients, and one last step carries them.
    """
    y, x = _offsets(center, size, logits)
    plane = torch.stack([y, x])  # (2, size²)
    products = torch.stack([y * y, y * x, x * x])  # (3, size²)
    ridge = 1e-6  # in taps²; keeps the step finite for a kernel that is almost a line or a point
    may_stop = logits.device.type == "cpu" and not torch.compiler.is_exporting()  # on a GPU it would synchronize

    def mean_and_inverse(weight: Tensor) -> tuple[Tensor, Tensor]:
        mean, second = weight @ plane.T, weight @ products.T  # (B, 2), (B, 3)
        yy = second[:, 0] - mean[:, 0] ** 2 + ridge
        yx = second[:, 1] - mean[:, 0] * mean[:, 1]
        xx = second[:, 2] - mean[:, 1] ** 2 + ridge
        adjugate = torch.stack([xx, -yx, -yx, yy], 1).view(-1, 2, 2)
        return mean, adjugate / (yy * xx - yx**2).clamp_min(ridge**2)[:, None, None]

    with torch.no_grad():
        t = torch.zeros(len(logits), 2, device=logits.device, dtype=logits.dtype)
        for _ in range(NEWTON_STEPS):
            mean, inverse = mean_and_inverse((logits + t @ plane).softmax(1))
            step = (inverse @ mean[:, :, None])[:, :, 0]
            # A full step overshoots where a kernel is far off or has several lumps, so a line search shortens it.
            # Near the minimum full steps converge, and rounding would hide which fraction is best.
            tries = torch.stack([t - fraction * step for fraction in LINE_SEARCH_STEPS])  # (fractions, B, 2)
            lowest = (logits + tries @ plane).logsumexp(2).argmin(0)
            searched = tries[lowest, torch.arange(len(t), device=t.device)]
            length, precision = step.norm(dim=1, keepdim=True), torch.finfo(step.dtype).eps
            t = torch.where(length < precision ** (1 / 3), t - step, searched)
            if may_stop and length.max() < precision**0.5:
                break  # convergence is quadratic: the next step is 0
        _, inverse = mean_and_inverse((logits + t @ plane).softmax(1))
    mean = (logits + t @ plane).softmax(1) @ plane.T
    t = t - (inverse @ (mean - mean.detach())[:, :, None])[:, :, 0]
    return logits + t @ plane
