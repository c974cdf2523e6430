"""Random patches and latents for a training, each from the random numbers of its purpose."""

from __future__ import annotations

import torch
from torch import Tensor

from models.degradation import Latents
from training.data.photos import Photos, draw_patches
from training.state import State


def draw_latents(state: State, batch: int, side: int, per_photo: int = 1) -> Latents:
    """For images of `side`² low-resolution pixels, each `per_photo` in a row parts of one photo."""
    generator = state.generators["latents"]
    return state.degradation.draw_latents(batch, (side, side), generator, per_photo=per_photo).to(state.device)


def draw_real(state: State, photos: Photos, batch: int, *, turned: bool = True) -> Tensor:
    """Patches of real photos, (batch, 3, lr_patch, lr_patch) in [0, 1]."""
    recipe, generator = state.recipe, state.generators["real"]
    patches = draw_patches(photos, batch, recipe.lr_patch, generator, turned=turned, grid=recipe.lr_grid)
    return on_device(state, patches) / 255


def draw_clean(
    state: State,
    photos: Photos,
    batch: int,
    lr_side: int,
    *,
    per_photo: int = 1,
    turned: bool = True,
) -> tuple[Tensor, Tensor]:
    """Windows (batch, 3, …) in [0, 1] to be degraded, and the part of each that its image, `lr_side` wide, shows."""
    recipe = state.recipe
    side, before = lr_side * recipe.scale, -state.degradation.kernel_origin[0]
    margin = (before, recipe.degradation.kernel.size - recipe.scale - before) if recipe.surrounded else (0, 0)
    patches = draw_patches(
        photos, batch, side, state.generators["clean"], per_photo=per_photo, turned=turned, margin=margin
    )
    window = on_device(state, patches).div_(255)
    return window, window[:, :, margin[0] : margin[0] + side, margin[0] : margin[0] + side]


def on_device(state: State, patches: Tensor) -> Tensor:
    """uint8 → float32, still in 0..255, without waiting for what a GPU still has to do."""
    if torch.device(state.device).type == "cuda":
        patches = patches.pin_memory()
    return patches.to(state.device, non_blocking=True).float()
