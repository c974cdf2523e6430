"""One clean image → one low-resolution / kernel / noise triplet that adds up to the last bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.degradation import Degradation, Latents
from models.sampling import reflected

BAND_PIXELS = 32_768  # low-resolution pixels that are worked on at a time; bounds the memory
# One pass over an image serves so many kernels in the time of one: they fill the vector registers of a CPU. It always
# does, unused ones being 0, so that a kernel's sums do not depend on its company.
KERNELS_AT_ONCE = 16
BLURRED_BYTES = 64 * 2**20  # of blurred images at most; larger images get fewer kernels a pass


@dataclass(frozen=True)
class Triplet:
    """`round(clip(kernel applied to the source + 255 · noise))`, by direct summation, is exactly `lr`."""

    lr: NDArray[np.uint8]  # (h, w, 3)
    kernel: NDArray[np.float32]  # (K, K), sums to 1
    noise: NDArray[np.float32]  # broadcastable to (h, w, 3), 1 = full scale


def degrade_image(
    degradation: Degradation, hr: NDArray[np.uint8], *, seed: int, source_sha256: str, sample: int
) -> Triplet:
    """The one triplet of `degrade_samples` for this sample."""
    (triplet,) = degrade_samples(degradation, hr, seed=seed, source_sha256=source_sha256, samples=[sample])
    return triplet


def degrade_samples(
    degradation: Degradation, hr: NDArray[np.uint8], *, seed: int, source_sha256: str, samples: Sequence[int]
) -> Iterator[Triplet]:
    """Degrades hr (H, W, 3), to (H // s, W // s, 3), once for each of `samples`.

    A triplet depends on (seed, source_sha256, sample) alone, to the last bit, whichever others are asked for with it.
    The image is worked through in bands of rows, so that what is held beside it and the answer hardly grows with it.
    Raises ValueError for an image of another shape or type, and for one smaller than the scale.
    """
    scale = degradation.config.scale
    if hr.ndim != 3 or hr.shape[2] != 3 or hr.dtype != np.uint8:
        raise ValueError(f"an image is (H, W, 3) uint8, not {hr.shape} {hr.dtype}")
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    if not (height and width):
        raise ValueError(f"an image of {hr.shape[1]}x{hr.shape[0]} pixels is smaller than one pixel at scale {scale}")

    device = next(degradation.parameters()).device
    rows = max(1, BAND_PIXELS // width)
    bands = [slice(first, min(first + rows, height)) for first in range(0, height, rows)]
    view = View(hr, degradation.config.kernel.size, scale, degradation.kernel_origin)
    at_once = max(1, min(KERNELS_AT_ONCE, BLURRED_BYTES // (12 * height * width)))
    for first in range(0, len(samples), at_once):
        some = samples[first : first + at_once]
        # On a GPU, convolutions are otherwise rounded to ten bits.
        with torch.inference_mode(), evaluating(degradation), torch.backends.cudnn.flags(allow_tf32=False):
            drawn = [
                degradation.draw_latents(1, (height, width), sample_generator(seed, source_sha256, sample))
                for sample in some
            ]
            # One at a time: a batch would be summed in another order.
            kernels = [normalised(degradation.kernel(latents.kernel.to(device))[0]) for latents in drawn]
            blurred = torch.cat([view.blur(band, kernels, device) for band in bands], 2)  # (n, 3, h, w) in 0..255
        for latents, kernel, image in zip(drawn, kernels, blurred, strict=True):
            with torch.inference_mode(), evaluating(degradation), torch.backends.cudnn.flags(allow_tf32=False):
                noise = draw_noise(degradation, latents, image[None] / 255, bands)  # (1, 3 or 1, h or 1, w or 1)
                noise = degradation.compressed(latents.to(device), image[None] / 255, noise)
            pixels = image.permute(1, 2, 0).cpu().numpy()
            noise_pixels = noise[0].permute(1, 2, 0).contiguous().cpu().numpy()
            lr = np.empty((height, width, 3), np.uint8)
            for band in bands:
                added = np.broadcast_to(noise_pixels, lr.shape)[band].astype(np.float64) * 255
                lr[band] = view.round(band, kernel, pixels[band], added)
            yield Triplet(lr, kernel, noise_pixels)


def sample_generator(seed: int, source_sha256: str, sample: int) -> torch.Generator:
    """The random numbers of one sample, drawn on the CPU so that they do not depend on the device."""
    digest = hashlib.sha256(f"{seed}/{source_sha256}/{sample}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Inside, BatchNorm uses what it has learned rather than the batch."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def normalised(kernel: Tensor) -> NDArray[np.float32]:
    """float32's softmax sums to 1 within 1e-6; rounding float64's quotient is nearer."""
    weight = kernel.double().cpu().numpy()
    return np.asarray(weight / weight.sum(), np.float32)


def draw_noise(degradation: Degradation, latents: Latents, blurred: Tensor, bands: list[slice]) -> Tensor:
    """Noise (1, 3 or 1, h or 1, w or 1) for one blurred image (1, 3, h, w) in [0, 1].

    Each band is cut with the network's halo around it, so that the bands join as if drawn at once.
    """
    config, height = degradation.config.noise, blurred.shape[2]
    if config is None or not (config.spatial or config.mix):
        return degradation.draw_noise(latents.to(blurred.device), blurred[:, :, :1, :1])
    parts = []
    for band in bands:
        cut = slice(max(0, band.start - config.halo), min(height, band.stop + config.halo))
        z = latents.noise[:, :, cut] if config.spatial else latents.noise
        white = latents.white[:, :, cut.start : cut.stop + 2 * config.margin]
        some = latents._replace(noise=z, white=white).to(blurred.device)
        part = degradation.draw_noise(some, blurred[:, :, cut])
        parts.append(part[:, :, band.start - cut.start : band.stop - cut.start])
    return torch.cat(parts, 2)


class View:
    """An image (H, W, 3) as seen through kernels: what each low-resolution pixel is the sum of."""

    def __init__(self, hr: NDArray[np.uint8], taps: int, scale: int, origin: tuple[int, int]):
        self.hr, self.taps, self.scale = hr, taps, scale
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        # Where pixel (i, j)'s taps start in these, s·i and s·j, lie the rows and columns of its first tap.
        self.rows = reflected(origin[0], scale * (height - 1) + taps, hr.shape[0]).numpy()
        self.cols = reflected(origin[1], scale * (width - 1) + taps, hr.shape[1]).numpy()

    def blur(self, band: slice, kernels: list[NDArray[np.float32]], device: torch.device) -> Tensor:
        """Rows of the low-resolution image under each kernel, (n, 3, rows, w) float32 in 0..255, on `device`."""
        rows = self.rows[self.scale * band.start : self.scale * (band.stop - 1) + self.taps]
        window = torch.from_numpy(self.hr[rows][:, self.cols]).to(device).permute(2, 0, 1)[:, None].float()
        weight = torch.zeros(KERNELS_AT_ONCE, 1, self.taps, self.taps)
        weight[: len(kernels), 0] = torch.from_numpy(np.stack(kernels))
        blurred = functional.conv2d(window, weight.to(device), stride=self.scale)  # (3, KERNELS_AT_ONCE, rows, w)
        return blurred[:, : len(kernels)].transpose(0, 1)

    def round(
        self, band: slice, kernel: NDArray[np.float32], blurred: NDArray[np.float32], added: NDArray[np.float64]
    ) -> NDArray[np.uint8]:
        """The band's 8-bit pixels (rows, w, 3) = round(clip(kernel applied in float64 + added)).

        `blurred` is the same sum in float32. Only where its error could change how a pixel rounds is it summed anew.
        """
        value = blurred + added
        # A float32 sum of n products of non-negative numbers that adds up to at most 255 is off by at most n·u·255.
        error = 255 * (self.taps**2 + 2) * 2.0**-24
        doubtful = np.abs(value - np.floor(value) - 0.5) <= error
        y, x, channel = np.nonzero(doubtful)
        window = np.arange(self.taps)
        for some in np.array_split(np.arange(len(y)), 1 + len(y) // 2048):
            rows = self.rows[self.scale * (y[some] + band.start)[:, None] + window]  # (n, K)
            cols = self.cols[self.scale * x[some][:, None] + window]
            seen = self.hr[rows[:, :, None], cols[:, None, :], channel[some][:, None, None]]  # (n, K, K)
            exact = np.einsum("nuv,uv->n", seen.astype(np.float64), kernel.astype(np.float64))
            value[y[some], x[some], channel[some]] = exact + added[y[some], x[some], channel[some]]
        return np.clip(value, 0, 255).round().astype(np.uint8)
