"""Degrades a clean image into low-resolution / kernel / noise triplets that add up to the last bit."""

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

from models.degradation import Degradation, Latents, eval_mode
from models.fixed_point import quantize_kernels, quantize_noise
from models.inference.blur import KERNEL_BATCH, blur
from models.inference.deterministic import deterministic_convs
from models.inference.noise_fields import Buffers, FilteredNoiseSampler
from models.networks.noise import clip_noise

# Low-resolution pixels whose noise is drawn at once. On a CPU the network's activations then fit into the cache, which
# makes it three times as fast. A GPU needs more.
BAND_PIXELS = 8_192
BAND_PIXELS_ON_GPU = 2**20
# Low-resolution pixels that are rounded and compressed at once. More, because each step is short, and after each a
# thread may have to wait for the interpreter lock.
STEP_PIXELS = 65_536
# Low-resolution pixels of the samples of one image to which noise is added at once.
GROUP_PIXELS, GROUP_PIXELS_ON_GPU = 2**19, 2**22
BATCH_BYTES = 128 * 2**20  # of blurred images and white noise at once; larger images get fewer samples a batch


@dataclass(frozen=True)
class Triplet:
    """One sample: `round(clip(kernel applied to the source + 255 · noise))` is exactly `lr`, also in float32.

    fixed_point.py says why.
    """

    lr: NDArray[np.uint8]  # (h, w, 3)
    kernel: NDArray[np.float32]  # (K, K), sums to 1
    noise: NDArray[np.float32]  # broadcastable to (h, w, 3), 1 = full scale; clipped if it has the image's size


@dataclass(frozen=True)
class SourceImage:
    """A clean image, and the numbers of the samples to draw from it."""

    hr: NDArray[np.uint8]  # (H, W, 3)
    seed_key: str  # seeds its random numbers, with the job's seed and the sample's number
    samples: Sequence[int]


def degrade_image(degradation: Degradation, hr: NDArray[np.uint8], *, seed: int, seed_key: str, sample: int) -> Triplet:
    """Returns the triplet of `degrade_samples` for this one sample."""
    (triplet,) = degrade_samples(degradation, hr, seed=seed, seed_key=seed_key, samples=[sample])
    return triplet


def degrade_samples(
    degradation: Degradation, hr: NDArray[np.uint8], *, seed: int, seed_key: str, samples: Sequence[int]
) -> Iterator[Triplet]:
    """Yields the triplets of `TripletSampler.sample` for one image hr (H, W, 3)."""
    triplets = TripletSampler(degradation).sample([SourceImage(hr, seed_key, samples)], seed=seed)
    return (triplet for _, _, triplet in triplets)


class TripletSampler:
    """Draws triplets from a degradation. It copies some weights: if they change, build another."""

    def __init__(self, degradation: Degradation):
        self.degradation = degradation
        # In float64 on the CPU: the order of summation then changes far less than fixed point rounds. So a batch gives
        # the kernels that each sample gets alone, on every device.
        self.kernel = deepcopy(degradation.kernel).double().cpu().eval()
        network = degradation.noise
        self.noise = FilteredNoiseSampler(network) if network is not None and network.filters is not None else None

    def sample(self, sources: Sequence[SourceImage], *, seed: int) -> Iterator[tuple[int, int, Triplet]]:
        """Degrades each source (H, W, 3) to (H // s, W // s, 3), once for each of its samples.

        Yields (index of the source, sample, triplet), in order. Small images share the drawing of kernels.

        A triplet depends on (seed, seed_key, sample) alone, to the last bit, and not on what else is requested. Images
        are processed in bands of rows, so memory beside input and output hardly grows with their size.
        Raises ValueError for an image of another shape or type, and for one smaller than the scale.
        """
        sizes = [self._lr_size(source.hr) for source in sources]
        largest = max((height * width for height, width in sizes), default=1)
        batch_size = max(1, min(KERNEL_BATCH, BATCH_BYTES // (24 * largest)))
        requests = [(index, sample) for index, source in enumerate(sources) for sample in source.samples]
        for first in range(0, len(requests), batch_size):
            batch = requests[first : first + batch_size]
            latents = [
                self.degradation.draw_latents(
                    1, sizes[index], generator_for_sample(seed, sources[index].seed_key, sample)
                )
                for index, sample in batch
            ]
            kernels = self._draw_kernels(latents)  # (n, K, K)
            for index, group in groupby(zip(batch, latents, kernels, strict=True), key=lambda entry: entry[0][0]):
                keys, group_latents, group_kernels = zip(*group, strict=True)
                triplets = self._apply(sources[index].hr, torch.stack(group_kernels), group_latents)
                for (_, sample), triplet in zip(keys, triplets, strict=True):
                    yield index, sample, triplet

    def _lr_size(self, hr: NDArray[np.uint8]) -> tuple[int, int]:
        """Returns (h, w) of the low-resolution image. Raises ValueError for an image that cannot be degraded."""
        scale = self.degradation.config.scale
        if hr.ndim != 3 or hr.shape[2] != 3 or hr.dtype != np.uint8:
            raise ValueError(f"an image is (H, W, 3) uint8, not {hr.shape} {hr.dtype}")
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        if not (height and width):
            raise ValueError(
                f"an image of {hr.shape[1]}x{hr.shape[0]} pixels is smaller than one pixel at scale {scale}"
            )
        return height, width

    def _draw_kernels(self, latents: Sequence[Latents]) -> Tensor:
        """Draws quantized kernels (n, K, K) for n samples."""
        with torch.inference_mode():
            return quantize_kernels(self.kernel(torch.cat([drawn.kernel for drawn in latents]).double()))

    def _apply(self, hr: NDArray[np.uint8], kernels: Tensor, latents: Sequence[Latents]) -> Iterator[Triplet]:
        """Yields a triplet of the image for each kernel of (n, K, K) and its latents."""
        degradation, device = self.degradation, next(self.degradation.parameters()).device
        blurred = blur(hr, kernels, degradation.config.scale, degradation.kernel_origin, device)  # (n, 3, h, w), 0..255
        group_pixels = GROUP_PIXELS_ON_GPU if blurred.is_cuda else GROUP_PIXELS
        group_size = max(1, group_pixels // blurred[0, 0].numel())
        for first in range(0, len(kernels), group_size):
            group = slice(first, first + group_size)
            images = self._add_noise(latents[group], blurred[group])
            for kernel, lr, noise in zip(kernels[group], *images, strict=True):
                yield Triplet(lr, kernel.numpy(), noise)

    def _add_noise(self, latents: Sequence[Latents], blurred: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Returns low-resolution images (n, h, w, 3) and their noise, for blurred images (n, 3, h, w) in 0..255.

        What treats each pixel alone runs for all at once: the interpreter then starts fewer, longer operations. The
        networks draw noise for one image after another, because other shapes may change the last bits.
        """
        degradation = self.degradation
        with torch.inference_mode(), eval_mode(degradation), deterministic_convs():
            buffers = self.noise.allocate(blurred) if self.noise is not None else None
            drawn = zip(_move(latents, blurred.device), blurred.split(1), strict=True)
            noises = [self._draw_noise(latent, image, buffers) for latent, image in drawn]
            noise = torch.cat(noises) if len(noises) > 1 else noises[0]
            varies = noise.shape == blurred.shape
            noise_hwc = noise.new_empty(len(noise), *noise.shape[2:], noise.shape[1])
            for rows in _row_bands(noise, STEP_PIXELS // len(noise)):
                part = noise[:, :, rows]
                if degradation.has_noise:
                    part.copy_(quantize_noise(part))
                if varies:
                    part.copy_(clip_noise(part, blurred[:, :, rows] / 255))
                noise_hwc[:, rows] = part.permute(0, 2, 3, 1)
            lr = torch.empty(len(blurred), *blurred.shape[2:], 3, dtype=torch.uint8, device=blurred.device)
            for rows in _row_bands(blurred, STEP_PIXELS // len(blurred)):
                noisy = blurred[:, :, rows].add(noise.expand_as(blurred)[:, :, rows], alpha=255)
                lr[:, rows] = noisy.clamp_(0, 255).round_().byte().permute(0, 2, 3, 1)
        return lr.cpu().numpy(), noise_hwc.cpu().numpy()

    def _draw_noise(self, latents: Latents, blurred: Tensor, buffers: Buffers | None) -> Tensor:
        """Draws the noise and JPEG residual of one blurred image (1, 3, h, w) in 0..255, 1 = full scale."""
        if self.noise is not None:
            noise = self.noise.draw(latents.noise, blurred, latents.white_noise, buffers)
        else:
            noise = _draw_noise_in_bands(self.degradation, latents, blurred)
        if self.degradation.compression.is_empty:
            return noise
        return _add_jpeg_residual_in_bands(self.degradation, latents, blurred, noise)


def generator_for_sample(seed: int, seed_key: str, sample: int) -> torch.Generator:
    """Returns the random generator of one sample. It is on the CPU, so the device makes no difference."""
    digest = hashlib.sha256(f"{seed}/{seed_key}/{sample}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _draw_noise_in_bands(degradation: Degradation, latents: Latents, blurred: Tensor) -> Tensor:
    """Draws noise (1, 3 or 1, h or 1, w or 1), 1 = full scale, for one blurred image (1, 3, h, w) in 0..255.

    Not for networks with filters. Each band of rows overlaps its neighbors by the network's receptive radius, so bands
    join as if drawn at once.
    """
    config, height = degradation.config.noise, blurred.shape[2]
    if config is None or not (config.spatial or config.condition_on_image):
        return degradation.draw_noise(latents, blurred[:, :, :1, :1] / 255)
    noise, radius = blurred.new_empty(1, config.dim, *blurred.shape[2:]), config.receptive_radius
    for rows in _row_bands(blurred, BAND_PIXELS, min_rows=2 * radius):  # the overlap is computed again for each band
        cut = slice(max(0, rows.start - radius), min(height, rows.stop + radius))
        z = latents.noise[:, :, cut] if config.spatial else latents.noise
        part = degradation.draw_noise(latents._replace(noise=z), blurred[:, :, cut] / 255)
        noise[:, :, rows] = part[:, :, rows.start - cut.start : rows.stop - cut.start]
    return noise


def _add_jpeg_residual_in_bands(degradation: Degradation, latents: Latents, blurred: Tensor, noise: Tensor) -> Tensor:
    """Adds the JPEG residual for one blurred image (1, 3, h, w) in 0..255, in bands of whole JPEG blocks.

    Each band includes a block above and below, because chroma is smoothed across borders. So bands join as if
    compressed at once.
    """
    noise, height = noise.expand_as(blurred), blurred.shape[2]
    compressed = torch.empty_like(blurred)
    block_rows = degradation.compression.band_rows
    for rows in _row_bands(blurred, STEP_PIXELS, multiple_of=block_rows):
        cut = slice(max(0, rows.start - block_rows), min(height, rows.stop + block_rows))
        part = degradation.add_jpeg_residual(latents, blurred[:, :, cut] / 255, noise[:, :, cut])
        compressed[:, :, rows] = part[:, :, rows.start - cut.start : rows.stop - cut.start]
    return compressed


def _row_bands(image: Tensor, pixels: int, min_rows: int = 1, multiple_of: int = 1) -> Iterator[slice]:
    """Yields bands of rows of an image (1, C, h, w), of about `pixels` pixels on a CPU and more on a GPU.

    A band has `min_rows` rows or more. All but the last have a multiple of `multiple_of` rows.
    """
    height, width = image.shape[2:]
    pixels = BAND_PIXELS_ON_GPU if image.is_cuda else pixels
    step = max(min_rows, multiple_of, pixels // width // multiple_of * multiple_of)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _move(latents: Sequence[Latents], device: torch.device) -> list[Latents]:
    """Moves the latents of several images to a device, in one transfer of each kind."""
    if device.type == "cpu":
        return list(latents)
    moved = Latents(*(torch.cat(parts) for parts in zip(*latents, strict=True))).to(device)
    return [Latents(*parts) for parts in zip(*(part.split(1) for part in moved), strict=True)]
