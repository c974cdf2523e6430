"""That what is done in a faster way is what the plain way gives."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.losses import lsgan_loss
from tests.training.networks import small
from training.config import Recipe
from training.losses.adversarial import discriminate
from training.losses.sr import restoration_of
from training.state import State


def exact(name: str) -> Recipe:
    """In float32 also where bfloat16 is faster."""
    return replace(small(name), bfloat16=False)


def gradients(loss: Tensor, network: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [weight for weight in network.parameters() if weight.requires_grad]))


def test_the_edsr_learns_the_same() -> None:
    state = State(exact("seed"), 0, "cpu")
    lr, hr = torch.rand(2, 3, 8, 9), torch.rand(2, 3, 32, 36)
    fast = restoration_of(state, lr, hr)
    plain = functional.l1_loss(state.edsr(lr), hr)
    torch.testing.assert_close(fast, plain)
    for one, other in zip(gradients(fast, state.edsr), gradients(plain, state.edsr), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_real_and_made_are_told_apart_as_in_two_passes() -> None:
    state = State(exact("seed"), 0, "cpu")
    real, made = torch.rand(3, 3, 16, 16), torch.rand(2, 3, 16, 16)
    fast = discriminate(state, real, made)
    told_real, told_made = state.discriminator(real), state.discriminator(made)
    plain = (lsgan_loss(told_real, real=True) + lsgan_loss(told_made, real=False)) / 2
    torch.testing.assert_close(fast, plain)
    for one, other in zip(gradients(fast, state.discriminator), gradients(plain, state.discriminator), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
