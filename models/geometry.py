"""Applies a kernel: blurs an image and takes every s-th point (section 3.1 of the paper, at our sampling points).

A kernel k with origin (top, left) means, with the image reflected at its border,

    lr[i, j] = sum over u, v of k[u, v] · hr[s·i + u + top, s·j + v + left]
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SCALES = (1, 2, 3, 4, 8)  # at scale 1 an image keeps its size
CHUNK = 4  # images whose padded copy fits into a CPU's cache


def check_scale(scale: int) -> None:
    """Raises ValueError unless the scale is one of SCALES."""
    if scale not in SCALES:
        *others, last = SCALES
        raise ValueError(f"scale is {', '.join(map(str, others))} or {last}, not {scale}")


def centered_kernel_size(scale: int) -> int:
    """Returns the taps a side of a window centered on the sampled point: even if the scale is, odd if it is.

    A quarter of it, the largest sigma that it holds, is 1.5 low-resolution pixels or more at every scale.
    """
    return max(20, 5 * scale) + scale


def centered_origin(size: int, scale: int) -> int:
    """Returns the first tap's offset for a window of `size` taps centered on the sampled point, s·i + (s−1)/2.

    If only one of size and scale is even, the window's center lies half a pixel before that point.
    """
    return -((size - scale) // 2)


def paper_origin(size: int) -> int:
    """Returns the first tap's offset in the paper's code, whose window is centered on pixel s·i."""
    return -(size // 2)


def reflect_indices(start: int, count: int, length: int, device: torch.device | None = None) -> Tensor:
    """Returns indices start .. start + count − 1 into an axis of `length`, reflected at both ends as often as needed.

    Same as numpy's mode="reflect": the border pixel is not repeated, and an axis of one pixel is constant.
    """
    index = torch.arange(start, start + count, device=device)
    if length == 1:
        return torch.zeros_like(index)
    period = 2 * (length - 1)
    index = index % period
    return torch.minimum(index, period - index)


def apply_kernel(hr: Tensor, kernel: Tensor, scale: int, origin: tuple[int, int]) -> Tensor:
    """Applies kernel (B, K, K) to hr (B, C, H, W), reflected at its border; all channels of an image share a kernel.

    Returns (B, C, H // scale, W // scale).
    """
    (top, left), taps = origin, kernel.shape[-1]
    rows = reflect_indices(top, scale * (hr.shape[2] // scale - 1) + taps, hr.shape[2], hr.device)
    cols = reflect_indices(left, scale * (hr.shape[3] // scale - 1) + taps, hr.shape[3], hr.device)
    chunks = zip(torch.split(hr, CHUNK), torch.split(kernel, CHUNK), strict=True)
    return torch.cat([conv_strided(images[:, :, rows][:, :, :, cols], kernels, scale) for images, kernels in chunks])


def conv_strided(window: Tensor, kernel: Tensor, scale: int) -> Tensor:
    """Applies kernel (B, K, K) to window (B, C, s·(h−1)+K, s·(w−1)+K) without padding, with stride s.

    Returns (B, C, h, w). Gradients flow to the kernel only.
    """
    sampled: Tensor = _ConvStrided.apply(window, kernel, scale)  # type: ignore[no-untyped-call]
    return sampled


class _ConvStrided(torch.autograd.Function):
    """One strided convolution with a group for each channel of each image, so that kernels may differ.

    The kernel's gradient is a convolution of the window with the output's gradient, dilated by the stride. On a CPU
    this takes a fourteenth of the time of torch's own gradient. The window is data and gets none.
    """

    @staticmethod
    def forward(ctx: Any, window: Tensor, kernel: Tensor, scale: int) -> Tensor:
        batch, channels = window.shape[:2]
        ctx.save_for_backward(window)
        ctx.scale = scale
        weight = kernel.repeat_interleave(channels, 0)[:, None]  # (B·C, 1, K, K)
        lr = functional.conv2d(window.flatten(0, 1)[None], weight, stride=scale, groups=batch * channels)
        return lr.view(batch, channels, *lr.shape[2:])  # (B, C, h, w)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        (window,), (gradient,) = ctx.saved_tensors, gradients
        batch, channels = window.shape[:2]
        filters = gradient.flatten(0, 1)[:, None].contiguous()  # (B·C, 1, h, w)
        weight = functional.conv2d(window.flatten(0, 1)[None], filters, dilation=ctx.scale, groups=batch * channels)
        return None, weight.view(batch, channels, *weight.shape[2:]).sum(1), None  # (B, K, K)
