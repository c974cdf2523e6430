"""The degradation: high-resolution → low-resolution images, by kernel and noise (section 3.1 of the paper)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.fixed_point import kernels_on_grid, noise_on_grid
from models.geometry import apply_kernel, centred_origin, published_origin, sample_window
from models.jpeg import UNCOMPRESSED, compress
from models.losses import quantise
from models.networks.kernel import KernelConfig, KernelNetwork
from models.networks.noise import NoiseConfig, NoiseNetwork, within_range


@dataclass(frozen=True)
class DegradationConfig:
    """The defaults are the seed's run."""

    scale: int = 4
    kernel: KernelConfig = field(default_factory=KernelConfig)
    noise: NoiseConfig | None = field(default_factory=NoiseConfig)
    # True: every kernel's centre of mass is held at the sampled point, s·i + (s−1)/2, by construction.
    # False: as published, the window is centred on pixel s·i and the kernel may drift in it.
    centred: bool = False
    # JPEG qualities that photos have been through, one drawn for each image, 100 for none; empty: never compressed.
    # Not in the paper. What compression takes away counts as noise.
    jpeg_qualities: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.scale not in (2, 3, 4):
            raise ValueError(f"scale is 2, 3 or 4, not {self.scale}")
        if self.kernel.size < self.scale:
            raise ValueError(f"a kernel of {self.kernel.size} taps is smaller than scale {self.scale}")


class Latents(NamedTuple):
    """What is random in a batch of degradations."""

    kernel: Tensor  # (B, z, 1, 1)
    noise: Tensor  # (B, z, h, w) if noise is spatial, else (B, z, 1, 1)
    white: Tensor  # (B, 3, h + 2·margin, w + 2·margin) if noise is made of fields, else empty
    quality: Tensor  # (B,) of JPEG; 100 is none

    def to(self, device: str | torch.device) -> Latents:
        return Latents(*(latent.to(device) for latent in self))


class Degraded(NamedTuple):
    lr: Tensor  # (B, 3, H // s, W // s), neither clamped nor rounded
    kernel: Tensor  # (B, K, K), sums to 1
    noise: Tensor  # broadcastable to lr, 1 = full scale


class Degradation(nn.Module):
    """Blurs and samples with a drawn kernel, adds drawn noise, and compresses where the photos were compressed."""

    def __init__(self, config: DegradationConfig):
        super().__init__()
        self.config = config
        centre = (config.scale - 1) / 2 - self.kernel_origin[0] if config.centred else None
        self.kernel = KernelNetwork(config.kernel, centre)
        self.noise = NoiseNetwork(config.noise) if config.noise else None

    @property
    def kernel_origin(self) -> tuple[int, int]:
        """(top, left): where the kernel's first tap lies from pixel (s·i, s·j), in high-resolution pixels."""
        size = self.config.kernel.size
        top = centred_origin(size, self.config.scale) if self.config.centred else published_origin(size)
        return top, top

    def draw_latents(
        self, batch: int, lr_size: tuple[int, int], generator: torch.Generator, *, per_photo: int = 1
    ) -> Latents:
        """Latents for images of `lr_size`, (h, w) in low-resolution pixels, on the generator's device.

        Each `per_photo` images in a row are parts of one photo and share what is drawn once for an image.
        """
        noise, photos = self.config.noise, batch // per_photo

        def shared(latent: Tensor) -> Tensor:
            return latent.repeat_interleave(per_photo, 0)

        kernel = shared(_normal((photos, self.config.kernel.z, 1, 1), generator))
        z = white = kernel.new_empty(batch, 0, 1, 1)
        if noise:
            z = _normal((batch, noise.z, *lr_size), generator) if noise.spatial else z
            z = z if noise.spatial else shared(_normal((photos, noise.z, 1, 1), generator))
        if noise and noise.fields:
            height, width = (side + 2 * noise.margin for side in lr_size)
            white = _normal((batch, 3, height, width), generator)
        quality = kernel.new_full((batch,), UNCOMPRESSED)
        if qualities := self.config.jpeg_qualities:
            drawn = torch.randint(len(qualities), (photos,), generator=generator, device=generator.device)
            quality = shared(kernel.new_tensor(qualities)[drawn])
        return Latents(kernel, z, white, quality)

    def draw_noise(self, latents: Latents, blurred: Tensor) -> Tensor:
        """Noise for a blurred image (B, 3, h, w) in [0, 1], broadcastable to it, 1 = full scale; zeros without a noise
        network."""
        if self.noise is None:
            return blurred.new_zeros(len(blurred), 1, 1, 1)
        noise: Tensor = self.noise(latents.noise, blurred, latents.white)
        return noise

    def compressed(self, latents: Latents, blurred: Tensor, noise: Tensor) -> Tensor:
        """The noise together with what compression does to the blurred image (B, 3, h, w) that it was added to.

        The image is in [0, 1]; noise, broadcastable to it, has 1 = full scale, before and after.
        """
        if not self.config.jpeg_qualities:
            return noise
        noisy = quantise(blurred + noise)
        through = compress(255 * noisy, latents.quality) / 255
        return torch.where((latents.quality < UNCOMPRESSED)[:, None, None, None], through - blurred, noise)

    @property
    def has_noise(self) -> bool:
        return self.noise is not None or bool(self.config.jpeg_qualities)

    def forward(
        self, hr: Tensor, latents: Latents, *, surrounded: bool = False, on_grid: bool = False, per_photo: int = 1
    ) -> Degraded:
        """hr (B, 3, H, W) in [0, 1] → lr (B, 3, H // s, W // s), kernel and noise.

        A `surrounded` hr, (B, 3, s·(h−1)+K, s·(w−1)+K) → lr (B, 3, h, w), holds all that its low-resolution pixels are
        sums of, so that nothing is reflected. `on_grid`: kernel and noise are rounded, and noise clipped, as those of
        triplets are, which no gradient passes. Each `per_photo` images in a row share a photo's latents.
        """
        kernel = self.kernel(latents.kernel[::per_photo]).repeat_interleave(per_photo, 0)
        kernel = kernels_on_grid(kernel) if on_grid else kernel
        if surrounded:
            blurred = sample_window(hr, kernel, self.config.scale)
        else:
            blurred = apply_kernel(hr, kernel, self.config.scale, self.kernel_origin)
        noise = self.compressed(latents, blurred, self.draw_noise(latents, blurred))
        noise = noise_on_grid(noise) if on_grid and self.has_noise else noise
        noise = within_range(noise, blurred) if on_grid and noise.shape == blurred.shape else noise
        return Degraded(blurred + noise, kernel, noise)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Inside, BatchNorm uses what it has learned rather than the batch."""
    if not module.training:
        yield
        return
    module.eval()
    try:
        yield
    finally:
        module.train()


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)
