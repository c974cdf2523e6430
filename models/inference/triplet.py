"""One clean image → one low-resolution / kernel / noise triplet that adds up to the last bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.degradation import Degradation, Latents, evaluating
from models.fixed_point import kernels_on_grid, noise_on_grid
from models.inference.blur import KERNELS_AT_ONCE, blur
from models.inference.deterministic import plain_sums
from models.inference.noise_fields import FieldNoise
from models.jpeg import BLOCK
from models.networks.noise import within_range

# Low-resolution pixels that noise is drawn for at a time: on a CPU, what the layers of its network hold then fits into
# the cache, which makes it three times as fast; a GPU wants more at a time.
BAND_PIXELS = 8_192
BAND_PIXELS_ON_GPU = 2**20
# And that are rounded and compressed at a time: more, for there is little to a step, and with each a thread may have to
# wait for Python's lock.
STEP_PIXELS = 65_536
GROUP_BYTES = 128 * 2**20  # of blurred images and white noise at a time; larger images get fewer samples in a pass


@dataclass(frozen=True)
class Triplet:
    """`round(clip(kernel applied to the source + 255 · noise))` is `lr` exactly, in float32 too: fixed_point.py."""

    lr: NDArray[np.uint8]  # (h, w, 3)
    kernel: NDArray[np.float32]  # (K, K), sums to 1
    noise: NDArray[np.float32]  # broadcastable to (h, w, 3), 1 = full scale; of a whole image's, what is not clipped


@dataclass(frozen=True)
class Source:
    """A clean image, and which samples are wanted of it."""

    hr: NDArray[np.uint8]  # (H, W, 3)
    sha256: str  # what random numbers are drawn by
    samples: Sequence[int]


def degrade_image(
    degradation: Degradation, hr: NDArray[np.uint8], *, seed: int, source_sha256: str, sample: int
) -> Triplet:
    """The one triplet of `degrade_samples` for this sample."""
    (triplet,) = degrade_samples(degradation, hr, seed=seed, source_sha256=source_sha256, samples=[sample])
    return triplet


def degrade_samples(
    degradation: Degradation, hr: NDArray[np.uint8], *, seed: int, source_sha256: str, samples: Sequence[int]
) -> Iterator[Triplet]:
    """The triplets of `TripletMaker.make` for one image."""
    made = TripletMaker(degradation).make([Source(hr, source_sha256, samples)], seed=seed)
    return (triplet for _, _, triplet in made)


class TripletMaker:
    """A degradation arranged for making triplets. Some of its weights are taken over here: when they change, make
    another."""

    def __init__(self, degradation: Degradation):
        self.degradation = degradation
        # In float64 and on the CPU: the order of summation then changes far less than what the grid rounds, so that a
        # batch gives the kernels that each sample gets alone, and every device the same.
        self.kernel = deepcopy(degradation.kernel).double().cpu().eval()
        network = degradation.noise
        self.fields = FieldNoise(network) if network is not None and network.filters is not None else None

    def make(self, sources: Sequence[Source], *, seed: int) -> Iterator[tuple[int, int, Triplet]]:
        """Degrades each image (H, W, 3), to (H // s, W // s, 3), once for each of its samples.

        Gives (index of the source, sample, triplet), in their order. Small images share the drawing of kernels.

        A triplet depends on (seed, sha256, sample) alone, to the last bit, whichever others are asked for with it. An
        image is worked through in bands of rows, so that what is held beside it and the answer hardly grows with it.
        Raises ValueError for an image of another shape or type, and for one smaller than the scale.
        """
        sizes = [self._lr_size(source.hr) for source in sources]
        most = max((height * width for height, width in sizes), default=1)
        at_once = max(1, min(KERNELS_AT_ONCE, GROUP_BYTES // (24 * most)))
        wanted = [(number, sample) for number, source in enumerate(sources) for sample in source.samples]
        for first in range(0, len(wanted), at_once):
            some = wanted[first : first + at_once]
            drawn = [
                self.degradation.draw_latents(1, sizes[number], sample_generator(seed, sources[number].sha256, sample))
                for number, sample in some
            ]
            kernels = self._draw_kernels(drawn)  # (n, K, K)
            for number, its in groupby(zip(some, drawn, kernels, strict=True), key=lambda one: one[0][0]):
                names, its_drawn, its_kernels = zip(*its, strict=True)
                triplets = self._apply(sources[number].hr, torch.stack(its_kernels), its_drawn)
                for (_, sample), triplet in zip(names, triplets, strict=True):
                    yield number, sample, triplet

    def _lr_size(self, hr: NDArray[np.uint8]) -> tuple[int, int]:
        """(h, w). Raises ValueError for what cannot be degraded."""
        scale = self.degradation.config.scale
        if hr.ndim != 3 or hr.shape[2] != 3 or hr.dtype != np.uint8:
            raise ValueError(f"an image is (H, W, 3) uint8, not {hr.shape} {hr.dtype}")
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        if not (height and width):
            raise ValueError(
                f"an image of {hr.shape[1]}x{hr.shape[0]} pixels is smaller than one pixel at scale {scale}"
            )
        return height, width

    def _apply(self, hr: NDArray[np.uint8], kernels: Tensor, drawn: Sequence[Latents]) -> Iterator[Triplet]:
        """One triplet of an image for each of the kernels (n, K, K) and latents."""
        degradation, device = self.degradation, next(self.degradation.parameters()).device
        blurred = blur(hr, kernels, degradation.config.scale, degradation.kernel_origin, device)  # (n, 3, h, w), 0..255
        for latents, kernel, image in zip(drawn, kernels, blurred, strict=True):
            lr, noise = self._with_noise(latents.to(device), image[None])
            yield Triplet(lr, kernel.numpy(), noise)

    def _draw_kernels(self, drawn: Sequence[Latents]) -> Tensor:
        """The kernels (n, K, K) of n samples, on the grid."""
        with torch.inference_mode():
            return kernels_on_grid(self.kernel(torch.cat([latents.kernel for latents in drawn]).double()))

    def _with_noise(self, latents: Latents, blurred: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The low-resolution image (h, w, 3) and the noise in it, for a blurred image (1, 3, h, w) in 0..255."""
        degradation, config = self.degradation, self.degradation.config
        with torch.inference_mode(), evaluating(degradation), plain_sums():
            if self.fields is not None:
                noise = self.fields.draw(latents.noise, blurred, latents.white)
            else:
                noise = _noise_in_bands(degradation, latents, blurred)
            if config.jpeg_qualities:
                noise = _compressed_in_bands(degradation, latents, blurred, noise)
            of_each_pixel = noise.shape == blurred.shape
            kept = noise.new_empty(*noise.shape[2:], noise.shape[1])
            for rows in _bands(noise, STEP_PIXELS):
                part = noise[:, :, rows]
                if degradation.has_noise:
                    part.copy_(noise_on_grid(part))
                if of_each_pixel:
                    part.copy_(within_range(part, blurred[:, :, rows] / 255))
                kept[rows] = _rows_first(part)
            lr = torch.empty(*blurred.shape[2:], 3, dtype=torch.uint8, device=blurred.device)
            for rows in _bands(blurred, STEP_PIXELS):
                sum_ = blurred[:, :, rows].add(noise.expand_as(blurred)[:, :, rows], alpha=255)
                lr[rows] = _rows_first(sum_.clamp_(0, 255).round_().byte())
        return lr.cpu().numpy(), kept.cpu().numpy()


def sample_generator(seed: int, source_sha256: str, sample: int) -> torch.Generator:
    """The random numbers of one sample, drawn on the CPU so that they do not depend on the device."""
    digest = hashlib.sha256(f"{seed}/{source_sha256}/{sample}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _noise_in_bands(degradation: Degradation, latents: Latents, blurred: Tensor) -> Tensor:
    """Noise (1, 3 or 1, h or 1, w or 1), 1 being full scale, for one blurred image (1, 3, h, w) in 0..255.

    Not for noise that is made of fields. In bands of rows, each cut with the network's halo around it, so that they
    join as if drawn at once.
    """
    config, height = degradation.config.noise, blurred.shape[2]
    if config is None or not (config.spatial or config.mix):
        return degradation.draw_noise(latents, blurred[:, :, :1, :1] / 255)
    noise = blurred.new_empty(1, config.dim, *blurred.shape[2:])
    for rows in _bands(blurred, BAND_PIXELS, least=2 * config.halo):  # a halo is computed anew for each band
        cut = slice(max(0, rows.start - config.halo), min(height, rows.stop + config.halo))
        z = latents.noise[:, :, cut] if config.spatial else latents.noise
        part = degradation.draw_noise(latents._replace(noise=z), blurred[:, :, cut] / 255)
        noise[:, :, rows] = part[:, :, rows.start - cut.start : rows.stop - cut.start]
    return noise


def _compressed_in_bands(degradation: Degradation, latents: Latents, blurred: Tensor, noise: Tensor) -> Tensor:
    """`Degradation.compressed` for one blurred image (1, 3, h, w) in 0..255, in bands of whole blocks of JPEG.

    Each is cut with a block above and below, for across their borders colour is smoothed; so they join as if
    compressed at once.
    """
    noise, height = noise.expand_as(blurred), blurred.shape[2]
    compressed = torch.empty_like(blurred)
    for rows in _bands(blurred, STEP_PIXELS, multiple_of=BLOCK):
        cut = slice(max(0, rows.start - BLOCK), min(height, rows.stop + BLOCK))
        part = degradation.compressed(latents, blurred[:, :, cut] / 255, noise[:, :, cut])
        compressed[:, :, rows] = part[:, :, rows.start - cut.start : rows.stop - cut.start]
    return compressed


def _bands(image: Tensor, pixels: int, least: int = 1, multiple_of: int = 1) -> Iterator[slice]:
    """The rows of an image (1, C, h, w) that are worked on at a time: about so many pixels, on a GPU more.

    They are `least` rows at least, and but for the last a multiple of `multiple_of`.
    """
    height, width = image.shape[2:]
    pixels = BAND_PIXELS_ON_GPU if image.is_cuda else pixels
    step = max(least, multiple_of, pixels // width // multiple_of * multiple_of)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _rows_first(planes: Tensor) -> Tensor:
    """(1, C, h, w) → (h, w, C)."""
    return planes[0].permute(1, 2, 0)
