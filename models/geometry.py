"""Applying a kernel: blur and take every s-th point, at the house's geometry.

A kernel k with origin (top, left) means, with the image reflected at its border,

    lr[i, j] = sum over u, v of k[u, v] · hr[s·i + u + top, s·j + v + left]
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

IMAGES_AT_ONCE = 4


def centred_size(scale: int) -> int:
    """Taps a side of a window that lies centred on the sampled point: even or odd, as the scale is."""
    return 20 + scale


def centred_origin(size: int, scale: int) -> int:
    """First tap's offset for which a window of `size` taps lies centred on the sampled point, s·i + (s−1)/2.

    Half a pixel before that point where size and scale are not both even or both odd.
    """
    return -((size - scale) // 2)


def published_origin(size: int) -> int:
    """First tap's offset in the published code, whose window is centred on pixel s·i."""
    return -(size // 2)


def reflected(start: int, count: int, length: int, device: torch.device | None = None) -> Tensor:
    """Indices start .. start + count − 1 into an axis of `length`, reflected at both ends as often as it takes.

    The same as padding by numpy's mode="reflect": the border pixel is not repeated; an axis of one pixel is constant.
    """
    index = torch.arange(start, start + count, device=device)
    if length == 1:
        return torch.zeros_like(index)
    period = 2 * (length - 1)
    index = index % period
    return torch.minimum(index, period - index)


def apply_kernel(hr: Tensor, kernel: Tensor, scale: int, origin: tuple[int, int]) -> Tensor:
    """hr (B, C, H, W), kernel (B, K, K) → (B, C, H // scale, W // scale); one kernel for all channels of an image."""
    (top, left), taps = origin, kernel.shape[-1]
    rows = reflected(top, scale * (hr.shape[2] // scale - 1) + taps, hr.shape[2], hr.device)
    cols = reflected(left, scale * (hr.shape[3] // scale - 1) + taps, hr.shape[3], hr.device)
    # A few images at a time: what is laid around them, and copied by the convolution, is small and in the cache then.
    some = zip(torch.split(hr, IMAGES_AT_ONCE), torch.split(kernel, IMAGES_AT_ONCE), strict=True)
    return torch.cat([sample_window(images[:, :, rows][:, :, :, cols], kernels, scale) for images, kernels in some])


def sample_window(window: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """window (B, C, s·(h−1)+K, s·(w−1)+K), kernel (B, K, K) → (B, C, h, w): no padding, the first tap on the corner."""
    sampled: Tensor = _SampleWindow.apply(window, kernel, scale)  # type: ignore[no-untyped-call]
    return sampled


class _SampleWindow(torch.autograd.Function):
    """One strided convolution, each channel of each image a group of its own, so that kernels may differ.

    The kernel's gradient is a convolution of the window with the output's gradient, spread out by the stride. Written
    so, it takes a fourteenth of the time of the library's own on a CPU. The window itself is data and gets none.
    """

    @staticmethod
    def forward(ctx: Any, window: Tensor, kernel: Tensor, scale: int) -> Tensor:
        batch, channels = window.shape[:2]
        ctx.save_for_backward(window)
        ctx.scale = scale
        weight = kernel.repeat_interleave(channels, 0)[:, None]  # (B·C, 1, K, K)
        lr = functional.conv2d(window.flatten(0, 1)[None], weight, stride=scale, groups=batch * channels)
        return lr.view(batch, channels, *lr.shape[2:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        (window,), (gradient,) = ctx.saved_tensors, gradients
        batch, channels = window.shape[:2]
        spread = gradient.flatten(0, 1)[:, None].contiguous()  # (B·C, 1, h, w)
        weight = functional.conv2d(window.flatten(0, 1)[None], spread, dilation=ctx.scale, groups=batch * channels)
        return None, weight.view(batch, channels, *weight.shape[2:]).sum(1), None
