"""Random patches and latents for a step, each from the random number generator of its purpose."""

from __future__ import annotations

import torch
from torch import Tensor

from models.degradation import Latents
from training.data.photos import Photos, sample_patches
from training.state import TrainState


def sample_latents(state: TrainState, batch: int, side: int, crops_per_photo: int = 1) -> Latents:
    """Draws latents for `batch` images of `side`² low-resolution pixels.

    Each `crops_per_photo` consecutive images are crops of one photo.
    """
    generator = state.generators["latents"]
    latents = state.degradation.draw_latents(batch, (side, side), generator, crops_per_photo=crops_per_photo)
    return latents.to(state.device)


def sample_lr(state: TrainState, photos: Photos, batch: int, *, augment: bool = True) -> Tensor:
    """Draws patches of real photos, (batch, 3, lr_patch, lr_patch) in [0, 1]."""
    config, generator = state.config, state.generators["real"]
    patches = sample_patches(photos, batch, config.lr_patch, generator, augment=augment, on_grid=config.on_grid)
    return to_device(state, patches) / 255


def sample_hr(
    state: TrainState,
    photos: Photos,
    batch: int,
    lr_side: int,
    *,
    crops_per_photo: int = 1,
    augment: bool = True,
) -> tuple[Tensor, Tensor]:
    """Draws clean windows to degrade, (batch, 3, …) in [0, 1], and the HR patch inside each.

    A patch is (batch, 3, s·lr_side, s·lr_side). With `real_context` the window is larger by the kernel's margin.
    """
    config = state.config
    side, before = lr_side * config.scale, -state.degradation.kernel_origin[0]
    margin = (before, config.degradation.kernel.size - config.scale - before) if config.real_context else (0, 0)
    patches = sample_patches(
        photos,
        batch,
        side,
        state.generators["clean"],
        crops_per_photo=crops_per_photo,
        augment=augment,
        margin=margin,
    )
    window = to_device(state, patches).div_(255)
    return window, window[:, :, margin[0] : margin[0] + side, margin[0] : margin[0] + side]


def to_device(state: TrainState, patches: Tensor) -> Tensor:
    """Moves uint8 patches to the device as float32, still 0..255, without a wait for pending GPU work."""
    if torch.device(state.device).type == "cuda":
        patches = patches.pin_memory()
    return patches.to(state.device, non_blocking=True).float()
