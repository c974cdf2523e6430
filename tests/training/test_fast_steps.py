"""Fast implementations against plain ones."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.losses import lsgan_loss
from tests.support.training_factories import make_config
from training.config import TrainConfig
from training.losses.adversarial import discriminator_loss
from training.losses.sr import sr_loss
from training.state import TrainState


def in_float32(name: str) -> TrainConfig:
    return replace(make_config(name), bfloat16=False)


def gradients(loss: Tensor, network: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [weight for weight in network.parameters() if weight.requires_grad]))


def test_fused_tail_has_the_same_gradients() -> None:
    state = TrainState(in_float32("seed"), 0, "cpu")
    lr, hr = torch.rand(2, 3, 8, 9), torch.rand(2, 3, 32, 36)
    fast = sr_loss(state, lr, hr)
    plain = functional.l1_loss(state.edsr(lr), hr)
    torch.testing.assert_close(fast, plain)
    for ours, expected in zip(gradients(fast, state.edsr), gradients(plain, state.edsr), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-6)


def test_one_discriminator_pass_equals_two() -> None:
    state = TrainState(in_float32("seed"), 0, "cpu")
    real, generated = torch.rand(3, 3, 16, 16), torch.rand(2, 3, 16, 16)
    fast = discriminator_loss(state, real, generated)
    real_scores, fake_scores = state.discriminator(real), state.discriminator(generated)
    plain = (lsgan_loss(real_scores, real=True) + lsgan_loss(fake_scores, real=False)) / 2
    torch.testing.assert_close(fast, plain)
    for ours, expected in zip(gradients(fast, state.discriminator), gradients(plain, state.discriminator), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-6)
