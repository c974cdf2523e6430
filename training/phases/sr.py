"""The sr phase: the EDSR trains on the finished degradation."""

from __future__ import annotations

import torch
from torch import Tensor

from models.losses import quantize_ste
from training.data.photos import Photos
from training.distributed import average
from training.losses.sr import sr_update
from training.optim import set_lr
from training.phases.patches import sample_hr, sample_latents
from training.state import TrainState

FLAT_SHARE = 0.5  # of the steps that have a patch of one color


def sr_step(state: TrainState, hr_photos: Photos, progress: float) -> dict[str, float]:
    """Trains the EDSR on generated pairs. The learning rate warms up, then decays. Returns metrics."""
    config = state.config
    window, hr = sample_hr(state, hr_photos, config.batch_size, config.lr_patch)
    if torch.rand((), generator=state.generators["clean"]) < FLAT_SHARE:
        window[0] = draw_color(state.generators["clean"]).to(window)[:, None, None]  # hr is a view of it
    with torch.no_grad():
        latents = sample_latents(state, config.batch_size, config.lr_patch)
        lr = quantize_ste(state.degradation(window, latents, padded_input=config.real_context).lr)
    warm_up = min(1.0, 20 * progress + 0.02)
    set_lr(state.optimizers["edsr"], config.edsr_lr * warm_up * config.get_lr_factor(progress))
    return {"edsr_l1": average(state.get_graph_runner(sr_update)(lr, hr)).item()}


def draw_color(generator: torch.Generator) -> Tensor:
    """Draws a color (3,) in [0, 1]: a saturated one, white or black.

    Photos have few areas of such colors. Without them the EDSR shifts these by some levels, each of the s × s pixels of
    a low-resolution pixel differently.
    """
    full, share = torch.randint(2, (3,), generator=generator).float(), torch.rand(4, generator=generator)
    return (
        torch.where(share[:3] < 0.3, torch.rand(3, generator=generator), full)
        if share[3] < 0.75
        else full[:1].expand(3)
    )
