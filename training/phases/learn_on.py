"""Beside the matching: the estimators that do not judge learn from what was made, whose kernels and noise are known."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from training.estimator import Statistics
from training.optimization import update
from training.state import State

SEEN = 16  # of a photo's windows at a time: from all of them an estimator would know the photos by heart


class Known(NamedTuple):
    """Photos that were made, as an estimator sees them, and what it is to say of them."""

    windows: Tensor  # (N, W, F)
    kernel: Tensor  # (N, kernel_targets)
    noise: Tensor  # (N, noise_targets)


def known_of(
    statistics: Statistics, windows: Tensor, kernel: Tensor, noise: Tensor, blurred: Tensor, per_photo: int
) -> Known:
    """windows (N, W, F) as Statistics has them, kernel (N, K, K); noise and blurred of all crops, in 8-bit levels."""
    return Known(windows.detach(), statistics.of_kernels(kernel), statistics.of_noise(noise, blurred, per_photo))


def learn_on(state: State, known: Known, fold: int) -> float:
    """One update of all estimators but that of `fold`, what `known` was made of. Returns how far they were off."""
    learners = [judge for other, judge in enumerate(state.judges) if other != fold] or state.judges
    off = []
    for learner in learners:
        order = torch.rand(known.windows.shape[:2], generator=state.generators["estimator"]).argsort(1)
        windows = known.windows.take_along_dim(order[:, :SEEN, None].to(state.device), 1)
        off.append(functional.smooth_l1_loss(learner(windows), learner.scaled(known.kernel, known.noise)))
    loss = torch.stack(off).mean()
    update(state.optimizers["estimators"], loss)
    return loss.item()
