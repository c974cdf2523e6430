"""Networks, images and reference implementations that several tests of models share."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.degradation import Degradation, DegradationConfig
from models.inference.streaming import StreamingEDSR
from models.inference.triplet import Triplet
from models.networks.edsr import EDSR, EDSRConfig
from models.networks.kernel import KernelConfig
from models.networks.noise import NoiseConfig

SPATIAL = NoiseConfig(condition_on_image=True, spatial=True, dim=3, head_kernel=3, body_kernel=3, width=8, blocks=2)
FILTERED = NoiseConfig(condition_on_image=True, dim=3, width=8, blocks=1, batch_norm=False, num_filters=4)


def make_degradation(
    scale: int, noise: NoiseConfig | None, size: int = 21, centered: bool = True, qualities: tuple[int, ...] = ()
) -> Degradation:
    """Returns a degradation whose kernels and noise differ between latents."""
    kernel = KernelConfig(size=size, initial_sigma=2.0)
    model = Degradation(DegradationConfig(scale, kernel, noise, centered, qualities))
    nn.init.normal_(model.kernel.head.weight, std=0.1)
    if model.noise:
        nn.init.normal_(model.noise.head.weight, std=1.0 if model.noise.filters else 0.02)
    return model


def make_edsr(scale: int, global_skip: bool) -> EDSR:
    edsr = EDSR(EDSRConfig(scale, width=8, blocks=3, global_skip=global_skip))
    nn.init.normal_(edsr.tail[1].weight, std=0.5)  # type: ignore[arg-type]
    return edsr


def make_float64_edsr(scale: int, *, global_skip: bool = False, single_upsample: bool = False) -> EDSR:
    config = EDSRConfig(scale, width=8, blocks=3, global_skip=global_skip, single_upsample=single_upsample)
    edsr = EDSR(config).double()
    for layer in edsr.tail.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.3)
            nn.init.normal_(layer.bias)  # type: ignore[arg-type]
    return edsr


def upscale_in_bands(edsr: EDSR, lr: Tensor, rows: int) -> Tensor:
    """Enlarges lr (B, 3, h, w) in bands of `rows` rows."""
    with torch.inference_mode():
        bands = StreamingEDSR(edsr, torch.float64).upscale_rows(torch.split(lr, rows, 2), lr.shape[2])
        return torch.cat(list(bands), 2)


def upscale_untiled(edsr: EDSR, lr: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Enlarges lr (h, w, 3) in one piece. Returns pixels in 0..255, not rounded."""
    with torch.no_grad():
        sr = edsr(torch.from_numpy(lr).permute(2, 0, 1)[None].float() / 255)
    return np.asarray(sr[0].permute(1, 2, 0).double().clamp(0, 1).numpy() * 255)


def direct_sum(
    hr: NDArray[np.float64], kernel: NDArray[np.float64], scale: int, origin: tuple[int, int]
) -> NDArray[np.float64]:
    """Applies a kernel (K, K) to hr (H, W, C) tap by tap, by the formula of geometry.py, padded by numpy."""
    (top, left), taps = origin, len(kernel)
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    margin = taps + scale
    padded = np.pad(hr, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    lr = np.zeros((height, width, hr.shape[2]))
    for u in range(taps):
        for v in range(taps):
            y, x = margin + u + top, margin + v + left
            lr += kernel[u, v] * padded[y : y + scale * height : scale, x : x + scale * width : scale]
    return lr


def rebuild(hr: NDArray[np.uint8], triplet: Triplet, model: Degradation) -> NDArray[np.float64]:
    """Applies a triplet's kernel and noise to hr (H, W, 3). Returns (h, w, 3) in 0..255, not clipped or rounded."""
    blurred = direct_sum(
        hr.astype(np.float64), triplet.kernel.astype(np.float64), model.config.scale, model.kernel_origin
    )
    return blurred + triplet.noise.astype(np.float64) * 255
