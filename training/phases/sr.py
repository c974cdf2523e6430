"""The sr phase: the EDSR trains on the finished degradation."""

from __future__ import annotations

import torch

from models.losses import quantize_ste
from training.data.photos import Photos
from training.losses.sr import sr_update
from training.optim import set_lr
from training.phases.patches import sample_hr, sample_latents
from training.state import TrainState


def sr_step(state: TrainState, hr_photos: Photos, progress: float) -> dict[str, float]:
    """Trains the EDSR on generated pairs. The learning rate warms up, then decays. Returns metrics."""
    config = state.config
    window, hr = sample_hr(state, hr_photos, config.batch_size, config.lr_patch)
    with torch.no_grad():
        latents = sample_latents(state, config.batch_size, config.lr_patch)
        lr = quantize_ste(state.degradation(window, latents, padded_input=config.real_context).lr)
    warm_up = min(1.0, 20 * progress + 0.02)
    set_lr(state.optimizers["edsr"], config.edsr_lr * warm_up * config.get_lr_factor(progress))
    return {"edsr_l1": state.get_graph_runner(sr_update)(lr, hr).item()}
