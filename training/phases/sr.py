"""Last phase: the EDSR."""

from __future__ import annotations

import torch

from models.losses import quantise
from training.data.patches import draw_clean, draw_latents
from training.data.photos import Photos
from training.losses.sr import learn_to_restore
from training.optim import set_rates
from training.state import State


def restore_step(state: State, hr_photos: Photos, done: float) -> dict[str, float]:
    """Trains the EDSR on what the degradation makes, which by now has settled."""
    recipe = state.recipe
    window, hr = draw_clean(state, hr_photos, recipe.batch, recipe.lr_patch)
    with torch.no_grad():
        latents = draw_latents(state, recipe.batch, recipe.lr_patch)
        lr = quantise(state.degradation(window, latents, surrounded=recipe.surrounded).lr)
    set_rates(state.optimizers["edsr"], recipe.edsr_rate * min(1.0, 20 * done + 0.02) * recipe.rate_at(done))
    return {"edsr_l1": state.captured(learn_to_restore)(lr, hr).item()}
