"""The paper's step: degradation, discriminator and EDSR, jointly (section 3.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.degradation import Latents
from models.losses import noise_regularisation, quantise
from training.data.patches import draw_clean, draw_latents, draw_real
from training.data.photos import Photos
from training.losses.adversarial import deception, discriminate
from training.losses.sr import learn_to_restore
from training.optim import set_rates, update
from training.state import State


def joint_step(state: State, lr_photos: Photos, hr_photos: Photos, fraction: float) -> dict[str, float]:
    """The paper's step: all three networks, one after the other. Shapes are for the seed's run."""
    recipe, rate = state.recipe, state.recipe.rate_at(fraction)
    # Real and clean patches are drawn independently; nothing pairs them.
    real = draw_real(state, lr_photos, recipe.batch)  # (32, 3, 32, 32)
    window, hr = draw_clean(state, hr_photos, recipe.batch, recipe.lr_patch)  # (32, 3, 128, 128)
    latents = draw_latents(state, recipe.batch, recipe.lr_patch)
    set_rates(state.optimizers["degradation"], recipe.degradation_rate * rate)
    set_rates(state.optimizers["discriminator"], recipe.discriminator_rate * rate)
    set_rates(state.optimizers["edsr"], recipe.edsr_rate * rate)
    # Together, since a GPU is waited for with each.
    told = state.captured(_learn)(real, window, hr, *latents).tolist()
    return dict(zip(("adversarial", "discriminator", "edsr_l1", "noise_levels"), told, strict=True))


def _learn(state: State, real: Tensor, window: Tensor, hr: Tensor, *latents: Tensor) -> Tensor:
    """The four metrics, (4,)."""
    recipe = state.recipe

    # 1. Low-resolution images are made. They are rounded like the real ones, or rounding alone would give them away.
    made = state.degradation(window, Latents(*latents), surrounded=recipe.surrounded)
    lr = quantise(made.lr)  # (32, 3, 32, 32)

    # 2. Degradation: what it makes is to look real to the discriminator, which stands still meanwhile.
    adversarial = deception(state, lr)  # over (32, 64, 8, 8) scores
    loss = recipe.adversarial_weight * adversarial + recipe.noise_weight * noise_regularisation(made.noise)
    update(state.optimizers["degradation"], loss, clip_gradient=recipe.clip_gradient)

    # 3. Discriminator: real towards 1, made towards 0.
    discrimination = discriminate(state, real, lr.detach())
    update(state.optimizers["discriminator"], discrimination)

    # 4. EDSR: from what was made back to what it was made of.
    restoration = learn_to_restore(state, lr.detach(), hr)
    noise_levels = 255 * made.noise.square().mean().sqrt()
    return torch.stack([adversarial, discrimination, restoration, noise_levels]).detach()
