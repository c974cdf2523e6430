"""Degrades images with a trained model and no service, for a trainer that degrades on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.checkpoint import load_degradation
from models.degradation import Degradation, Degraded, Latents
from models.inference.deterministic import deterministic_convs
from models.inference.triplet import Triplet, degrade_image, generator_for_sample
from models.losses import quantize_ste
from store.degrade_options import sample_seed_key


class Degrader(nn.Module):
    """Degrades clean images with the learned model. Each image gets a new draw of blur and noise.

    It is a module, so `.to` moves it, and a transform, so a `Dataset`'s workers can call it. It is frozen: it has no
    gradients, and stays in eval mode if a module that holds it is trained.
    """

    def __init__(self, degradation: Degradation) -> None:
        super().__init__()
        self.degradation = degradation.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Self:
        """Loads a model's `degrader.safetensors`.

        Raises `models.checkpoint.CheckpointError` for another file, OSError if it cannot be read.
        """
        return cls(load_degradation(Path(path), device))

    @property
    def scale(self) -> int:
        """The ratio of high-resolution to low-resolution size: 1, 2, 3, 4 or 8."""
        return self.degradation.config.scale

    @property
    def kernel_origin(self) -> tuple[int, int]:
        """(top, left) of a kernel's first tap relative to pixel (s·i, s·j), in high-resolution pixels."""
        return self.degradation.kernel_origin

    def forward(self, hr: Tensor, *, generator: torch.Generator | None = None) -> Degraded:
        """Degrades hr (B, 3, H, W) or (3, H, W), float in [0, 1] or uint8, on the module's device.

        Returns lr, kernel and noise, for one image without B. lr (B, 3, H // s, W // s) is float in [0, 1] on 8-bit
        levels. kernel (B, K, K) sums to 1. noise is broadcastable to lr, 1 = full scale. `generator` draws the random
        numbers, on its own device; the default is torch's CPU generator, which a `DataLoader` seeds for each worker and
        epoch.

        One image with `seeded_generator(seed, source_sha256, sample)` gives the service's sample, except for pixels on
        the edge of rounding. `triplet` gives it to the last bit. Raises ValueError for another shape, and for an image
        that is too small.
        """
        if hr.ndim == 3:
            lr, kernel, noise = self(hr[None], generator=generator)
            return Degraded(lr[0], kernel[0], noise[0])
        if hr.ndim != 4 or hr.shape[1] != 3:
            raise ValueError(f"images are (B, 3, H, W) or (3, H, W), not {tuple(hr.shape)}")
        height, width = hr.shape[2] // self.scale, hr.shape[3] // self.scale
        if not (height and width):
            raise ValueError(f"an image of {hr.shape[3]}x{hr.shape[2]} pixels is too small for scale {self.scale}")
        images = hr.float() / 255 if hr.dtype == torch.uint8 else hr.float()
        return self.degrade(
            images, self.degradation.draw_latents(len(hr), (height, width), generator or torch.default_generator)
        )

    def degrade(self, images: Tensor, latents: Latents, *, padded_input: bool = False) -> Degraded:
        """Degrades images (B, 3, H, W), float in [0, 1], with these latents. Returns what `forward` returns.

        `padded_input`: the images hold every pixel that lr is a sum of, see `Degradation.forward`.
        """
        # Half precision would lose a kernel's small taps and faint noise.
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False), deterministic_convs():
            lr, kernel, noise = self.degradation(
                images, latents.to(images.device), padded_input=padded_input, quantized=True
            )
            return Degraded(quantize_ste(lr), kernel, noise)

    def triplet(
        self,
        hr: NDArray[np.uint8],
        *,
        seed: int,
        source_sha256: str,
        sample: int = 0,
        crop: Sequence[int] | None = None,
    ) -> Triplet:
        """Returns the service's lr (h, w, 3), kernel and noise for hr (H, W, 3), to the last bit.

        `source_sha256` is that of the image's file. For a sample of a cropped image, `hr` is the crop alone, and `crop`
        is its (top, left, height, width) in the image. The manifest has both. Raises ValueError for an image of another
        shape or type, or too small.
        """
        seed_key = sample_seed_key(source_sha256, crop)
        return degrade_image(self.degradation, hr, seed=seed, seed_key=seed_key, sample=sample)

    def train(self, mode: bool = True) -> Self:
        """Does nothing: BatchNorm's running statistics also hold for new images."""
        return super().train(False)


def seeded_generator(seed: int, image: object, sample: int = 0) -> torch.Generator:
    """Returns a generator that depends on its three arguments alone, in any worker. An example: (seed, epoch, index).

    If `image` is the hexadecimal SHA-256 of an image's file, it is the generator that the service uses. For a crop the
    service appends its place: "SHA256/top/left/height/width".
    """
    return generator_for_sample(seed, str(image), sample)
