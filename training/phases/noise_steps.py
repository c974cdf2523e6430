"""Compares the noise network's noise on gray steps with that of the flattest windows of real photos."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from models.losses import quantize_ste
from training.estimator.flat_noise import STEPS, WindowStatistics, gray_steps, measure_steps
from training.estimator.spectra import WINDOW, energy_distance
from training.phases.patches import sample_latents
from training.state import TrainState

PHOTOS = 10  # in a batch; each is five gray steps
TINT = 12 / 255  # std of the steps' color: noise must not be learned for exact grays alone


def noise_step_distance(state: TrainState) -> tuple[Tensor, Tensor]:
    """Draws noise on gray steps. Returns the energy distance of its curves from those of the real photos, and it.

    The noise is (50, 3, 32, 32), 1 = full scale. `state.real.noise_curves` must not be empty.
    """
    assert state.real is not None
    degradation, generator = state.degradation, state.generators["clean"]
    clean = gray_steps(PHOTOS, state.device)
    clean = (clean + TINT * torch.randn(len(clean), 3, 1, 1, generator=generator).to(state.device)).clamp(0, 1)
    latents = sample_latents(state, len(clean), WINDOW, len(STEPS))
    noise = degradation.add_jpeg_residual(latents, clean, degradation.draw_noise(latents, clean))
    noise = quantize_ste(clean + noise) - clean
    curves = measure_steps(_get_statistics(state.device), 255 * noise.expand_as(clean))
    return energy_distance(curves.flatten(1), state.real.noise_curves.flatten(1)), noise


@cache
def _get_statistics(device: str) -> WindowStatistics:
    return WindowStatistics(device)
