"""The degradation: a high-resolution image becomes a low-resolution one, through a kernel and noise.

Section 3.1 of "Learning the Degradation Distribution for Blind Image Super-Resolution", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.compression import Compression, CompressionBank, standard_compression
from models.fixed_point import quantize_kernels, quantize_noise
from models.geometry import apply_kernel, centered_origin, check_scale, conv_strided, paper_origin
from models.losses import quantize_ste
from models.networks.kernel import KernelConfig, KernelNetwork
from models.networks.noise import NoiseConfig, NoiseNetwork, clip_noise


@dataclass(frozen=True)
class DegradationConfig:
    """Scale, networks and compression. The defaults are those of the preset `seed`.

    Raises ValueError for a scale that is not one of SCALES, and for a kernel smaller than the scale.
    """

    scale: int = 4
    kernel: KernelConfig = field(default_factory=KernelConfig)
    noise: NoiseConfig | None = field(default_factory=NoiseConfig)
    # True: every kernel's center of mass is held at the sampled point, s·i + (s−1)/2, by construction.
    # False: as published, the window is centered on pixel s·i and the kernel may drift in it.
    center_kernels: bool = False
    jpeg_qualities: tuple[int, ...] = ()  # of an earlier version's model, as its compressions; 100 is none
    # Not in the paper. Compressions of the real photos, one drawn for each image. Empty: none. What compression changes
    # counts as noise.
    compressions: tuple[Compression, ...] = ()

    def __post_init__(self) -> None:
        check_scale(self.scale)
        if self.kernel.size < self.scale:
            raise ValueError(f"a kernel of {self.kernel.size} taps is smaller than scale {self.scale}")

    @property
    def bank(self) -> tuple[Compression, ...]:
        """The compressions to draw from."""
        return self.compressions or tuple(standard_compression(quality) for quality in self.jpeg_qualities)


class Latents(NamedTuple):
    """The random inputs of a batch of degradations."""

    kernel: Tensor  # z_k, (B, z, 1, 1)
    noise: Tensor  # z_n, (B, z, h, w) if noise is spatial, else (B, z, 1, 1)
    white_noise: Tensor  # (B, 3, h + 2·margin, w + 2·margin) if the noise network has filters, else empty
    compression: Tensor  # (B,), index in the bank of compressions

    def to(self, device: str | torch.device) -> Latents:
        """Moves all latents to a device."""
        return Latents(*(latent.to(device) for latent in self))


class Degraded(NamedTuple):
    """What a degradation returns for a batch."""

    lr: Tensor  # (B, 3, H // s, W // s), neither clamped nor rounded
    kernel: Tensor  # (B, K, K), sums to 1
    noise: Tensor  # broadcastable to lr, 1 = full scale


class Degradation(nn.Module):
    """Blurs and samples with a drawn kernel, then adds drawn noise. May compress."""

    def __init__(self, config: DegradationConfig):
        super().__init__()
        self.config = config
        center = (config.scale - 1) / 2 - self.kernel_origin[0] if config.center_kernels else None
        self.kernel = KernelNetwork(config.kernel, center)
        self.noise = NoiseNetwork(config.noise) if config.noise else None
        self.compression = CompressionBank(config.bank)

    @property
    def kernel_origin(self) -> tuple[int, int]:
        """(top, left) of the kernel's first tap relative to pixel (s·i, s·j), in high-resolution pixels."""
        size = self.config.kernel.size
        top = centered_origin(size, self.config.scale) if self.config.center_kernels else paper_origin(size)
        return top, top

    def draw_latents(
        self, batch: int, lr_size: tuple[int, int], generator: torch.Generator, *, crops_per_photo: int = 1
    ) -> Latents:
        """Draws latents for images of `lr_size`, (h, w) in low-resolution pixels, on the generator's device.

        Each `crops_per_photo` consecutive images are crops of one photo. They share the latents of an image.
        """
        noise, photos = self.config.noise, batch // crops_per_photo

        def shared(latent: Tensor) -> Tensor:
            return latent.repeat_interleave(crops_per_photo, 0) if crops_per_photo > 1 else latent

        kernel = shared(_randn((photos, self.config.kernel.z, 1, 1), generator))
        z = white_noise = kernel.new_empty(batch, 0, 1, 1)
        if noise:
            z = _randn((batch, noise.z, *lr_size), generator) if noise.spatial else z
            z = z if noise.spatial else shared(_randn((photos, noise.z, 1, 1), generator))
        if noise and noise.num_filters:
            height, width = (side + 2 * noise.margin for side in lr_size)
            white_noise = _randn((batch, 3, height, width), generator)
        return Latents(kernel, z, white_noise, shared(self.compression.draw(photos, generator)))

    def draw_noise(self, latents: Latents, blurred: Tensor) -> Tensor:
        """Returns noise for a blurred image (B, 3, h, w) in [0, 1], broadcastable to it, 1 = full scale.

        It is zero if there is no noise network.
        """
        if self.noise is None:
            return blurred.new_zeros(len(blurred), 1, 1, 1)
        noise: Tensor = self.noise(latents.noise, blurred, latents.white_noise)
        return noise

    def add_jpeg_residual(self, latents: Latents, blurred: Tensor, noise: Tensor) -> Tensor:
        """Adds to the noise what compression changes in blurred (B, 3, h, w) + noise.

        blurred is in [0, 1]. noise is broadcastable to it, before and after, with 1 = full scale.
        """
        if self.compression.is_empty:
            return noise
        noisy = quantize_ste(blurred + noise)
        decoded = self.compression(255 * noisy, latents.compression) / 255
        is_lossy = self.compression.is_lossy(latents.compression)[:, None, None, None]
        return torch.where(is_lossy, decoded - blurred, noise)

    @property
    def has_noise(self) -> bool:
        """Whether anything is added to the blurred image: noise or a JPEG residual."""
        return self.noise is not None or not self.compression.is_empty

    def forward(
        self,
        hr: Tensor,
        latents: Latents,
        *,
        padded_input: bool = False,
        quantized: bool = False,
        crops_per_photo: int = 1,
    ) -> Degraded:
        """Degrades hr (B, 3, H, W) in [0, 1] to lr (B, 3, H // s, W // s), with its kernel and noise.

        `padded_input`: hr is (B, 3, s·(h−1)+K, s·(w−1)+K), every pixel that lr (B, 3, h, w) is a sum of, so nothing is
        reflected. `quantized`: kernel and noise are rounded, and noise clipped, as in triplets; no gradient passes.
        Each `crops_per_photo` consecutive images share a photo's latents.
        """
        kernel = self.kernel(latents.kernel[::crops_per_photo]).repeat_interleave(crops_per_photo, 0)  # (B, K, K)
        kernel = quantize_kernels(kernel) if quantized else kernel
        if padded_input:
            blurred = conv_strided(hr, kernel, self.config.scale)  # (B, 3, h, w)
        else:
            blurred = apply_kernel(hr, kernel, self.config.scale, self.kernel_origin)  # (B, 3, H // s, W // s)
        noise = self.add_jpeg_residual(latents, blurred, self.draw_noise(latents, blurred))
        noise = quantize_noise(noise) if quantized and self.has_noise else noise
        noise = clip_noise(noise, blurred) if quantized and noise.shape == blurred.shape else noise
        return Degraded(blurred + noise, kernel, noise)


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Puts a module into eval mode inside the `with` block, so BatchNorm uses its running statistics."""
    if not module.training:
        yield
        return
    module.eval()
    try:
        yield
    finally:
        module.train()


def _randn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)
