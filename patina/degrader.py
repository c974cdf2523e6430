"""A trained degradation without any service, for a trainer that degrades on the fly."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.checkpoint import load_degradation
from models.degradation import Degradation, Degraded
from models.inference.deterministic import deterministic_convs
from models.inference.triplet import Triplet, degrade_image, generator_for_sample
from models.losses import quantize_ste


class Degrader(nn.Module):
    """Wears clean images down in the learned way, a new draw of blur and noise for each.

    It is a module, so that it moves with `.to`, and a transform, so that it can be called in a `Dataset`'s workers. It
    is never trained further: it has no gradients, and stays as it is whatever the mode of the module that holds it.
    """

    def __init__(self, degradation: Degradation) -> None:
        super().__init__()
        self.degradation = degradation.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Self:
        """Reads a model's `degrader.safetensors`.

        Raises `models.checkpoint.CheckpointError` for another file, OSError where it cannot be read.
        """
        return cls(load_degradation(Path(path), device))

    @property
    def scale(self) -> int:
        """How many times smaller a low-resolution image is."""
        return self.degradation.config.scale

    @property
    def kernel_origin(self) -> tuple[int, int]:
        """(top, left) of a kernel's first tap from the pixel (s·i, s·j), in high-resolution pixels."""
        return self.degradation.kernel_origin

    def forward(self, hr: Tensor, *, generator: torch.Generator | None = None) -> Degraded:
        """hr (B, 3, H, W) or (3, H, W), float in [0, 1] or uint8, on the module's device → lr, kernel and noise.

        lr (B, 3, H // s, W // s) is float in [0, 1] on 8-bit levels; kernel (B, K, K) sums to 1; noise is broadcastable
        to lr, in units of 1 = full scale. One image gives them without B. What is random is drawn from `generator`, on
        its device; unset, from torch's own on the CPU, which a `DataLoader` seeds anew for each worker and epoch.

        For one image and `seeded_generator(seed, source_sha256, sample)` it is the service's sample, but for pixels that lie on
        the edge of rounding; `triplet` gives it to the last bit. Raises ValueError for what is no such image.
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
        latents = self.degradation.draw_latents(len(hr), (height, width), generator or torch.default_generator)
        # In half precision a kernel's taps and faint noise would be lost.
        with torch.no_grad(), torch.autocast(hr.device.type, enabled=False), deterministic_convs():
            lr, kernel, noise = self.degradation(images, latents.to(hr.device), quantized=True)
            return Degraded(quantize_ste(lr), kernel, noise)

    def triplet(self, hr: NDArray[np.uint8], *, seed: int, source_sha256: str, sample: int = 0) -> Triplet:
        """hr (H, W, 3) → the same lr (h, w, 3), kernel and noise as the service gives, to the last bit.

        `source_sha256` is that of the image's file. Raises ValueError for what is no such image.
        """
        return degrade_image(self.degradation, hr, seed=seed, source_sha256=source_sha256, sample=sample)

    def train(self, mode: bool = True) -> Self:
        """Changes nothing: what was learned about normalisation holds for images to come."""
        return super().train(False)


def seeded_generator(seed: int, image: object, sample: int = 0) -> torch.Generator:
    """A generator that depends on these three alone, such as (seed, epoch, index), in whichever worker it is made.

    With the SHA-256 of an image's file in hexadecimal for `image` it is the one that the service draws from.
    """
    return generator_for_sample(seed, str(image), sample)
