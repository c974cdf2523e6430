"""The paper's step: degradation, discriminator and EDSR, jointly (section 3.5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.degradation import Latents
from models.losses import noise_l2, quantize_ste
from training.data.photos import Photos
from training.distributed import average
from training.losses.adversarial import discriminator_loss, generator_adv_loss
from training.losses.sr import sr_update
from training.optim import optimizer_step, set_lr
from training.phases.patches import sample_hr, sample_latents, sample_lr
from training.state import TrainState


def joint_step(state: TrainState, lr_photos: Photos, hr_photos: Photos, progress: float) -> dict[str, float]:
    """Updates all three networks, one after the other. Shapes are those of the preset `seed`. Returns metrics."""
    config, factor = state.config, state.config.get_lr_factor(progress)
    # Real and clean patches are drawn independently; nothing pairs them.
    real = sample_lr(state, lr_photos, config.batch_size)  # (32, 3, 32, 32)
    window, hr = sample_hr(state, hr_photos, config.batch_size, config.lr_patch)  # (32, 3, 128, 128)
    latents = sample_latents(state, config.batch_size, config.lr_patch)
    set_lr(state.optimizers["degradation"], config.degradation_lr * factor)
    set_lr(state.optimizers["discriminator"], config.discriminator_lr * factor)
    set_lr(state.optimizers["edsr"], config.edsr_lr * factor)
    # All metrics in one transfer, because each transfer waits for the GPU.
    metrics = average(state.get_graph_runner(_update_networks)(real, window, hr, *latents))
    adversarial, discriminator, edsr_l1, noise_power = metrics.tolist()
    noise_std = 255 * math.sqrt(noise_power)  # in 8-bit levels
    return {"adversarial": adversarial, "discriminator": discriminator, "edsr_l1": edsr_l1, "noise_std": noise_std}


def _update_networks(state: TrainState, real: Tensor, window: Tensor, hr: Tensor, *latents: Tensor) -> Tensor:
    """Returns three losses and the mean square of the noise, (4,)."""
    config = state.config

    # 1. Generate low-resolution images. They are rounded as real ones are, or rounding alone would reveal them.
    generated = state.degradation(window, Latents(*latents), padded_input=config.real_context)
    lr = quantize_ste(generated.lr)  # (32, 3, 32, 32)

    # 2. Degradation: its images should look real to the discriminator, which is frozen here.
    adversarial = generator_adv_loss(state, lr)  # over (32, 64, 8, 8) scores
    loss = config.adversarial_weight * adversarial + config.noise_l2_weight * noise_l2(generated.noise)
    optimizer_step(state.optimizers["degradation"], loss, max_grad_norm=config.max_grad_norm, distributed=True)

    # 3. Discriminator: real toward 1, generated toward 0.
    discrimination = discriminator_loss(state, real, lr.detach())
    optimizer_step(state.optimizers["discriminator"], discrimination, distributed=True)

    # 4. EDSR: from the generated image back to the clean one.
    edsr_l1 = sr_update(state, lr.detach(), hr)
    return torch.stack([adversarial, discrimination, edsr_l1, generated.noise.square().mean()]).detach()
